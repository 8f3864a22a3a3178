"""What the user gave for a place, and cannot be one, ends a command with one line and status 2."""

import sys

import pytest

from cluster import cli
from cluster.runs import RunFolder


def ended(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["codereason", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize("command", [["data", "x.yaml"], ["submit", "x.yaml"], ["status", "x"]])
def test_runs_are_kept_in_folders_alone(monkeypatch, capsys, command):
    told = ended(monkeypatch, capsys, *command, "--runs", "s3://bucket/runs")
    assert told.startswith("codereason: --runs s3://bucket/runs: runs are kept in a folder; for a store elsewhere, one of a")


def test_a_folder_under_a_file_is_named(monkeypatch, capsys, tmp_path):
    file = tmp_path / "file"
    file.write_text("")

    def data():
        with RunFolder(file / "run").locked():
            pass

    monkeypatch.setattr(cli, "app", lambda standalone_mode: data())
    assert ended(monkeypatch, capsys) == f"codereason: {file / 'run'}: Not a directory\n"


def test_a_folder_where_a_file_should_be_is_named(monkeypatch, capsys, tmp_path):
    told = ended(monkeypatch, capsys, "dashboard", "--out", tmp_path)
    assert told.startswith(f"codereason: {tmp_path}")


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "gone", "ours"), ConnectionResetError(104, "reset"), OSError(13, "no")]
)
def test_other_failures_are_faults(monkeypatch, error):
    def app(standalone_mode):
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(type(error)):
        cli.main()
