"""Responses in: StepCodeReasoner's output format, read into steps with their places in the text.

A response is, for every anchor in order of execution, `<reasoning> .. </reasoning><print> NAME: value </print>`, and last
`<reasoning> .. </reasoning><answer> V </answer>` (paper equation 6); for the input task the proposed input comes first as
`<input> I </input>` (equation 7).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

TAGS = tuple(f"<{slash}{name}>" for name in ("reasoning", "print", "input", "answer") for slash in ("", "/"))
"""Every tag of the format; a tokenizer of our own holds each as one token."""

_OPENING = re.compile(r"<(reasoning|print|input|answer)>")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters or tokens `[start, end)`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Step:
    """One predicted anchor: its text, and the characters that reason about it and state it."""

    state: str
    whole: Span
    """From the first character after the step before, its reasoning included, to the end of its print block."""
    print_block: Span


@dataclass(frozen=True, slots=True)
class Response:
    """What a response says, after surrounding whitespace of every block is dropped."""

    steps: tuple[Step, ...]
    answer: str | None
    """None where there is no answer block, or more than one: then nobody can say which is meant."""
    proposed_input: str | None


def parse(text: str) -> Response:
    """Read a response; whatever does not fit the format is passed over, so this never raises."""
    steps: list[Step] = []
    answers: list[str] = []
    inputs: list[str] = []
    step_start = 0
    for kind, body, block in _blocks(text):
        if kind == "print":
            steps.append(Step(body, Span(step_start, block.end), block))
        elif kind == "answer":
            answers.append(body)
        elif kind == "input":
            inputs.append(body)
        if kind != "reasoning":
            step_start = block.end
    return Response(
        steps=tuple(steps),
        answer=answers[0] if len(answers) == 1 else None,
        proposed_input=inputs[0] if len(inputs) == 1 else None,
    )


def _blocks(text: str) -> Iterator[tuple[str, str, Span]]:
    """Every block in order: its kind, its body and where it lies; a tag inside a block is part of its body.

    Takes time in proportion to the text, whatever it is: a tag that no later text closes is looked for once.
    """
    end, unclosed = 0, set[str]()
    for opening in _OPENING.finditer(text):
        kind = opening.group(1)
        if opening.start() < end or kind in unclosed:
            continue
        closing = text.find(f"</{kind}>", opening.end())
        if closing < 0:
            unclosed.add(kind)
            continue
        end = closing + len(f"</{kind}>")
        yield kind, text[opening.end() : closing].strip(), Span(opening.start(), end)


def render(steps: list[tuple[str, str]], answer: tuple[str, str], proposed_input: tuple[str, str] | None = None) -> str:
    """Write a response from (reasoning, text) pairs: the inverse of `parse`, used to make chains.

    Raises:
        ValueError: a text holds a tag of the format and could not be read back.
    """
    parts: list[str] = []
    blocks = [("print", reasoning, state) for reasoning, state in steps] + [("answer", *answer)]
    if proposed_input is not None:
        blocks.insert(0, ("input", *proposed_input))
    for kind, reasoning, body in blocks:
        if any(tag in reasoning or tag in body for tag in TAGS):
            raise ValueError(f"a text holds a tag of the response format: {reasoning!r}, {body!r}")
        parts.append(f"<reasoning>{reasoning}</reasoning><{kind}>{body}</{kind}>")
    return "".join(parts)
