"""A problem: one program, one call of it, and what the interpreter says happens at every anchor and at the end."""

from dataclasses import dataclass, field
from enum import StrEnum

from rl.anchors import Instrumented, StateText, instrument


class Task(StrEnum):
    """Which side of the assertion `call == output` the model has to fill in (StepCodeReasoner 3.1)."""

    OUTPUT = "output"
    """Program and input are given, the output is asked."""
    INPUT = "input"
    """Program and output are given, any input with that output is asked."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of a dataset.

    `instrumented` is what the model is shown: `code` with a print anchor after each significant statement.
    `states` and `output` come from executing it, never from a model.
    """

    id: str
    code: str
    """The program as written; it defines the entry function."""
    call: str
    """The call of the entry function, as source: `f(1, [2])`."""
    instrumented: str
    """The program with its print anchors."""
    states: list[str]
    """`NAME: value`, one for every anchor that was executed, in order of execution."""
    output: str
    """`repr` of the call's value."""
    task: Task = Task.OUTPUT
    chain: str = ""
    """A checked response in the output format (reasoning, prints, answer); empty where chains are scarce."""
    source: str = ""
    """Where the program comes from: `generator`, `cruxeval`, a file's name."""
    decoupled: bool = True
    """Whether its prompt names its task, or is the one prompt for both tasks (StepCodeReasoner's ablation)."""
    tags: dict[str, str] = field(default_factory=dict)
    """Facts for reports, for example `{"statements": "4"}`."""
    state_text: StateText = "str"
    """How its states show a value."""

    def program(self) -> Instrumented:
        """The program as the model is shown it, and its call.

        Raises:
            ProgramError: the code or the call does not compile.
        """
        return instrument(self.code, self.call, self.state_text)
