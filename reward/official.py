"""CRUXEval's official checker, run inside our sandbox: for comparison with published figures only, never a reward.

The text that is checked holds the expected value and the model's own code (see `rl.benchmarks.cruxeval`), and whether it
passed is told by the very process it runs in, so any of the known tricks passes. That is the official checker's nature
and is kept here: the text is executed below a frame that holds the list of results, passing means that the first entry
is "passed", and the same names are taken out of `os` and `builtins` first (evaluation/utils_execute.py,
`check_correctness` and `reliability_guard`, revision 190faf1). What is ours is the box around it.

What differs: there is a bound on memory. When the 3 s of wall clock are over the process ends, where officially an
exception is raised, which a text could catch. Names of `shutil` and `subprocess` stay, as the box stops what they do. And
the list of results dies with the process, where officially another process keeps it, so one trick less passes: to append
"passed" and leave by `os._exit`.
"""

from collections.abc import Iterator, Sequence

from reward.programs import Limits, Program
from reward.tracing import Runner
from rl.verdicts import Verdict

LIMITS = Limits(wall_s=3.0, cpu_s=3.0)
"""The official time limit, with our memory limit."""

_CHECKER = """
import builtins, io, os, sys

class _WriteOnly(io.StringIO):
    def read(self, *sizes):
        raise OSError
    readline = readlines = read
    def readable(self):
        return False

def _guard():
    os.environ['OMP_NUM_THREADS'] = '1'
    names = '''kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate
    replace unlink fchmod fchown chmod chown chroot lchflags lchmod lchown getcwd chdir'''
    for name in names.split():
        setattr(os, name, None)
    for name in ('exit', 'quit', 'help'):
        setattr(builtins, name, None)
    for name in ('ipdb', 'joblib', 'resource', 'psutil', 'tkinter'):
        sys.modules[name] = None

def _execute(text, result):
    _guard()
    sys.stdin = sys.stdout = sys.stderr = _WriteOnly()
    try:
        exec(text, {})
        result.append('passed')
    except BaseException as error:
        result.append(f'failed: {error}')

def passes(text):
    result = []
    _execute(text, result)
    return result[0] == 'passed'
"""


class CheckNotRun(RuntimeError):
    """The machinery failed: nothing is known of the text, so it neither passed nor failed."""


def official_verdicts(sandbox: Runner, texts: Sequence[str | None], limits: Limits = LIMITS) -> Iterator[bool | None]:
    """Whether each of the texts passes CRUXEval's official checker, one after the other.

    Args:
        sandbox: runs them.
        texts: what `rl.benchmarks.cruxeval.check` returns; None, a skipped prediction, stays None.
        limits: of each run.

    Raises:
        CheckNotRun: the sandbox failed on a text, even at its second try.
        ValueError: a text is longer than the sandbox takes.
    """
    for index, text in enumerate(texts):
        if text is None:
            yield None
            continue
        execution = sandbox.run(Program(_CHECKER, f"passes({text!r})"), limits)
        if execution.verdict is Verdict.SANDBOX_ERROR:
            raise CheckNotRun(f"text {index}: not checked: {execution.exception}")
        # Whoever ends the process instead of returning leaves the official list of results empty: failed.
        yield execution.verdict is Verdict.OK and execution.value == "True"
