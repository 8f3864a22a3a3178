"""What a build that is started again knows before it fills its first split."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import RunSettings
from cluster.data import factory
from cluster.data.factory import Split, chunked
from cluster.data.lengths import Budget
from cluster.data.parts import Wave, kept_parts, part_path
from cluster.data.plain_rows import as_row
from cluster.data.screening import Screen
from cluster.data.splits import SPLITS
from cluster.runs import RunFolder, write_jsonl
from rl.problems import Problem
from rl.synthesis.candidates import Candidate, Rejected


class Filling(Exception):
    pass


def test_what_the_wave_under_way_of_any_split_holds_is_known_to_all(tmp_path, monkeypatch):
    codes = [f"def f(x):\n    y = x + {number}\n    return y\n" for number in range(3)]
    done, under_way, new = (Problem(f"p{number}", code, "f(1)", code, [], "1") for number, code in enumerate(codes))
    parts = tmp_path / "data" / "parts"
    write_jsonl(part_path(parts, "rl", 0), [{"problem": as_row(done)}])
    with Wave(parts, "rl", 1) as wave:
        wave.add({"problem": as_row(under_way)})

    def fill(split, wanted, source, made):
        assert split.name == "heldout"
        for problem in (done, under_way):
            with pytest.raises(Rejected, match="program already in another split"):
                made.screen.check(problem, split.name, 1)
        made.screen.check(new, split.name, 1)
        raise Filling

    monkeypatch.setattr(factory, "fill", fill)
    data = {name: {"problems": 2, "chains": True} for name in SPLITS}
    with pytest.raises(Filling):
        factory.build(
            RunSettings.model_validate({"name": "run", "data": data}), dict.fromkeys(SPLITS), RunFolder(tmp_path), [].append
        )


@given(st.integers(0, 10**6), st.integers(1, 3000), st.integers(1, 64))
def test_tasks_hold_every_number_once_and_get_smaller(begin, count, cores):
    tasks = list(chunked(begin, begin + count, cores))
    assert [number for task in tasks for number in range(task["begin"], task["end"])] == list(range(begin, begin + count))
    sizes = [task["end"] - task["begin"] for task in tasks]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 16


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("problems", [1, 40, 1400])
def test_as_many_candidates_are_made_as_nearly_always_do(problems, share):
    split = Split("rl", problems=[PROBLEM] * round(10_000 * share), tried=10_000)
    made = split.candidates(problems)
    rng = Random(1)
    draws = [sum(rng.random() < share for _ in range(made)) for _ in range(100)]
    assert sum(draw >= problems for draw in draws) >= 95
    assert made <= (1.1 * problems + 20) / share


PROBLEM = Problem("p", "def f(x):\n    return x\n", "f(1)", "", [], "1")
SPLIT = {"problems": 150, "chains": True}


class Numbered:
    """A source of which `_made` is faked: its programs from 128 on repeat themselves every ten."""

    size, calls, ours = 400, 1, False


def test_a_wave_under_way_behind_a_spoilt_part_is_known_when_its_turn_comes(tmp_path, monkeypatch):
    settings = RunSettings.model_validate({"name": "run", "data": dict.fromkeys(SPLITS, SPLIT)})
    stop = None

    def made(source, begin, end, wanted, settings):
        for number in range(begin, end):
            if number == stop:
                raise Filling
            code = f"def f(x):\n    y = x + {number if number < 128 or number >= 170 else 128 + number % 10}\n    return y\n"
            yield Candidate(f"c{number}", code, "f(1)", None, "x"), Problem(f"c{number}", code, "f(1)", code, [], "1")

    def filled(parts):
        split, screen = Split("rl"), Screen(settings.data.filters)
        for rows in kept_parts(parts, "rl"):
            factory._know(rows, screen, "rl")
            factory._take(split, rows)
        budget = Budget(settings.data)
        factory.fill(split, settings.data.rl, Numbered(), factory.Factory(settings, screen, None, None, budget, parts, int))
        return [problem.code for problem in split.problems]

    monkeypatch.setattr(factory, "_made", made)
    monkeypatch.setattr(factory, "_WAVE", 64)
    whole = filled(tmp_path / "whole")
    parts, stop = tmp_path / "parts", 150
    with pytest.raises(Filling):
        filled(parts)
    stop = None
    part_path(parts, "rl", 64).write_bytes(b"\0\xff\n")
    assert filled(parts) == whole
    assert len(set(whole)) == len(whole) == 150
