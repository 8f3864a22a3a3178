"""Walks over syntax trees, against those of `ast`."""

import ast
import gzip
import json
from pathlib import Path

from rl.syntax import children, walk

DATA = Path(__file__).parents[1] / "data"
SAY_NOTHING = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)

EVERYTHING = '''
from __future__ import annotations
import os.path as p, sys
@dec(1)
class C(Base, metaclass=M):
    x: int = 1
    y: str
    async def g(self):
        async with a as b, c:
            async for i in z:
                await q
        return [j async for j in k if j]
def f(a, /, b: int = 2, *args, c, d=3, **rest) -> int:
    """Doc."""
    global G
    def inner():
        nonlocal a
        a += 1
        yield from (yield)
    try:
        del a[0], b.c
        raise E from None
    except (A, B) as error:
        pass
    except* X:
        ...
    else:
        x = y = -1 if not a and b or c else +2
    finally:
        assert a, "m"
    while True:
        break
    else:
        continue
    match a:
        case {"k": 1, **others} if a < b <= c != d:
            pass
        case [1, *tail] | (2 as two):
            pass
        case Point(0, y=None) | "s" | a.b:
            pass
        case _:
            pass
    for i, (j, *k) in {**m, 1: 2}.items():
        (w := f"{i!r:>{j}} {k}")
    with open(p) as (s, t):
        return lambda q, *, r=1: (*q, {1, 2}, {u: v for u in v}, {n for n in o}, s[1:2:3, ...], call(*a, b=c, **d))
'''


def programs():
    yield EVERYTHING.replace("    except* X:\n        ...\n", "")
    yield "try:\n    pass\nexcept* X as y:\n    pass\n"
    for line in (DATA / "cruxeval.jsonl").read_text().splitlines():
        yield json.loads(line)["code"]
    for name, field in (("humaneval", "prompt"), ("mbpp", "code")):
        for line in gzip.decompress((DATA / f"{name}.jsonl.gz").read_bytes()).decode().splitlines():
            row = json.loads(line)
            yield row[field] + row.get("canonical_solution", "")


def test_children_are_those_of_ast_that_say_something():
    kinds, nodes = set(), 0
    for code in programs():
        tree = ast.parse(code)
        for node in ast.walk(tree):
            assert children(node) == [child for child in ast.iter_child_nodes(node) if not isinstance(child, SAY_NOTHING)]
            kinds.add(type(node))
            nodes += 1
        assert list(walk(tree)) == [node for node in ast.walk(tree) if not isinstance(node, SAY_NOTHING)]
    concrete = {kind for base in (ast.stmt, ast.expr, ast.pattern) for kind in base.__subclasses__()}
    assert concrete - kinds == set()
    assert nodes > 50_000
