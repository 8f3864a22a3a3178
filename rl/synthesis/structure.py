"""Structural rules for training programs, read off the source: nothing is executed.

The rules are those of CodeReasoner's open successor (ExecVerify, the hard rules of its prompt) and what print anchors
and repeatable results need on top: no value whose text holds an address, none that hangs on the hash of a string.
"""

import ast
import tokenize
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from rl.syntax import parsed, tokens, walk

ALLOWED_IMPORTS = frozenset(
    {"bisect", "collections", "functools", "heapq", "itertools", "math", "operator", "re", "string", "typing"}
)
MOST_ARGUMENTS = 3
MOST_FUNCTIONS = 2

_FORBIDDEN = frozenset(
    {
        *("input", "open", "id", "hash", "eval", "exec", "compile", "globals", "locals", "vars", "dir", "__import__"),
        *("breakpoint", "exit", "quit", "help", "random", "time", "datetime", "os", "sys", "object", "memoryview"),
    }
)
_LAZY = frozenset({"zip", "map", "filter", "reversed", "enumerate", "iter"})
_ORDERING = frozenset({"list", "tuple", "str", "repr", "iter", "enumerate", "zip", "map", "filter", "format", "join"})
"""Calls whose value shows the order in which a set is gone through."""
_ORDER_FREE = frozenset({"sum", "any", "all", "min", "max", "sorted", "set", "frozenset"})
"""Calls that give the same of a generator in whatever order it goes."""
_SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})


@dataclass(frozen=True, slots=True)
class Argument:
    """What the rules must know of an argument that the entry is called with."""

    is_set: bool
    of_numbers: bool
    """Whether all that is in it are numbers: a set of those lies the same way in every run."""


def arguments_of(call: ast.Call) -> tuple[Argument, ...]:
    """What the rules must know of the arguments by place."""
    return tuple(Argument(_is_set(argument, frozenset()), _is_of_numbers(argument)) for argument in call.args)


def _is_of_numbers(value: ast.expr) -> bool:
    return all(isinstance(node.value, int | float) for node in walk(value) if isinstance(node, ast.Constant))


def broken_rules(source: str, arguments: tuple[Argument, ...] = ()) -> list[str]:
    """The rules that a program breaks, each in a few words with its line; empty for a good one.

    A program is one or two functions, of which the last is the entry, and at module level at most one call of the entry,
    bare or inside the only `print`.

    Args:
        source: the program.
        arguments: those of its entry call, where that is not in the source.
    """
    try:
        tree = parsed(source)
    except SyntaxError as error:
        return [f"line {error.lineno}: not Python: {error.msg}"]
    except ValueError as error:
        return [f"not Python: {error}"]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if not 1 <= len(functions) <= MOST_FUNCTIONS:
        return [f"{len(functions)} functions at module level, 1 or {MOST_FUNCTIONS} are allowed"]
    entry = functions[-1].name
    nodes = list(walk(tree))
    found = [*_module_level(tree, nodes, entry), *_comments(source)]
    for node in (node for line in tree.body if isinstance(line, ast.Expr) for node in walk(line)):
        if isinstance(node, ast.Call) and _is_call(node, entry):
            arguments = arguments_of(node)
    for function in functions:
        inside = list(walk(function))
        found += _signature(function, inside)
        found += _rendered_sets(function, inside, arguments if function is functions[-1] else ())
    for node in nodes:
        found += [f"line {getattr(node, 'lineno', 1)}: {text}" for text in _about(node)]
    return found


def _module_level(tree: ast.Module, nodes: Sequence[ast.AST], entry: str) -> Iterator[str]:
    calls = [node for node in nodes if _is_call(node, entry)]
    prints = [node for node in nodes if _is_call(node, "print")]
    callees: list[ast.expr] = [node for node in nodes if isinstance(node, ast.Name) and node.id == "print"]
    for statement in tree.body:
        match statement:
            case ast.FunctionDef() | ast.Import() | ast.ImportFrom():
                continue
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[ast.Call() as call], keywords=[]) as shown) if (
                _is_call(call, entry)
            ):
                prints.remove(shown)
                callees.remove(shown.func)
            case ast.Expr(value=ast.Call() as call) if _is_call(call, entry):
                pass
            case _:
                yield f"line {statement.lineno}: at module level only functions, imports and the entry call are allowed"
                continue
        calls.remove(call)
        if len(calls) > 0:
            yield f"the entry {entry} is called {len(calls) + 1} times, once is allowed"
    if prints:
        yield f"line {getattr(prints[0], 'lineno', 1)}: only the entry call may be printed, once"
    elif callees:
        yield f"line {callees[0].lineno}: print by another name"


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _comments(source: str) -> Iterator[str]:
    if "#" not in source:
        return
    for token in tokens(source):
        if token.type == tokenize.COMMENT:
            yield f"line {token.start[0]}: a comment"
            return


def _signature(function: ast.FunctionDef, nodes: Sequence[ast.AST]) -> Iterator[str]:
    arguments = function.args
    where = f"line {function.lineno}: {function.name}"
    count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
    if not 1 <= count <= MOST_ARGUMENTS:
        yield f"{where} takes {count} arguments, 1 to {MOST_ARGUMENTS} are allowed"
    if arguments.defaults or any(arguments.kw_defaults):
        yield f"{where} has default arguments"
    for inner in nodes:
        if inner is function or not isinstance(inner, ast.FunctionDef | ast.Lambda):
            continue
        if inner.args.defaults or any(inner.args.kw_defaults):
            yield f"line {inner.lineno}: {getattr(inner, 'name', 'a lambda')} has default arguments"
    if arguments.vararg or arguments.kwarg:
        yield f"{where} takes any number of arguments"
    if not any(isinstance(node, ast.Return) and node.value is not None for node in nodes):
        yield f"{where} returns nothing"


