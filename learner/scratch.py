"""A tokenizer and a small untied Qwen2 model from nothing, for hosts where no pretrained model is at hand."""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from learner.settings import ScratchModel
from rl.responses import TAGS

_PAD, _BOS, _EOS = "<pad>", "<bos>", "<eos>"

_PIECES = (
    r"\d|[A-Z][^\n]*\n|\n *(?:print\(f'|return |if |elif |for |while |else:)?"
    r"| in | (?:[=<>*/%]|[=!<>+\-*/]=|[+\-]) |, |: \{?|\}'\)|; |[A-Za-z_]+|\):|[\[\]()]|[^\sA-Za-z_\d\[\]()]+|\s"
)
"""No token reaches over one of these: digits stay single, a line's indent goes with its keyword, list brackets stay apart.
A sentence is one piece, so that the system line costs one token."""


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every tag of the response format is one token.

    Any text can be encoded and comes back unchanged, because all bytes are in the vocabulary.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_PAD, _BOS, _EOS, *TAGS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        bos_token=_BOS,
        eos_token=_EOS,
        clean_up_tokenization_spaces=False,
    )


def create_model(settings: ScratchModel, tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    """A Qwen2 model with random weights fixed by `seed`."""
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            intermediate_size=settings.intermediate,
            max_position_embeddings=settings.max_length,
            initializer_range=settings.init_std,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def write_scratch_model(settings: ScratchModel, texts: Iterable[str], seed: int, folder: Path) -> None:
    """Train the tokenizer on `texts`, make the model, and leave both in `folder` in Hugging Face format."""
    tokenizer = train_tokenizer(texts, settings.vocabulary)
    create_model(settings, tokenizer, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
