"""What a program's source shows of its cell: uses of the method, other calls, nesting, depth of control."""

import ast
from collections.abc import Iterator

from rl.syntax import children, walk
from rl.synthesis.grid.cells import Cell
from rl.synthesis.grid.forms import COMPANIONS, CONVERSIONS

_CONTROL = (ast.If, ast.For, ast.While)
_OPERATIONS = (ast.Call, ast.BinOp, ast.Compare, ast.Subscript, ast.BoolOp, ast.UnaryOp, ast.JoinedStr)
_BINARY: dict[str, type[ast.operator]] = {
    "+": ast.Add,
    "-": ast.Sub,
    "*": ast.Mult,
    "/": ast.Div,
    "//": ast.FloorDiv,
    "%": ast.Mod,
    "**": ast.Pow,
    "&": ast.BitAnd,
    "|": ast.BitOr,
    "^": ast.BitXor,
}
_COMPARISONS: dict[str, type[ast.cmpop]] = {
    "in": ast.In,
    "not in": ast.NotIn,
    "==": ast.Eq,
    "!=": ast.NotEq,
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
}


def control_depth(tree: ast.AST) -> int:
    """How deep `if`, `for` and `while` are nested; `elif` is no deeper than its `if`."""
    deepest = 0
    for child in children(tree):
        inner = control_depth(child)
        if isinstance(child, _CONTROL) and not _is_elif(tree, child):
            inner += 1
        deepest = max(deepest, inner)
    return deepest


def _is_elif(parent: ast.AST, child: ast.AST) -> bool:
    """Whether the child is the `elif` of the parent; an `else` with only an `if` inside looks the same to `ast`."""
    return isinstance(parent, ast.If) and isinstance(child, ast.If) and parent.orelse == [child]


def nesting(tree: ast.AST) -> int:
    """How deep calls and operators are nested in one another, at most, in one expression."""
    inner = max((nesting(child) for child in children(tree)), default=0)
    return inner + isinstance(tree, _OPERATIONS)


def uses(tree: ast.AST, cell: Cell) -> int:
    """How often the method or operator stands in the program, by its look: `ast` knows no types."""
    return sum(_is_use(node, cell.method) for node in walk(tree))


def other_calls(tree: ast.Module, cell: Cell) -> set[str]:
    """Names of the methods and functions called, without the cell's own, the program's, and plain conversions.

    Where none is allowed, `sorted` in a `return` is a conversion: it gives a set its order.
    """
    own = {cell.method.removeprefix("math."), *COMPANIONS.get(cell.method, ())}
    own |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    called = set(_called(tree)) - own - CONVERSIONS
    plain = not cell.configuration.others and _sorted_only_returned(tree)
    return called - {"sorted"} if plain else called


def _sorted_only_returned(tree: ast.Module) -> bool:
    calls = [node for node in walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    returned = [part for node in walk(tree) if isinstance(node, ast.Return) for part in _parts_of(node.value)]
    return all(call in returned for call in calls if isinstance(call.func, ast.Name) and call.func.id == "sorted")


def _parts_of(value: ast.expr | None) -> list[ast.expr]:
    return value.elts if isinstance(value, ast.Tuple) else [value] if value is not None else []


def _called(tree: ast.AST) -> Iterator[str]:
    for node in walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                yield name


def _is_use(node: ast.AST, method: str) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name == method.removeprefix("math.")
        case ast.BinOp(op=op):
            return method in _BINARY and isinstance(op, _BINARY[method])
        case ast.AugAssign(op=op):
            return method.endswith("=") and method[:-1] in _BINARY and isinstance(op, _BINARY[method[:-1]])
        case ast.Compare(ops=[op]):
            return method in _COMPARISONS and isinstance(op, _COMPARISONS[method])
        case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper, step=step)):
            return method == _slice_name(lower, upper, step)
        case ast.Subscript(ctx=ast.Store()):
            return method == "d[k]=v"
        case ast.Subscript():
            return method in ("[i]", "d[k]")
        case _:
            return False


def _slice_name(lower: ast.expr | None, upper: ast.expr | None, step: ast.expr | None) -> str:
    if step is not None:
        return "[::k]"
    return f"[{'a' if lower else ''}:{'b' if upper else ''}]"
