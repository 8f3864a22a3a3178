"""What became of one execution or one judged response: a word first, a number later.

A reward is a verdict before it is a number, so that a fault of the machinery can never pass for a wrong answer.
"""

from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of a sandboxed execution (`ok` .. `sandbox_error`) or of a scored response (all of them)."""

    OK = "ok"
    """The program ran to its end; for a response: the final answer is right."""
    WRONG = "wrong"
    """The response was read and its final answer is not right."""
    UNPARSABLE = "unparsable"
    """The response, or the input it proposes, cannot be read as the format asks."""
    EXCEPTION = "exception"
    """The program raised an exception that it did not catch."""
    TIMEOUT = "timeout"
    """The program used up its CPU or its wall-clock time."""
    MEMORY = "memory"
    """The program asked for more memory than it may have."""
    OUTPUT_LIMIT = "output_limit"
    """The program printed, or returned, more than it may."""
    CRASHED = "crashed"
    """The program's process died by a signal."""
    NO_RESULT = "no_result"
    """The program's process ended by itself without handing back a result."""
    SANDBOX_ERROR = "sandbox_error"
    """The machinery failed, not the program: to be retried, then masked, never scored 0."""

    @property
    def is_fault(self) -> bool:
        """Whether this says something about the machinery and nothing about the program or the response."""
        return self is Verdict.SANDBOX_ERROR
