"""A real run on a real cluster as its users watch it: a real Prometheus, and the dashboard in a real browser.

With CODEREASON_PICTURES=FOLDER the pages that the browser shows are written there; those in docs/ were made so.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from cluster.runs import read_jsonl
from tests.cluster.monitoring.browser import BROWSER, Page
from tests.cluster.monitoring.test_monitoring import answer, needs_prometheus, prometheus, queries

ROOT = Path(__file__).parents[3]

# SFT is longer than it takes Ray to pass a process's metrics on (10 s).
CHANGES = [
    "name=watched", "rl.steps=2000", "sft.epochs=40", "sft.decay_epochs=40",
    "learner.workers=1", "rollout.max_replicas=2", "rollout.wait_above=0.05",
    "cluster.grow_after_s=2", "evaluation.every=null", "rl.kl=0.001", f"cluster.python={sys.executable}",
]  # fmt: skip


def codereason(head, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "cluster", *map(str, arguments), "--address", head.url],
        cwd=ROOT, env=head.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


class Panels:
    """Those whose query nobody has answered yet: a learner's metrics go with it, so they are asked all the time."""

    def __init__(self, port):
        self.port, self.silent = port, queries()

    def ask(self):
        self.silent = [(title, query) for title, query in self.silent if not answer(self.port, query)]


@pytest.fixture(scope="module")
def prometheus_panels(head, tmp_path_factory):
    """From before the job, as it is where people watch; None without a Prometheus."""
    if shutil.which("prometheus") is None:
        yield None
        return
    with prometheus(head, tmp_path_factory.mktemp("prometheus")) as port:
        yield Panels(port)


@pytest.fixture(scope="module")
def watched(head, prometheus_panels, tmp_path_factory):
    """The id of a job that trains, and the folder of its run."""
    runs = tmp_path_factory.mktemp("runs")
    sent = codereason(head, "submit", "configs/smoke.yaml", *CHANGES, "--runs", runs, "--json")
    job = json.loads(sent)["job"]
    deadline = time.monotonic() + 420
    while not any(row["stage"] == "rl" for row in read_jsonl(runs / "watched" / "metrics.jsonl")):
        assert time.monotonic() < deadline, codereason(head, "logs", job)
        time.sleep(2)
        if prometheus_panels is not None:
            prometheus_panels.ask()
    yield job, runs / "watched"
    codereason(head, "stop", job)


@pytest.mark.slow
@needs_prometheus
def test_a_real_prometheus_answers_every_panel_about_a_live_run(watched, prometheus_panels):
    deadline = time.monotonic() + 240
    while prometheus_panels.silent and time.monotonic() < deadline:
        time.sleep(3)
        prometheus_panels.ask()
    assert not prometheus_panels.silent


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="the Debian package chromium is not installed")
def test_the_dashboard_shows_our_names_in_a_real_browser(head, watched, tmp_path):
    job, _ = watched
    pictures = Path(os.environ.get("CODEREASON_PICTURES", tmp_path))
    cookies = {"ray-authentication-token": head.environment["RAY_AUTH_TOKEN"]}
    tabs = {
        "jobs": (job, "RUNNING"),
        "serve": ("watched-rollout", "watched-reward", "RUNNING"),
        "actors": ("ExperienceStream",),
    }
    with Page(tmp_path) as page:
        page.open(f"{head.url}/#/jobs", {})
        page.shows("Authentication Token Required")
        for tab, words in tabs.items():
            page.open(f"{head.url}/#/{tab}", cookies)
            page.shows(*words)
            time.sleep(2)
            page.picture(pictures / f"dashboard-{tab}.png")


@pytest.mark.slow
def test_ray_tells_of_the_trainings_by_the_runs_name(head, watched):
    token = {"Authorization": f"Bearer {head.environment['RAY_AUTH_TOKEN']}"}
    reply = requests.get(f"{head.url}/api/train/v2/runs/v1", headers=token, timeout=60)
    assert reply.status_code == 200, reply.text
    states = {run["name"]: run["status"] for run in reply.json()["train_runs"]}
    assert states == {"watched-sft": "FINISHED", "watched-rl": "RUNNING"}


@pytest.mark.slow
def test_status_at_a_terminal_tells_of_the_run_and_its_job(head, watched):
    job, run = watched
    told = codereason(head, "status", run)
    for words in ("stage    rl", "tokens/s", "slowest", "health", "workers  rollout", f"job      {job}: RUNNING"):
        assert words in told
    assert "progress" in json.loads(codereason(head, "status", run, "--json"))
