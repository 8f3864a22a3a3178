"""LiveCodeBench's code execution task: its rows and official rules (arXiv 2403.07974; lcb_runner/evaluation).

The data (`execution-v2`, 479 rows of 92 problems) is not part of this repository; whoever has it names a JSONL or Parquet
file. The official check runs one text that holds the expected value and the prediction side by side, so it is for
comparison with published figures only. Nothing is executed here; `reward.official` runs the texts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rl.benchmarks.cruxeval import counted

_NAMES = {
    "itertools": "accumulate chain combinations count cycle groupby islice permutations product repeat zip_longest",
    "copy": "deepcopy",
    "string": "ascii_lowercase",
    "math": "ceil comb floor gcd inf isqrt log log10 log2 prod sqrt",
    "collections": "Counter OrderedDict defaultdict deque",
    "bisect": "bisect bisect_left bisect_right insort",
    "heapq": "heapify heappop heappush merge",
    "functools": "cache lru_cache partial reduce",
    "random": "randrange shuffle",
    "operator": "iand itemgetter sub",
    "os.path": "commonprefix",
    "typing": "Any Callable Dict Generator Iterable Iterator List Optional Set Tuple Union",
}
_MODULES = "bisect collections copy functools heapq itertools math operator random re string sys"
_PRELUDE = "".join(f"from {module} import {', '.join(names.split())}\n" for module, names in _NAMES.items()) + (
    f"from re import search as re_search\nimport {', '.join(_MODULES.split())}\n"
)
"""What programs find imported (utils_execute.py); numpy and pandas too, which are dear, so only for texts that use them."""
_DEAR = {"np": "numpy", "pd": "pandas"}


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """One program with one call and its output."""

    id: str
    code: str
    call: str
    """The dataset's `input`, a whole call: `f(a = 1)`."""
    output: str


def execution_rows(rows: Sequence[Mapping[str, Any]]) -> list[ExecutionRow]:
    """The rows of the dataset.

    Raises:
        ValueError: a row lacks `id`, `code`, `input` or `output`, or two rows have the same `id`; says the row, from 1.
    """
    found: dict[str, ExecutionRow] = {}
    for number, row in enumerate(rows, start=1):
        for field in ("id", "code", "input", "output"):
            if not isinstance(row.get(field), str):
                raise ValueError(f"row {number}: {field}: must be str")
        if row["id"] in found:
            raise ValueError(f"row {number}: id: {row['id']} stands in an earlier row too")
        found[row["id"]] = ExecutionRow(row["id"], row["code"], row["input"], row["output"])
    return list(found.values())


def prediction(response: str, *, reasoned: bool = False) -> str:
    """What the official rules take for the prediction: behind the first `==`, up to `[/ANSWER]` or the line's end.

    Args:
        response: what the model wrote, without the prompt.
        reasoned: the model was asked to reason first, so its answer comes after `[ANSWER]`.
    """
    text = response
    if reasoned and "[ANSWER]" in text:
        text = text.split("[ANSWER]")[1]
    if "==" in text:
        text = text.split("==")[1]
    end = "[/ANSWER]" if "[/ANSWER]" in text else "\n"
    return text.strip().split(end)[0].strip()


def prelude(text: str) -> str:
    """The imports that a program is run with."""
    dear = (f"import {module} as {name}\n" for name, module in _DEAR.items() if re.search(rf"\b{name}\b", text))
    return _PRELUDE + "".join(dear)


def check(row: ExecutionRow, predicted: str) -> str | None:
    """The program that passes if it raises nothing; None where the prediction holds the call itself and is skipped."""
    if row.call in predicted:
        return None
    text = f"{row.code}\nassert {row.output} == {predicted}"
    return prelude(text) + text


def check_input(row: ExecutionRow, predicted: str) -> str | None:
    """The same for the other direction, which LiveCodeBench itself has not: CRUXEval's rule, as StepCodeReasoner uses it.

    Returns:
        None where the prediction holds no call of the function and is skipped.
    """
    entry = row.call.partition("(")[0]
    if f"{entry}(" not in predicted:
        return None
    text = f"{row.code}\nassert {row.output} == {predicted}"
    return prelude(text) + text


def mean_accuracy(problems: Sequence[Sequence[bool | None]]) -> float:
    """pass@1 of every row's verdicts, skipped ones (None) left out, averaged over the rows, in per cent.

    Raises:
        ValueError: there is no row.
    """
    if not problems:
        raise ValueError("problems: empty, pass@1 is a mean over at least one")
    return 100 * fmean(fmean(counted(verdicts)) for verdicts in problems)
