"""The parts of an interrupted build: only what follows on from the beginning is taken."""

import json

import pytest

from cluster.data.parts import Wave, kept_parts, part_path
from cluster.runs import write_jsonl

ROWS = [{"rejected": {"id": str(number)}} for number in range(9)]


def left(folder):
    return sorted(part.name for part in folder.iterdir())


@pytest.fixture
def parts(tmp_path):
    for first in (0, 3, 6):
        write_jsonl(part_path(tmp_path, "rl", first), ROWS[first : first + 3])
    write_jsonl(part_path(tmp_path, "sft", 0), [{"problem": {"id": "s"}}])
    return tmp_path


def test_all_parts_are_taken_in_order(parts):
    assert [row for rows in kept_parts(parts, "rl") for row in rows] == ROWS
    assert list(kept_parts(parts, "sft")) == [[{"problem": {"id": "s"}}]]
    assert list(kept_parts(parts, "heldout")) == []
    assert len(left(parts)) == 4


@pytest.mark.parametrize("gone", [0, 3, 6])
def test_after_a_part_that_is_gone_none_is_taken(parts, gone):
    part_path(parts, "rl", gone).unlink()
    assert [row for rows in kept_parts(parts, "rl") for row in rows] == ROWS[:gone]
    assert left(parts) == [*(f"rl-{first:08d}.jsonl" for first in (0, 3, 6) if first < gone), "sft-00000000.jsonl"]


@pytest.mark.parametrize("spoilt", [b"", b"\x00\xff\n", b'{"rejected": {}}\n{"rej\n{"rejected": {}}\n', b"[]\n", b"{}\n"])
def test_a_spoilt_part_goes_and_all_after_it(parts, spoilt):
    part_path(parts, "rl", 3).write_bytes(spoilt)
    assert [row for rows in kept_parts(parts, "rl") for row in rows] == ROWS[:3]
    assert left(parts) == ["rl-00000000.jsonl", "sft-00000000.jsonl"]


def test_a_row_of_a_wave_is_on_disk_at_once_and_the_next_wave_goes_on_behind_it(tmp_path):
    with Wave(tmp_path, "rl", 3) as wave:
        for row in ROWS[:2]:
            wave.add(row)
        assert (tmp_path / "rl-00000003.unfinished").read_text().count("\n") == 2
    with (tmp_path / "rl-00000003.unfinished").open("a") as file:
        file.write('{"rejected": {"id": "ha')
    with Wave(tmp_path, "rl", 3) as wave:
        assert wave.rows == ROWS[:2]
        wave.add(ROWS[2])
        wave.finish(wave.rows)
    assert left(tmp_path) == ["rl-00000003.jsonl"]
    assert part_path(tmp_path, "rl", 3).read_text() == "".join(json.dumps(row) + "\n" for row in ROWS[:3])


def test_a_wave_whose_rows_have_changed_is_kept_as_they_are_now(tmp_path):
    with Wave(tmp_path, "rl", 0) as wave:
        wave.add(ROWS[0])
        wave.finish([ROWS[5]])
    assert left(tmp_path) == ["rl-00000000.jsonl"]
    assert list(kept_parts(tmp_path, "rl")) == [[ROWS[5]]]
