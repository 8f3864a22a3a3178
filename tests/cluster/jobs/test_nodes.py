"""A cluster of several nodes on one machine, each with a resource of its own: every pool stays on its node."""

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

ROOT = Path(__file__).parents[3]

NODES = """
import json, sys
from ray.cluster_utils import Cluster

port, *kinds = sys.argv[1:]
shared = {"node_ip_address": "127.0.0.1", "object_store_memory": 80_000_000}
head = {"num_cpus": 1, "resources": {"driver": 1}, "include_dashboard": True, "dashboard_port": int(port)}
cluster = Cluster(initialize_head=True, head_node_args={**shared, **head})
for kind in kinds:
    name, count = kind.split("=")
    cluster.add_node(num_cpus=1, resources={name: int(count)}, **shared)
cluster.wait_for_nodes()
print(json.dumps({"address": cluster.address, "dashboard": f"http://{cluster.webui_url}"}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""

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


class Nodes:
    """A head for the driver and three nodes for the workers; four raylets."""

    def __init__(self, folder, port):
        ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = {
            **ours,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.process = self.start("-c", NODES, str(port), "rollout=2", "reward=4", "learner=1", stdin=subprocess.PIPE)
        told = self.process.stdout.readline()
        assert told, self.process.communicate(timeout=60)
        self.address, self.dashboard = json.loads(told).values()

    def start(self, *arguments, **options):
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    def answer(self, *arguments, status=0):
        process = self.start(*arguments)
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
    from tests.cluster.conftest import free_port

    folder = tempfile.mkdtemp(prefix="ray-")
    nodes = Nodes(folder, free_port())
    try:
        yield nodes
    finally:
        nodes.process.communicate(timeout=120)
        shutil.rmtree(folder, ignore_errors=True)


def until(process, reached, what, within_s=300):
    deadline = time.monotonic() + within_s
    while not (found := reached()):
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline, what
        time.sleep(1)
    return found


@pytest.mark.slow
def test_every_pool_stays_where_it_belongs_by_whichever_hand_it_grows(nodes, tmp_path):
    run = tmp_path / "nodes"
    process = nodes.start(
        "-m", "cluster", "train", "configs/smoke.yaml", "--runs", str(tmp_path), "name=nodes", "rl.steps=2000",
        f"cluster.address={nodes.address}", "cluster.grow_after_s=2", "learner.workers=1", "evaluation.every=null",
        "rollout.resources={rollout: 1}", "reward.resources={reward: 1}", "learner.resources={learner: 1}",
        "rollout.max_replicas=2", "rollout.wait_above=0.05",
    )  # fmt: skip
    try:
        (grown,) = until(process, lambda: read_jsonl(run / "scaling.jsonl"), "load brought no engine")
        assert (grown["pool"], grown["from"], grown["to"], grown["cause"]) == ("rollout", 1, 2, "waiting")
        assert "the learner waited for responses" in grown["reason"]
        assert "KV cache unknown" not in grown["reason"], "the engines told nothing"
        scale = "-m", "cluster", "scale", "nodes", "--runs", str(tmp_path), "--address", nodes.dashboard
        nodes.answer(*scale, "reward=3")
        until(process, lambda: len(nodes.where()["rollout"]) == 2, "the second engine did not come")
        assert nodes.where() == {"rollout": [["rollout"]] * 2, "reward": [["reward"]] * 3, "learner": [["learner"]]}
        told = nodes.answer(*scale, "reward=5", "--wait", "10", status=2)
        assert "reward has 4 of 5" in told.splitlines()[-1]
        assert nodes.where()["reward"] == [["reward"]] * 4, "there is room on other nodes, but not for this pool"
        nodes.answer(*scale, "reward=1")
        assert nodes.where()["reward"] == [["reward"]]
        done = len(read_jsonl(run / "metrics.jsonl"))
        until(process, lambda: len(read_jsonl(run / "metrics.jsonl")) > done + 2, "training stands still")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=180)
    rows = [row for row in read_jsonl(run / "metrics.jsonl") if row["stage"] == "rl"]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(sum(row["verdicts"].values()) == pytest.approx(1) and row["masked"] == 0 for row in rows)
