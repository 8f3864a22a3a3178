"""CRUXEval's official rules, for comparison with published figures only: never a reward.

Official mode runs one text that holds the expected value and the prediction side by side, `assert OUTPUT == PREDICTION`
(arXiv 2401.03065; evaluation/ and inference/tasks/ of facebookresearch/cruxeval, revision 190faf1). So the expected value
is within reach of the text that is judged by it, and a prediction is any expression, not a value: `3 or True` passes. Our
own scoring (`reward.scoring`) hands no expected value to what it runs; `tests/reward/test_tricks.py` shows the difference.

Nothing is executed here; `reward.official` runs the texts.
"""

from collections.abc import Collection, Sequence
from statistics import fmean

from rl.benchmarks import passes
from rl.problems import Task

_STOP = "[/ANSWER]"
"""Where official sampling stops; the stop word itself is not part of a response."""


def prediction(response: str, task: Task, *, reasoned: bool = False) -> str:
    """What the official rules take for the prediction in a response (inference/tasks/, `postprocess_generation`).

    Args:
        response: what the model wrote, without the prompt.
        task: which side of the assertion was asked.
        reasoned: the model was asked to reason first, so its answer comes after `[ANSWER]`.

    Returns:
        For the output task what stands between the first `==` and the next, for the input task what stands before the
        first `==` and behind `assert`; where there is no `==`, all of it.
    """
    text = response.partition(_STOP)[0]
    if reasoned and "[ANSWER]" in text:
        text = text.split("[ANSWER]")[1]
    if "==" in text:
        text = text.split("==")[1 if task is Task.OUTPUT else 0]
    if task is Task.INPUT and "assert" in text:
        text = text.split("assert")[1]
    return text.strip()


def check(code: str, arguments: str, output: str, predicted: str, task: Task) -> str | None:
    """The program that passes if it raises nothing (evaluation/utils_general.py, `evaluate_score`).

    Args:
        code: the program; it defines `f`.
        arguments: the dataset's `input`, the text between the parentheses of the call.
        output: the dataset's `output`, a literal.
        predicted: an expression for the output task, a whole call of `f` for the input task.
        task: which of the two it is.

    Returns:
        The program's text, or None where the prediction is skipped: an output that holds the call itself, an input that
        holds no `f(`.
    """
    skipped = f"f({arguments})" in predicted if task is Task.OUTPUT else "f(" not in predicted
    return None if skipped else f"{code}\nassert {output} == {predicted}"


def counted(passed: Sequence[bool | None]) -> list[bool]:
    """The verdicts on one problem as they enter pass@k; None stands for a skipped prediction.

    Skipped ones are left out, which makes the sample smaller instead of worse. Only where nothing passed all of them
    count, as failures. (Up to revision 10d71b4 they always counted as failures.)
    """
    kept = [verdict for verdict in passed if verdict is not None]
    return kept if True in kept else [False] * len(passed)


def pass_at_k(samples: int, passing: int, k: int) -> float:
    """The unbiased pass@k, except that, as officially, where fewer than `k` samples fail it is 1, however few there are."""
    return 1.0 if samples - passing < k else passes.pass_at_k(samples, passing, k)


def mean_pass_at_k(problems: Collection[Sequence[bool]], k: int) -> float:
    """pass@k of every problem's `counted` verdicts, averaged over the problems, in per cent.

    Raises:
        ValueError: there is no problem.
    """
    if not problems:
        raise ValueError("problems: empty, pass@k is a mean over at least one")
    return 100 * fmean(pass_at_k(len(verdicts), sum(verdicts), k) for verdicts in problems)
