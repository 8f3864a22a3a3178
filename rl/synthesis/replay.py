"""Walks through a program's statements and says, at each print anchor, what was done since the one before."""

import ast
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from rl.synthesis.interpreter import BINARY, Env, evaluate, substituted


@dataclass(frozen=True, slots=True)
class Step:
    """One anchor: the name it prints, the value, and the reasoning that leads to it."""

    name: str
    value: Any
    reasoning: str


def replay(body: Sequence[ast.stmt], env: Env) -> Iterator[Step]:
    """Runs statements in `env`, which it changes, and yields a step where instrumentation puts an anchor.

    That is after every assignment and `append` outside loops, once after a loop for each name it changed,
    and before `return`, which ends the walk.

    Raises:
        ValueError: a kind of statement or expression that generated programs do not have.
    """
    said: list[str] = []
    for statement in body:
        match statement:
            case ast.If(test=test):
                truth = evaluate(test, env)
                said.append(f"if {_shown(test, env)} = {truth}")
                for step in replay(statement.body if truth else statement.orelse, env):
                    yield _after(said, step)
            case ast.For(target=ast.Name(id=item), orelse=[]):
                for value in list(evaluate(statement.iter, env)):
                    env[item] = value
                    said.append(", ".join(_round(statement.body, env)))
                for name in _changed(statement.body):
                    yield _after(said, Step(name, env[name], "" if said else name))
            case ast.Return(value=ast.expr() as result):
                yield _after(said, Step("return_val", evaluate(result, env), f"return {_shown(result, env)}"))
                return
            case _:
                name, text = _change(statement, env)
                yield _after(said, Step(name, env[name], text))


def _after(said: list[str], step: Step) -> Step:
    """The step with what was said before it (a condition, a loop's rounds) put in front; empties `said`.

    The value is copied, since later statements may append to it.
    """
    reasoning = "; ".join([*said, step.reasoning] if step.reasoning else said)
    said.clear()
    return Step(step.name, deepcopy(step.value), reasoning)


def _round(body: Sequence[ast.stmt], env: Env) -> Iterator[str]:
    """Runs one round of a loop and says, with values for names, each condition and each change."""
    for statement in body:
        if isinstance(statement, ast.If):
            truth = evaluate(statement.test, env)
            yield f"{substituted(statement.test, env)} = {truth}"
            yield from _round(statement.body if truth else statement.orelse, env)
        else:
            name, text = _change(statement, env)
            yield f"{text.rpartition(' = ')[2]} = {env[name]}"


def _changed(body: Sequence[ast.stmt]) -> list[str]:
    """The names that a loop's statements assign or append to, as written."""
    names: list[str] = []
    for node in (found for statement in body for found in ast.walk(statement)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)):
                names.append(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append")):
                names.append(name)
    return list(dict.fromkeys(names))


def _change(statement: ast.stmt, env: Env) -> tuple[str, str]:
    """Runs a statement that changes one name; returns the name and what was computed."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            text = _shown(value, env)
            env[name] = evaluate(value, env)
            return name, text
        case ast.AugAssign(target=ast.Name(id=name), op=op, value=value) if type(op) in BINARY:
            whole = ast.BinOp(ast.Name(name), op, value)
            text = _shown(whole, env)
            env[name] = evaluate(whole, env)
            return name, text
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[item])):
            whole = ast.BinOp(ast.Name(name), ast.Add(), ast.List([item]))
            text = _shown(whole, env)
            env[name].append(evaluate(item, env))
            return name, text
    raise ValueError(f"no rule for the statement {type(statement).__name__}: {ast.unparse(statement).splitlines()[0]}")


def _shown(node: ast.expr, env: Env) -> str:
    """An expression and the same with values for names, `a + b = 3 + 4`; just the source where that says all."""
    source, values = ast.unparse(node), substituted(node, env)
    return source if isinstance(node, ast.Name) or source == values else f"{source} = {values}"
