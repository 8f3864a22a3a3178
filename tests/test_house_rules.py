"""The house: five rooms on three floors, and no arrow that climbs or crosses."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOOR = {"rl": 0, "rollout": 1, "reward": 1, "learner": 1, "cluster": 2}
ENGINES = {"ray", "vllm", "deepspeed", "openai", "requests", "httpx"}
FILES = [path for room in FLOOR for path in sorted((ROOT / room).rglob("*.py"))]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, f"line {node.lineno}: a relative import may not leave its folder"
        elif isinstance(node, ast.ImportFrom):
            yield node.module, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_never_climb_or_cross(path):
    room = path.relative_to(ROOT).parts[0]
    for module, line in imported(ast.parse(path.read_text())):
        other = module.split(".")[0]
        if other in FLOOR and other != room:
            assert FLOOR[other] < FLOOR[room], f"{path}:{line}: {room} may not import {module}"
        if room == "rl":
            assert other not in ENGINES, f"{path}:{line}: the ground floor knows no engine"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") <= 400, "a file this long is two"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno <= 60, f"{node.name}: a function this long is two"
