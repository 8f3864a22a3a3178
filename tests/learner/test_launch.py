"""Ray Train's list of checkpoints, cut short by a full disk or a kill."""

import pytest

from learner.launch import keep, mend


@pytest.fixture
def snapshot(tmp_path):
    return tmp_path / "checkpoint_manager_snapshot.json"


@pytest.mark.parametrize("left", ["", '{"checkpoint_results": [{"che'])
def test_a_list_cut_short_is_replaced_by_the_last_whole_one(snapshot, left):
    for text in ('{"latest": 1}', '{"latest": 2}'):
        snapshot.write_text(text)
        keep(snapshot)
    snapshot.write_text(left)
    mend(snapshot)
    assert snapshot.read_text() == '{"latest": 2}'


def test_a_whole_list_stays(snapshot):
    snapshot.write_text('{"latest": 1}')
    keep(snapshot)
    snapshot.write_text('{"latest": 2}')
    mend(snapshot)
    assert snapshot.read_text() == '{"latest": 2}'


def test_without_a_copy_training_begins_anew(snapshot):
    mend(snapshot)
    keep(snapshot)
    assert not list(snapshot.parent.iterdir())
    snapshot.write_text("")
    mend(snapshot)
    assert not snapshot.exists()