def _about(node: ast.AST) -> Iterator[str]:
    """What a single node breaks."""
    match node:
        case ast.Import(names=aliases):
            yield from (f"imports {alias.name}" for alias in aliases if alias.name.partition(".")[0] not in ALLOWED_IMPORTS)
        case ast.ImportFrom(module=module) if (module or ".").partition(".")[0] not in ALLOWED_IMPORTS:
            yield f"imports from {module}"
        case ast.Name(id=name) if name in _FORBIDDEN:
            yield f"uses {name}"
        case ast.ClassDef() | ast.AsyncFunctionDef() | ast.Global() | ast.Nonlocal():
            yield f"a {type(node).__name__} statement"
        case ast.Yield() | ast.YieldFrom() | ast.Await():
            yield "a generator or coroutine"
        case ast.Assign(value=value) | ast.AnnAssign(value=value) | ast.Return(value=value) if _is_lazy(value):
            yield "a lazy iterator is named or returned, its text is an address"
    match node:
        case ast.While(test=ast.Constant(value=truth)) if truth and not _leaves(node):
            yield "a loop without end"


def _is_lazy(value: ast.expr | None) -> bool:
    match value:
        case ast.GeneratorExp() | ast.Lambda():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _LAZY
        case _:
            return False


def _leaves(loop: ast.While) -> bool:
    return any(isinstance(node, ast.Break | ast.Return | ast.Raise) for node in walk(loop))


def _rendered_sets(function: ast.FunctionDef, nodes: Sequence[ast.AST], given: tuple[Argument, ...]) -> Iterator[str]:
    """Places where the order in which a set is gone through shows."""
    parameters = [parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)]
    called = dict(zip(parameters, given, strict=False))
    names = _set_names(nodes, {name for name, it in called.items() if it.is_set and not it.of_numbers})
    words = _word_names(nodes, {name for name, it in called.items() if not it.of_numbers})
    for node in nodes:
        for told in _unordered(node, names, words):
            yield f"line {getattr(node, 'lineno', function.lineno)}: {told}"
        match node:
            case ast.For(iter=source) if _is_set(source, names):
                yield f"line {node.lineno}: a loop over a set, sort it first"
            case ast.ListComp(generators=generators) | ast.DictComp(generators=generators):
                if any(_is_set(generator.iter, names) for generator in generators):
                    yield f"line {node.lineno}: a comprehension over a set, sort it first"
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments) if name in _ORDERING:
                if any(_is_set(argument, names) for argument in arguments):
                    yield f"line {node.lineno}: {name} of a set, sort it first"
            case ast.FormattedValue(value=value) if _is_set(value, names):
                yield f"line {node.lineno}: a set in an f-string, sort it first"


def _unordered(node: ast.AST, names: frozenset[str], words: frozenset[str]) -> Iterator[str]:
    """Ways to take items out of a set in the order in which they lie there."""
    match node:
        case ast.Assign(targets=[ast.Tuple() | ast.List()], value=value) if _is_set(value, names):
            yield "a set is unpacked, sort it first"
        case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[]) if _is_set(value, names):
            if _of_words(value, words):
                yield "pop of a set takes any of its items"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments) if name not in _ORDER_FREE:
            for argument in arguments:
                if isinstance(argument, ast.GeneratorExp) and any(_is_set(one.iter, names) for one in argument.generators):
                    yield f"{name} goes through a set, sort it first"
    match node:
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Call(args=items):
            if any(isinstance(item, ast.Starred) and _is_set(item.value, names) for item in items):
                yield "a set is unpacked, sort it first"


def _word_names(nodes: Sequence[ast.AST], given: set[str]) -> frozenset[str]:
    """Names that are given words, or collections of them, and those that plainly hold the same."""
    words = set(given)
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _of_words(value, words):
                words.add(name)
    return frozenset(words)


def _of_words(value: ast.expr, words: Container[str]) -> bool:
    match value:
        case ast.Constant(value=it):
            return not isinstance(it, int | float)
        case ast.Name(id=name):
            return name in words
        case ast.Set(elts=items) | ast.List(elts=items) | ast.Tuple(elts=items):
            return any(_of_words(item, words) for item in items)
        case ast.Call(func=ast.Name(id="set" | "frozenset" | "sorted" | "list" | "tuple"), args=items):
            return any(_of_words(item, words) for item in items)
        case ast.Call(func=ast.Attribute(value=receiver, attr=method), args=items) if method in {*_SET_METHODS, "copy"}:
            return any(_of_words(item, words) for item in (receiver, *items))
        case ast.BinOp(left=left, right=right):
            return _of_words(left, words) or _of_words(right, words)
        case _:
            return False


def _set_names(nodes: Sequence[ast.AST], given: set[str]) -> frozenset[str]:
    """Names that are only ever assigned sets, or given ones."""
    sets = set(given)
    others: set[str] = set()
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                (sets if _is_set(value, frozenset(sets)) else others).add(name)
            case ast.For(target=ast.Name(id=name)):
                others.add(name)
    return frozenset(sets - others)


def _is_set(value: ast.expr, names: frozenset[str]) -> bool:
    match value:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name):
            return name in names
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(value=receiver, attr=method)):
            return method in {*_SET_METHODS, "copy"} and _is_set(receiver, names)
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.Sub(), right=right):
            return _is_set(left, names) or _is_set(right, names)
        case _:
            return False
