"""Which benchmark is meant, what its problems ask of a model, and the programs they show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config import BadInput
from cluster.evaluation.files import FOLDER, read_table
from cluster.evaluation.reval_scores import questions as reval_places
from cluster.evaluation.reval_scores import read_runs
from cluster.evaluation.scores import JUDGES, rows_of, texts_of
from rl.benchmarks import codegen, livecodebench
from rl.benchmarks.asking import Question, Style, code_question, execution_question, reval_question
from rl.benchmarks.codegen import CodingProblem
from rl.problems import Problem, Task

REVAL = "reval"
ROWS = "rows"
"""The name under which rows of a user's own are judged."""

_TWO_WAYS = ("cruxeval", "livecodebench")
NAMES = (*_TWO_WAYS, REVAL, *(name for name in JUDGES if name.partition("-")[0] not in (*_TWO_WAYS, ROWS)))
_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark, in one direction where it has two."""

    key: str
    """Its name among those that judge: `cruxeval-output`, `reval`, `mbpp-plus`."""
    data: Path

    @property
    def executes(self) -> bool:
        """Whether it asks what programs do, so that they can be shown with anchors."""
        return self.key == REVAL or self.key.endswith(("-output", "-input"))


def is_benchmark(name: str) -> bool:
    """Whether an argument names a benchmark, or a file of rows, and no configuration."""
    return name in NAMES or name.endswith(_ENDINGS)


def choose(name: str, task: Task | None, data: Path | None) -> Benchmark:
    """The benchmark that is meant.

    Args:
        name: one of `NAMES`, or a file of rows `{id, code, input, output}` as CRUXEval has them.
        task: which direction; only where there are two, and output if none is named.
        data: its file or folder, if not where benchmarks are looked for.

    Raises:
        BadInput: there is no such benchmark, or its data is not there.
    """
    rows = name.endswith(_ENDINGS)
    if rows and data is not None:
        raise BadInput(f"--data goes with the name of a benchmark, {name} is its own data")
    if not rows and name not in NAMES:
        raise BadInput(f"{name}: must be one of {', '.join(NAMES)}, or a file of rows that ends in {', '.join(_ENDINGS)}")
    two_ways = rows or name in _TWO_WAYS
    if task is not None and not two_ways:
        raise BadInput(f"--task: {name} has no two directions, only {', '.join(_TWO_WAYS)} and files of rows have")
    key = f"{ROWS if rows else name}-{task or Task.OUTPUT}" if two_ways else name
    where = Path(name) if rows else data or FOLDER / (name if name == REVAL else JUDGES[key][1])
    if not where.exists():
        missing = "no such file" if rows else "not there; give the benchmark's data with --data or put it there"
        raise BadInput(f"{'' if rows else '--data '}{where}: {missing}")
    return Benchmark(key, where)


def questions_of(benchmark: Benchmark, style: Style, *, anchors: bool) -> list[Question]:
    """What a model is asked, in the benchmark's order. Raises BadInput where its data is wrong."""
    if benchmark.key == REVAL:
        places = reval_places(read_runs(benchmark.data))
        return [reval_question(name, *place, anchors=anchors) for name, place in places.items()]
    if benchmark.executes:
        return [execution_question(problem, style, anchors=anchors) for problem in _execution_problems(benchmark)]
    return [code_question(problem) for problem in _coding_problems(benchmark)]


def programs_of(benchmark: Benchmark) -> dict[str, str]:
    """The program of each problem, the solution where it is one that is to be written; of REval by its own programs."""
    if benchmark.key == REVAL:
        return {run.program.id: run.program.code for run in read_runs(benchmark.data)}
    if benchmark.executes:
        return {problem.id: problem.code for problem in _execution_problems(benchmark)}
    return {problem.id: problem.canonical for problem in _coding_problems(benchmark)}


def _execution_problems(benchmark: Benchmark) -> list[Problem]:
    name, _, direction = benchmark.key.partition("-")
    task, data = Task(direction), benchmark.data
    if name == "livecodebench":
        found = rows_of(livecodebench.execution_rows, data)
        return [Problem(row.id, row.code, row.call, row.code, [], row.output, task) for row in found]
    rows = texts_of(read_table(data), data, "id", "code", "input", "output")
    return [Problem(row["id"], row["code"], f"f({row['input']})", row["code"], [], row["output"], task) for row in rows]


_READERS: dict[str, Callable[[Sequence[Mapping[str, Any]]], list[CodingProblem]]] = {
    "humaneval": codegen.humaneval_problems,
    "humaneval-plus": codegen.humaneval_problems,
    "mbpp": codegen.mbpp_problems,
    "mbpp-plus": codegen.mbpp_plus_problems,
}


def _coding_problems(benchmark: Benchmark) -> list[CodingProblem]:
    return rows_of(_READERS[benchmark.key], benchmark.data)
