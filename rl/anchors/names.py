"""Which names a piece of a program binds, unbinds, evaluates or changes, without regard to the order of execution."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rl.syntax import children, walk

MUTATORS = frozenset(
    {
        *("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"),
        *("add", "discard", "update", "difference_update", "intersection_update", "symmetric_difference_update"),
        *("popitem", "setdefault", "move_to_end", "subtract"),
        *("appendleft", "extendleft", "popleft", "rotate"),
    }
)
"""Methods that change their object, in the built-in containers and those of `collections`."""


def own_nodes(roots: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes below `roots` that run in the same scope, in source order.

    Inner functions, classes and lambdas are yielded, of their insides only what the outer scope evaluates
    (decorators, defaults, bases). The variables of comprehensions belong to the comprehension and are left out.
    """
    stack = list(roots)[::-1]
    while stack:
        node = stack.pop()
        yield node
        stack += (_outside(node) if type(node) in _SCOPED else children(node))[::-1]


_SCOPED = frozenset({ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.comprehension})
"""Nodes that do not run, or not all of them, in the scope they stand in. Looked up, since there are very many nodes."""


def _outside(node: ast.AST) -> list[ast.AST]:
    """What the scope around a node of `_SCOPED` evaluates of it."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.decorator_list, *_defaults(node.args)]
        case ast.Lambda():
            return _defaults(node.args)
        case ast.ClassDef():
            return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
    assert isinstance(node, ast.comprehension)
    return [node.iter, *node.ifs]


def _defaults(args: ast.arguments) -> list[ast.AST]:
    return [*args.defaults, *(default for default in args.kw_defaults if default is not None)]


_CAPTURING = frozenset({ast.MatchAs, ast.MatchStar, ast.MatchMapping})
BINDING = frozenset(
    {
        *_CAPTURING,
        ast.Name,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Import,
        ast.ImportFrom,
        ast.ExceptHandler,
    }
)
"""Nodes that may bind a name."""
_AFFECTING = _CAPTURING | {ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.comprehension}


def bound_by(node: ast.AST) -> list[str]:
    """The names that `node` itself (not its children) makes names of its scope, `del` included."""
    if type(node) not in BINDING:
        return []
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return [alias.asname or alias.name.partition(".")[0] for alias in aliases]
        case ast.ExceptHandler(name=str(name)):
            return [name]
        case _:
            return captured_by(node)


def captured_by(node: ast.AST) -> list[str]:
    """The name that this `match` pattern node (not its children) captures."""
    match node:
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            return [name]
        case _:
            return []


def captures(pattern: ast.pattern) -> list[str]:
    """The names a `match` pattern binds when it matches, in source order."""
    return [name for node in own_nodes([pattern]) for name in captured_by(node)]


def unbound_in(roots: Iterable[ast.AST]) -> frozenset[str]:
    """The names that some statement below `roots` may unbind: by `del`, or at the end of `except ... as name`."""
    return _unbound_by(own_nodes(roots))


def _unbound_by(nodes: Iterable[ast.AST]) -> frozenset[str]:
    gone: set[str] = set()
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Del()) | ast.ExceptHandler(name=str(name)):
                gone.add(name)
    return frozenset(gone)


def evaluated(node: ast.AST) -> Iterator[str]:
    """The names that are surely bound once `node` was evaluated without exception: read, assigned or `:=`-bound.

    What may be skipped (the right of `and`, the arms of a ternary, the inside of a comprehension) does not count.
    """
    match node:
        case ast.Name(ctx=ast.Load() | ast.Store()):
            yield node.id
        case ast.BoolOp():
            yield from evaluated(node.values[0])
        case ast.IfExp():
            yield from evaluated(node.test)
        case ast.Compare():  # a < b < c: c is not looked at when a < b is false
            yield from evaluated(node.left)
            yield from evaluated(node.comparators[0])
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield from evaluated(node.generators[0].iter)
        case ast.AnnAssign():  # `x: int` alone binds nothing
            if node.value is not None:
                yield from evaluated(node.target)
                yield from evaluated(node.value)
        case ast.Assert() | ast.Lambda():  # python -O drops assertions
            return
        case ast.Import() | ast.ImportFrom():
            yield from bound_by(node)
        case _:
            for child in children(node):
                yield from evaluated(child)


def affected_by(roots: Iterable[ast.AST]) -> list[str]:
    """The names whose values the code below `roots` may change, in source order, each once.

    These are the names it assigns, and the names at the root of what it changes in place: `d` of `d[k].x = 1`,
    of `del d[k]` and of `d[k].append(1)` (see `MUTATORS`).
    """
    found: dict[str, None] = {}
    comprehension_variables: set[str] = set()
    assigned: set[str] = set()
    for node in own_nodes(roots):
        if type(node) not in _AFFECTING:
            continue
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                assigned.add(name)
                found[name] = None
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                found.update(dict.fromkeys(_root_name(node)))
            case ast.Call(func=ast.Attribute(value=target, attr=method)) if method in MUTATORS:
                found.update(dict.fromkeys(_root_name(target)))
            case ast.comprehension():
                targets = walk(node.target)
                comprehension_variables.update(part.id for part in targets if isinstance(part, ast.Name))
            case _:
                found.update(dict.fromkeys(captured_by(node)))
    return [name for name in found if name in assigned or name not in comprehension_variables]


def _root_name(node: ast.expr) -> list[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return [node.id] if isinstance(node, ast.Name) else []


@dataclass(frozen=True, slots=True)
class Scope:
    """The names of one function, class or module."""

    bound: frozenset[str]
    """Its own names: parameters and whatever it binds, less the declared."""
    unbound: frozenset[str]
    """Names it may unbind, declared or not."""
    declared: frozenset[str]
    """Names it declares `global` or `nonlocal`."""
    definitions: frozenset[str]
    """Own names that only ever stand for functions, classes and modules: their text says nothing."""


def scope_of(body: list[ast.stmt], parameters: Iterable[str] = ()) -> Scope:
    """The scope that these statements make, nested scopes not included."""
    bound, definitions, valued, declared = set(parameters), set[str](), set(parameters), set[str]()
    nodes = list(own_nodes(body))
    for node in nodes:
        names = bound_by(node)
        bound.update(names)
        match node:
            case ast.Global() | ast.Nonlocal():
                declared.update(node.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
                definitions.update(names)
            case _:
                valued.update(names)
    return Scope(
        bound=frozenset(bound - declared),
        unbound=_unbound_by(nodes),
        declared=frozenset(declared),
        definitions=frozenset(definitions - valued - declared),
    )


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The names of all parameters, in source order."""
    args = function.args
    starred = [arg for arg in (args.vararg, args.kwarg) if arg is not None]
    return [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, *starred)]


def scopes_of(tree: ast.Module) -> dict[ast.AST, Scope]:
    """The scopes of the module, of every function and of every class in it, by their node."""
    scopes: dict[ast.AST, Scope] = {tree: scope_of(tree.body)}
    for node in walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            scopes[node] = scope_of(node.body, parameters_of(node))
        elif isinstance(node, ast.ClassDef):
            scopes[node] = scope_of(node.body)
    return scopes
