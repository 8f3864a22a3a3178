"""The benchmarks of the loop's parts: tiny runs with the real engines, for their keys, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import benchmarks.against_trl
from cluster.commands.bench import app
from cluster.config import BadInput

ROOT = Path(__file__).resolve().parents[3]
TINY = ("--layers", "1", "--hidden", "64", "--tokens", "16")


def found(*arguments):
    """What a benchmark prints. A process of its own: engines and Ray set up much that stays."""
    command = [sys.executable, "-m", "cluster", "bench", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_rollout():
    told = found("rollout", "--prompts", "2", "--rounds", "1", *TINY)
    assert set(told) == {
        "prompts", "samples", "tokens", "threads", "service_tokens_per_s", "raw_tokens_per_s", "plain_tokens_per_s",
        "service_over_raw", "service_over_plain",
    }  # fmt: skip
    assert told["service_over_raw"] == pytest.approx(told["service_tokens_per_s"] / told["raw_tokens_per_s"])


@pytest.mark.slow
def test_weights():
    told = found("weights", "--mib", "4", "--rounds", "1")
    assert set(told) == {"mib", "memcpy_s", "publish_s", "load_s", "sync_s", "times_memcpy"}
    assert 2 < told["mib"] < 8
    assert told["times_memcpy"] == pytest.approx(told["sync_s"] / told["memcpy_s"])


@pytest.mark.slow
def test_step():
    told = found("step", "--groups", "2", "--group-size", "2", "--steps", "4", *TINY)
    assert set(told) == {"groups", "group_size", "tokens", "threads", "raw", "on_policy", "overlapped"}
    assert set(told["raw"]) == {"generate", "score", "update", "weights"}
    assert told["on_policy"]["limit_s"] == pytest.approx(sum(phase["wall_s"] for phase in told["raw"].values()))
    for way in ("on_policy", "overlapped"):
        assert told[way]["efficiency"] == pytest.approx(told[way]["limit_s"] / told[way]["step_s"])


@pytest.mark.slow
def test_trl():
    if not (ROOT / ".bench" / "trl").is_dir():
        pytest.skip("TRL is not there: make bench-trl")
    told = found("trl", "--groups", "2", "--group-size", "2", "--steps", "4", *TINY)
    assert set(told) == {"groups", "group_size", "tokens", "threads", "trl", "ours", "ours_over_trl"}
    # Of either, nearly all responses are as long as they may be.
    for side in ("trl", "ours"):
        assert 0.9 * 2 * 2 * 16 <= told[side]["tokens_a_step"] <= 2 * 2 * 16
    assert told["ours_over_trl"] == pytest.approx(told["ours"]["tokens_per_s"] / told["trl"]["tokens_per_s"])


@pytest.mark.slow
def test_controller():
    told = found("controller", "--in-flight", "2", "--in-flight", "5", "--trajectories", "20", "--group-size", "2")
    assert set(told) == {"group_size", "by_groups_in_flight", "most_over_least"}
    assert set(told["by_groups_in_flight"]) == {"2", "5"}
    for one in told["by_groups_in_flight"].values():
        assert one["trajectories"] == 20
        assert set(one) == {"trajectories", "tokens_a_trajectory", "cpu_ms_a_trajectory", "cpu_ms_a_weight_sync"}


def refusal(*arguments):
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, BadInput), done.exception
    return str(done.exception)


def test_without_trl_it_is_told_how_it_gets_there(tmp_path):
    assert refusal("trl", "--trl", str(tmp_path)) == (
        f"--trl {tmp_path}: TRL is not there; `make bench-trl` installs it into .bench"
    )


def test_a_batch_that_cannot_be_parted_is_refused(tmp_path):
    (tmp_path / "trl").mkdir()
    (tmp_path / "trl" / "__init__.py").touch()
    arguments = ("trl", "--trl", str(tmp_path), "--groups", "2", "--group-size", "4", "--accumulation", "3")
    assert refusal(*arguments) == "--accumulation 3: must divide the 8 responses of a batch"


def test_a_width_without_heads_is_refused():
    assert refusal("step", "--hidden", "100") == "--hidden 100: must be a multiple of 32"


def test_trl_is_pinned_and_asked_for_by_one_file_alone():
    pins = [line for line in (ROOT / "requirements" / "bench.txt").read_text().splitlines() if not line.startswith("#")]
    assert [pin.partition("==")[0] for pin in pins] == ["trl"]
    users = [path.name for path in ROOT.glob("[a-z]*/**/*.py") if "from trl import" in path.read_text()]
    assert sorted(users) == ["test_bench_speed.py", Path(benchmarks.against_trl._STEPS).name]
