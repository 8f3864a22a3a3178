"""From sampled token ids to places in the text, without tokenising any text again.

Re-tokenising a response may cut it elsewhere than the model did, and then credit reaches the wrong tokens. So the ids are
decoded piece by piece, and a character belongs to the token whose decoding brought it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerFast

from rl.responses import Span


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a Hugging Face folder, exactly as its tokenizer.json says.

    Not `AutoTokenizer`: for some architectures, Qwen2 among them, that puts the family's own way of splitting text in the
    place of the folder's, and the same text becomes other tokens.
    """
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


class Decoder(Protocol):
    """The part of a tokenizer needed here."""

    def decode(self, token_ids: list[int], /) -> str:
        """Text of the ids, special tokens included."""
        ...


_WINDOW = 8
"""Tokens decoded together: enough for any character or merge rule that spans tokens."""


def decode(decoder: Decoder, token_ids: Sequence[int], cache: dict[int, str]) -> tuple[str, list[int]]:
    """Decode ids to a text and the place of each token in it.

    Args:
        decoder: the tokenizer.
        token_ids: the sampled ids.
        cache: text of single ids, kept by the caller between calls.

    Returns:
        The text, and for each token the index of its first character. A token that completes no character of its own
        (half of a UTF-8 sequence) begins where the next one does.
    """
    ids = list(token_ids)
    text = decoder.decode(ids)
    pieces = []
    for token in ids:
        if token not in cache:
            cache[token] = decoder.decode([token])
        pieces.append(cache[token])
    if "".join(pieces) != text:
        pieces = _pieces_in_context(decoder, ids)
    starts, place = [], 0
    for piece in pieces:
        starts.append(min(place, len(text)))
        place += len(piece)
    return text, starts


def _pieces_in_context(decoder: Decoder, ids: list[int]) -> list[str]:
    """What each token adds to the text when it is decoded after the tokens before it."""
    pieces = []
    for end in range(1, len(ids) + 1):
        begin = max(0, end - _WINDOW)
        before = decoder.decode(ids[begin : end - 1]).rstrip("\ufffd")
        now = decoder.decode(ids[begin:end]).rstrip("\ufffd")
        pieces.append(now[len(before) :] if len(now) >= len(before) else "")
    return pieces


def token_span(starts: Sequence[int], characters: Span) -> Span:
    """The tokens that begin inside a span of characters; `starts` as `decode` gives it."""
    inside = [index for index, start in enumerate(starts) if characters.start <= start < characters.end]
    return Span(inside[0], inside[-1] + 1) if inside else Span(0, 0)
