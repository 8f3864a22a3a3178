"""A cluster of several hosts on one machine, each with a network and a resource of its own: every pool stays on its host."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cluster.runs import read_jsonl
from tests.cluster.hosts import Network, namespaces

ROOT = Path(__file__).parents[3]

WHERE = """
import json, sys
import ray
from ray.util.state import list_actors

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
kinds = {node["NodeID"]: sorted(set(node["Resources"]) & {"driver", "rollout", "reward", "learner"}) for node in ray.nodes()}
alive = list_actors(filters=[("state", "=", "ALIVE")], limit=1000)
print(json.dumps([(actor.class_name, *kinds[actor.node_id]) for actor in alive]))
"""

WORKERS = {"rollout": "ServeReplica:nodes-rollout:rollout", "reward": "ServeReplica:nodes-reward:reward"}
LEARNER = "RayTrainWorker"


KINDS = {"driver": 1, "rollout": 2, "reward": 4, "learner": 1}
"""How much of its own resource each host has."""


class Nodes:
    """A head for the driver and three nodes for the workers; four raylets, each in a network of its own."""

    def __init__(self, hosts, folder):
        ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = {
            **ours,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.hosts, self.folder = hosts, Path(folder)
        self.address = f"{hosts[0].address}:6379"
        self.raylets = []

    def begin(self):
        """Start a raylet on every host; the run waits for them."""
        for host, (kind, count) in zip(self.hosts, KINDS.items(), strict=True):
            place = [f"--address={self.address}"]
            if host is self.hosts[0]:
                place = ["--head", "--port=6379", "--dashboard-host=127.0.0.1", f"--temp-dir={self.folder}"]
            command = [
                Path(sys.executable).parent / "ray", "start", "--block", *place, f"--node-ip-address={host.address}",
                "--num-cpus=1", f"--resources={json.dumps({kind: count})}", "--object-store-memory=80000000",
            ]  # fmt: skip
            log = self.folder / f"{kind}.log"
            with log.open("w") as out:
                raylet = subprocess.Popen(
                    [*host.prefix, *command], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
            self.raylets.append(raylet)
            until(raylet, lambda log=log: "Ray runtime started" in log.read_text(), f"{kind} did not start", log, 120)

    def end(self):
        for raylet in reversed(self.raylets):
            raylet.terminate()
            raylet.wait(timeout=60)

    def start(self, *arguments, **options):
        """A process on the head."""
        command = [*self.hosts[0].prefix, sys.executable, *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, text=True, **options)

    def answer(self, *arguments, status=0):
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=300)
        assert process.returncode == status, err
        return out if status == 0 else err

    def where(self):
        """Of each kind of worker the nodes that they are on."""
        found = json.loads(self.answer("-c", WHERE, self.address))
        names = {**WORKERS, "learner": LEARNER}
        return {pool: [node for name, *node in found if name == actor] for pool, actor in names.items()}


@pytest.fixture
def nodes():
    if not namespaces():
        pytest.skip("network namespaces cannot be made here")
    folder = tempfile.mkdtemp(prefix="ray-")
    with Network(len(KINDS)) as hosts:
        nodes = Nodes(hosts, folder)
        try:
            nodes.begin()
            yield nodes
        finally:
            nodes.end()
            shutil.rmtree(folder, ignore_errors=True)


def until(process, reached, what, log, within_s=600):
    deadline = time.monotonic() + within_s
    while not (found := reached()):
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, f"{what}: {log.read_text()[-3000:]}"
        time.sleep(1)
    return found


@pytest.mark.slow
def test_every_pool_stays_where_it_belongs_by_whichever_hand_it_grows(nodes, tmp_path):
    run = tmp_path / "nodes"
    log = tmp_path / "console"
    with log.open("w") as out:
        process = nodes.start(
            "-m", "cluster", "train", "configs/smoke.yaml", "--runs", str(tmp_path), "name=nodes", "rl.steps=2000",
            f"cluster.address={nodes.address}", "cluster.grow_after_s=2", "learner.workers=1", "evaluation.every=null",
            "rollout.resources={rollout: 1}", "reward.resources={reward: 1}", "learner.resources={learner: 1}",
            "rollout.max_replicas=2", "rollout.wait_above=0.05", "cluster.wait_for_nodes_s=120",
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        (grown,) = until(process, lambda: read_jsonl(run / "scaling.jsonl"), "load brought no engine", log)
        assert (grown["pool"], grown["from"], grown["to"], grown["cause"]) == ("rollout", 1, 2, "waiting")
        assert "the learner waited for responses" in grown["reason"]
        assert "KV cache unknown" not in grown["reason"], "the engines told nothing"
        scale = "-m", "cluster", "scale", "nodes", "--runs", str(tmp_path), "--address", "http://127.0.0.1:8265"
        nodes.answer(*scale, "reward=3")
        until(process, lambda: len(nodes.where()["rollout"]) == 2, "the second engine did not come", log)
        assert nodes.where() == {"rollout": [["rollout"]] * 2, "reward": [["reward"]] * 3, "learner": [["learner"]]}
        told = nodes.answer(*scale, "reward=5", "--wait", "60", status=2)
        assert "reward has 4 of 5" in told.splitlines()[-1]
        assert nodes.where()["reward"] == [["reward"]] * 4, "there is room on other nodes, but not for this pool"
        nodes.answer(*scale, "reward=1")
        assert nodes.where()["reward"] == [["reward"]]
        done = len(read_jsonl(run / "metrics.jsonl"))
        until(process, lambda: len(read_jsonl(run / "metrics.jsonl")) > done + 2, "training stands still", log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=180)
    rows = [row for row in read_jsonl(run / "metrics.jsonl") if row["stage"] == "rl"]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(sum(row["verdicts"].values()) == pytest.approx(1) and row["masked"] == 0 for row in rows)
