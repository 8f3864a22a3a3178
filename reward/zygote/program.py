"""Runs one program in this process and says what became of it. Called in a confined child, right before it ends.

What a program can reach it can change. So what is needed after it ran is bound here, before, and needs no Python code
of other modules; and the parent distrusts the report all the same.
"""

import _sitebuiltins
import ast
import atexit
import builtins
import io
import marshal
import os
import random
import sys
import types
from _json import encode_basestring_ascii
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from .interception import HOOK, MAX_STATES, AnchorMissing, compile_program, name_of, recorder

# What a program does to its own built-ins does not touch these.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

MAX_MESSAGE = 2000
"""Characters of an exception's message that are kept."""
MAX_NAME = 1000
"""Characters of a type's name that are kept."""
RECURSION_LIMIT = 1000

_KEEPER = "argument keeper"
"""The name in `builtins` of what is handed a call's function and arguments: no identifier, as `HOOK` is none."""
_RESERVE_BYTES = 4 << 20
_MOST_ARGUMENTS = 2000
"""Characters of the arguments' text."""

_exit, _write, _quoted = os._exit, os.write, encode_basestring_ascii
_set_recursion_limit, _set_trace, _set_profile = sys.setrecursionlimit, sys.settrace, sys.setprofile
_call_what_was_registered = atexit._run_exitfuncs
_streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def prepare() -> None:
    """Brings the interpreter into the state that every program finds. Once, in the zygote: its children inherit it."""
    # The interpreter starts without `site`, which is where programs have these two from.
    vars(builtins).update({name: _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)") for name in ("exit", "quit")})
    _begin_random()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(int(os.environ["PYTHONHASHSEED"]))
    atexit._clear()  # What was registered up to here is for the zygote's end.
    sys.argv = ["program.py"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    vars(sys.modules["__main__"])["__builtins__"] = builtins


def _begin_random() -> None:
    random.seed(int(os.environ["PYTHONHASHSEED"]))


def pack(
    code: str, call: str | None, anchor_lines: tuple[int, ...], max_characters: int, with_stdin: bool, with_arguments: bool
) -> bytes:
    """A program as `run` takes it. `max_characters` bounds the value's repr, and all states together.

    Raises:
        ValueError: something in it cannot be sent.
    """
    return marshal.dumps((code, call, anchor_lines, max_characters, with_stdin, with_arguments))


def pack_together(programs: Sequence[tuple[str, str | None, tuple[int, ...], bool]], max_characters: int) -> bytes:
    """Programs as `run` takes them to run one after the other: each one's code, call, anchor lines, and `with_arguments`.

    Raises:
        ValueError: something in them cannot be sent.
    """
    return marshal.dumps([(*program, max_characters) for program in programs])


def run(payload: bytes, report_to: int) -> NoReturn:
    """Runs the program and ends the process; the report goes to file descriptor `report_to`.

    `payload` is what `pack` made. The report is `A` and a message where an anchor is missing. Else it is `P`, if the code
    compiles, and then JSON with `verdict`, `value`, `type_name`, `exception` and `states`.

    Of what `pack_together` made the report is `P` and a list of such, each with its `stdout`; null stands for a program that
    came to no value within its limits.
    """
    try:
        asked = marshal.loads(payload)
    except MemoryError:
        _finish(report_to, [], None, 0, "memory", error="MemoryError")
    if isinstance(asked, list):
        _run_together(asked, report_to)
    code, call, anchor_lines, max_characters, with_stdin, with_arguments = asked
    states: list[str] = []
    kept: list[object] | None = [] if with_arguments else None
    finish = partial(_finish, report_to, states, kept, max_characters)
    if with_stdin:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    try:
        program = compile_program(code, anchor_lines)
    except AnchorMissing as error:
        _write_all(report_to, b"A" + str(error).encode())
        _exit(0)
    except BaseException as error:
        # A MemoryError too: the parser raises it for what is nested too deeply.
        finish("exception", error=_described(error))
    _write(report_to, b"P")
    try:
        # To be let go of where memory ran out, so that there is some left to say so. Zeros that nobody has touched.
        reserve = bytes(_RESERVE_BYTES)
    except MemoryError:
        finish("memory", error="MemoryError")
    try:
        if anchor_lines:
            setattr(builtins, HOOK, recorder(states, max_characters, partial(finish, "output_limit")))
        value, type_name = _evaluate(program, call, vars(sys.modules["__main__"]), kept)
    except MemoryError as error:
        error.__traceback__ = None
        del reserve
        finish("memory", error="MemoryError")
    except BaseException as error:
        finish("exception", error=_described(error))
    if value is not None and str.__len__(value) > max_characters:
        finish("output_limit")
    finish("ok", value, type_name)


def _run_together(programs: list[tuple[str, str | None, tuple[int, ...], bool, int]], report_to: int) -> NoReturn:
    told = [_one_of_several(*program) for program in programs]
    _write_all(report_to, f"P[{','.join(told)}]".encode())
    _exit(0)


def _one_of_several(
    code: str, call: str | None, anchor_lines: tuple[int, ...], with_arguments: bool, max_characters: int
) -> str:
    """Runs one program as if it were the first in this process: its report."""
    states: list[str] = []
    kept: list[object] | None = [] if with_arguments else None
    too_much: list[bool] = []

    def overflow() -> NoReturn:
        too_much.append(True)  # The program may catch what is raised.
        raise KeyboardInterrupt

    main = sys.modules["__main__"] = types.ModuleType("__main__")
    vars(main)["__builtins__"] = builtins
    _begin_random()
    before, sys.stdout = sys.stdout, io.StringIO()
    try:
        program = compile_program(code, anchor_lines)
        if anchor_lines:
            setattr(builtins, HOOK, recorder(states, max_characters, overflow))
        value, type_name = _evaluate(program, call, vars(main), kept)
        stdout = sys.stdout.getvalue()
    except BaseException:
        return "null"
    finally:
        sys.stdout = before
        _set_recursion_limit(10 * RECURSION_LIMIT)
    if kept is not None:
        states.append(_shortened(kept))
    lengths = (len(value or ""), len(stdout), sum([len(state) for state in states]))
    if too_much or len(states) > MAX_STATES or max(lengths) > max_characters:
        return "null"
    return f'{{"stdout":{_quoted(stdout)},{_report(states, "ok", value, type_name, None)}}}'


def _evaluate(
    program: types.CodeType, call: str | None, main: dict[str, object], kept: list[object] | None
) -> tuple[str | None, str | None]:
    """Executes the program, then evaluates the call: the value's repr and type, if there is a call.

    Its arguments go into `kept`, if that is a list.
    """
    # A program gets as deep as it would as a script: the frames it stands on here, and `exec`, do not count.
    _set_recursion_limit(RECURSION_LIMIT + _depth() + (1 if kept is None else 2))
    try:
        exec(program, main)
        if call is None:
            return None, None
        if kept is None:
            value = eval(compile(call, "<call>", "eval", dont_inherit=True), main)
        else:
            setattr(builtins, _KEEPER, _keeper(kept))
            value = eval(_compiled_to_keep(call), main)
        return f"{value!r}", name_of(type(value))[:MAX_NAME]
    finally:
        _set_trace(None)
        _set_profile(None)


def _compiled_to_keep(call: str) -> types.CodeType:
    """The call, if it is one, with its function and its arguments handed to the keeper, which calls it with them."""
    tree = ast.parse(call, "<call>", "eval")
    if isinstance(tree.body, ast.Call):
        tree.body.args.insert(0, tree.body.func)
        tree.body.func = ast.copy_location(ast.Name(_KEEPER, ast.Load()), tree.body.func)
    return compile(tree, "<call>", "eval", dont_inherit=True)


def _keeper(kept: list[object]) -> Callable[..., object]:
    def keep(function: Callable[..., object], /, *positional: object, **named: object) -> object:
        kept.append((positional, named))
        return function(*positional, **named)

    return keep


def _depth() -> int:
    """How many frames the caller's own frame is the last of."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _described(error: BaseException) -> str:
    """`TypeName: message`, as the last line of a traceback has it."""
    name = name_of(type(error))[:MAX_NAME]
    try:
        message = str(error)
    except BaseException:
        message = "<exception str() failed>"
    # Of what `str` gives only the text counts: it may be of a class whose methods are the program's.
    plain = str.__str__(message)
    return f"{name}: {plain[:MAX_MESSAGE]}" if plain else name


def _finish(
    report_to: int,
    states: list[str],
    kept: list[object] | None,
    max_characters: int,
    verdict: str,
    value: str | None = None,
    type_name: str | None = None,
    error: str | None = None,
) -> NoReturn:
    """Sends the report and ends the process."""
    if verdict in ("ok", "exception"):
        _last_words()
    _set_recursion_limit(10 * RECURSION_LIMIT)
    for stream in _streams:
        try:  # noqa: SIM105  contextlib is Python code, which a program can break.
            stream.flush()
        except (OSError, ValueError):
            pass  # The program closed it.
    if kept is not None and verdict in ("ok", "exception"):
        states.append(_shortened(kept))
        if len(states) > MAX_STATES or sum([len(state) for state in states]) > max_characters:
            verdict, value, type_name, error = "output_limit", None, None, None
            states.clear()
    _write_all(report_to, f"{{{_report(states, verdict, value, type_name, error)}}}".encode())
    _exit(0)


def _last_words() -> None:
    """What an interpreter does as it ends: calls what was registered, flushes what stands for the output by now."""
    try:
        _call_what_was_registered()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and stream not in _streams:
                stream.flush()
    except BaseException:  # The program's own doing, which changes nothing about how it ended.
        return


def _report(states: list[str], verdict: str, value: str | None, type_name: str | None, error: str | None) -> str:
    """The fields of a report as JSON."""
    told = f'"verdict":"{verdict}","value":{_json(value)},"type_name":{_json(type_name)},"exception":{_json(error)}'
    list_of_states = ",".join([_quoted(state) for state in states]) if states else ""
    return f'{told},"states":[{list_of_states}]'


def _json(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def _shortened(kept: list[object]) -> str:
    """The text of the arguments that were kept, its middle cut out where it is long; empty if there are none."""
    try:
        text = f"{kept[0]!r}" if kept else ""
    except BaseException:
        return "<unprintable>"
    half = _MOST_ARGUMENTS // 2
    return text if len(text) <= _MOST_ARGUMENTS else f"{text[:half]}..{len(text)}..{text[-half:]}"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[_write(descriptor, data) :]
