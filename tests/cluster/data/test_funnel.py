"""What `codereason data` says at its end."""

import io
import json

from rich.console import Console

from cluster.cli import _show_data
from cluster.data.funnel import funnel_rows
from cluster.data.splits import SPLITS

FUNNEL = {name: {"kept": 1000 + place} for place, name in enumerate(SPLITS)}
FUNNEL["rl"] |= {"execution: timeout": 7, "structure": 2}
FUNNEL["sft"] |= {"structure": 1}


def shown(folder, as_json):
    (folder / "data").mkdir()
    (folder / "data" / "funnel.json").write_text(json.dumps(FUNNEL))
    page = io.StringIO()
    _show_data(folder, Console(file=page, width=100), as_json)
    return page.getvalue()


def test_every_candidate_is_in_one_row():
    assert funnel_rows(FUNNEL) == [
        ["kept", 1000, 1001, 1002, 1003],
        ["execution: timeout", 0, 0, 0, 7],
        ["structure", 0, 0, 1, 2],
        ["tried", 1000, 1001, 1003, 1012],
    ]


def test_people_see_a_table_and_the_cards_path(tmp_path):
    page = shown(tmp_path, as_json=False)
    [tried] = [line for line in page.splitlines() if "tried" in line]
    assert [cell.strip() for cell in tried.strip("│").split("│")] == ["tried", "1,000", "1,001", "1,003", "1,012"]
    assert str(tmp_path / "data" / "README.md") in page


def test_programs_get_the_counts(tmp_path, capsys):
    assert shown(tmp_path, as_json=True) == ""
    told = json.loads(capsys.readouterr().out)
    card = str(tmp_path / "data" / "README.md")
    assert told == {"run": str(tmp_path), "stage": "data", "funnel": FUNNEL, "card": card}
