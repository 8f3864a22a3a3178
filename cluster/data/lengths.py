"""The length budget: a problem's prompt and chain in tokens of the tokenizer that it is for."""

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from cluster.config import BadInput, DataSettings
from rl.problems import Problem
from rl.prompts import chain_ids, prompt_ids
from rl.synthesis.candidates import Rejected
from rl.tokens import load_tokenizer

TOO_LONG = "too long in tokens"


class Budget:
    """Refuses problems that take more tokens than there is room for."""

    def __init__(self, settings: DataSettings) -> None:
        """Raises BadInput where the tokenizer cannot be loaded."""
        self._most = settings.max_tokens
        self._tokenizer = None
        if settings.tokenizer is not None and settings.max_tokens is not None:
            self._tokenizer = _loaded(settings.tokenizer)

    def check(self, problem: Problem) -> None:
        """Raises Rejected for a problem whose prompt and chain, as far as it has one, are longer than the budget."""
        if self._tokenizer is None or self._most is None:
            return
        length = len(prompt_ids(problem, self._tokenizer))
        length += len(chain_ids(problem, self._tokenizer)) if problem.chain else 0
        if length > self._most:
            raise Rejected(TOO_LONG, f"{length} tokens, {self._most} are allowed")


def _loaded(folder: Path) -> PreTrainedTokenizerFast:
    try:
        return load_tokenizer(folder)
    except (OSError, ValueError) as error:
        raise BadInput(f"data.tokenizer: {folder}: {' '.join(str(error).split())}") from None
