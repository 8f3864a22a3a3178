"""Prompts out: the text a model is asked with, and all of it as tokens.

The two tasks have system prompts of their own, StepCodeReasoner's "task decoupling" (3.2, appendix A), in our words and
short enough for a small model's window. A tokenizer with a chat template gets its messages through it; one without gets
plain text. A problem that is not decoupled gets one prompt for both tasks.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from rl.problems import Problem, Task

HOLE = "????"
"""Stands for the value the model has to fill in."""

SYSTEM = {
    Task.OUTPUT: "Predict each print, then the output.",
    Task.INPUT: "Propose an input with this output, predict each print, then answer with the input.",
}

UNIFIED = "Fill in ????: propose an input if asked for one, predict each print, then answer."


class ChatTokenizer(Protocol):
    """The part of a Hugging Face tokenizer needed here."""

    chat_template: Any
    bos_token_id: Any
    eos_token_id: Any

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        """Ids of a text."""
        ...

    def apply_chat_template(self, conversation: Any, /, *, tokenize: bool, add_generation_prompt: bool) -> Any:
        """The text of messages."""
        ...


def assertion(problem: Problem) -> str:
    """The assertion with a hole: `assert f(1, [2]) == ????`, or `assert f(????) == 3` for the input task."""
    if problem.task is Task.OUTPUT:
        return f"assert {problem.call} == {HOLE}"
    entry = problem.call.partition("(")[0]
    return f"assert {entry}({HOLE}) == {problem.output}"


def prompt(problem: Problem) -> str:
    """The whole prompt as plain text: system line, instrumented program, assertion. The response follows it directly."""
    return f"{_system(problem)}\n{_question(problem)}\n"


def messages(problem: Problem) -> list[dict[str, str]]:
    """The same as a chat: system, user, and where the problem has a chain the assistant's response."""
    chat = [{"role": "system", "content": _system(problem)}, {"role": "user", "content": _question(problem)}]
    return [*chat, {"role": "assistant", "content": problem.chain}] if problem.chain else chat


def _system(problem: Problem) -> str:
    return SYSTEM[problem.task] if problem.decoupled else UNIFIED


def _question(problem: Problem) -> str:
    return f"{problem.instrumented.rstrip()}\n{assertion(problem)}"


def prompt_ids(problem: Problem, tokenizer: ChatTokenizer) -> list[int]:
    """The prompt as tokens: through the tokenizer's chat template if it has one, else plain text after its first token."""
    return chat_ids(messages(problem)[:2], tokenizer)


def leaves_room(problem: Problem, tokenizer: ChatTokenizer, max_length: int, max_tokens: int) -> bool:
    """Whether the problem's prompt and a response of `max_tokens` fit into `max_length` tokens together."""
    return len(prompt_ids(problem, tokenizer)) + max_tokens <= max_length


def chat_ids(chat: Sequence[dict[str, str]], tokenizer: ChatTokenizer) -> list[int]:
    """Messages as tokens, to be answered: through the tokenizer's chat template, else their texts, a line break after each.

    A tokenizer without a template may also have no first token; the text then stands alone.
    """
    if tokenizer.chat_template is None:
        plain = tokenizer.encode("".join(f"{message['content']}\n" for message in chat), add_special_tokens=False)
        return plain if tokenizer.bos_token_id is None else [tokenizer.bos_token_id, *plain]
    text = tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)  # the template writes the first token itself


def chain_ids(problem: Problem, tokenizer: ChatTokenizer) -> list[int]:
    """The problem's chain as tokens, ended by the token that ends a response when sampled."""
    return [*tokenizer.encode(problem.chain, add_special_tokens=False), tokenizer.eos_token_id]
