"""A very small interpreter: the expressions of generated programs, valued over plain Python objects.

It never calls `eval` or `exec`: whatever it does not know is a `ValueError` that names the kind of node.
The generator uses it to keep values small, the chains to say what each statement did.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any

Env = dict[str, Any]

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda item, box: item in box,
    ast.NotIn: lambda item, box: item not in box,
}
BUILTINS: dict[str, Callable[..., Any]] = {"len": len, "max": max, "min": min, "sorted": sorted, "sum": sum}


def evaluate(node: ast.expr, env: Env) -> Any:
    """The value of an expression, its names looked up in `env`.

    Raises:
        ValueError: the expression has a kind of node that generated programs do not have.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return env[name]
        case ast.List(elts=elements):
            return [evaluate(element, env) for element in elements]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -evaluate(operand, env)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return BINARY[type(op)](evaluate(left, env), evaluate(right, env))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return _COMPARE[type(op)](evaluate(left, env), evaluate(right, env))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in BUILTINS:
            return BUILTINS[name](*(evaluate(argument, env) for argument in arguments))
        case ast.Subscript(value=box, slice=ast.Slice(lower=lower, upper=upper, step=step)):
            bounds = (None if bound is None else evaluate(bound, env) for bound in (lower, upper, step))
            return evaluate(box, env)[slice(*bounds)]
        case ast.Subscript(value=box, slice=index):
            return evaluate(box, env)[evaluate(index, env)]
    raise ValueError(f"no rule for the expression {type(node).__name__}: {ast.unparse(node)}")


def substituted(node: ast.expr, env: Env) -> str:
    """The source of an expression with the value in place of every name: `a + b` becomes `3 + 4`."""

    class _Substitute(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return ast.parse(repr(env[name.id]), mode="eval").body if name.id in env else name

    return ast.unparse(_Substitute().visit(ast.parse(ast.unparse(node), mode="eval").body))
