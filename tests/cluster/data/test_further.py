"""Held-out splits beside a run's four."""

import pytest

from cluster.config import BadInput, RunSettings, SplitSettings
from cluster.data.factory import build
from cluster.data.further import build_further
from cluster.data.screening import program_fingerprint
from cluster.data.sources import open_sources
from cluster.data.splits import SPLITS, read_split
from cluster.runs import RunFolder
from rl.synthesis.generator import called

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.slow]

GRAMMAR = {"statements": [1, 1], "largest": 9, "list_length": [2, 2]}
"""So small that programs come up again and again."""
CONFIG = RunSettings.model_validate(
    {"name": "run", "data": {name: {"problems": 12, "chains": True, "grammar": GRAMMAR} for name in SPLITS}}
)
FURTHER = {
    "other": SplitSettings(problems=12, grammar=GRAMMAR),
    "sorting": SplitSettings(problems=5, grammar={**GRAMMAR, "calls": ["sorted"]}),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    build(CONFIG, open_sources(CONFIG.data, CONFIG.seed), run, lambda _: None)
    return run


def test_they_share_no_program_with_the_four_or_with_one_another_and_leave_them_as_they_are(run):
    before = {name: run.split(name).read_bytes() for name in SPLITS}
    done = []
    build_further(CONFIG, FURTHER, run, done.append)
    assert sum(done) == 17
    assert {name: run.split(name).read_bytes() for name in SPLITS} == before
    programs = [program_fingerprint(one.code) for name in (*SPLITS, *FURTHER) for one in read_split(run.split(name))]
    assert len(set(programs)) == len(programs) == 4 * 12 + 17
    assert all("sorted" in called(one.code) for one in read_split(run.split("sorting")))


def test_again_they_are_the_same(run):
    build_further(CONFIG, FURTHER, run, lambda _: None)
    first = run.split("other").read_bytes()
    (run.path / "data" / "further-parts").mkdir()
    (run.path / "data" / "further-parts" / "other-00000000.jsonl").write_text("cut sh")
    build_further(CONFIG, FURTHER, run, lambda _: None)
    assert run.split("other").read_bytes() == first
    assert not (run.path / "data" / "further-parts").exists()


def test_a_split_that_cannot_be_filled_is_named(run):
    few = SplitSettings(problems=40, grammar={**GRAMMAR, "statements": [0, 0], "argument": [1, 1]})
    with pytest.raises(BadInput, match=r"data\.few\.grammar: gave only"):
        build_further(CONFIG, {"few": few}, run, lambda _: None)
