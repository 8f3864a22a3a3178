"""What a worker process of the factory is made of."""

import subprocess
import sys
from functools import partial

from ray import cloudpickle

from cluster.config import FilterSettings, SplitSettings
from cluster.data.numbered import Generated, Gridded, Listed
from cluster.data.tasks import make_chunk
from reward.settings import RewardSettings
from rl.synthesis.candidates import Candidate
from rl.synthesis.generator import Grammar

_HEAVY = ("datasets", "openai", "ray.data", "torch", "transformers", "vllm")
"""Seconds of every worker's start, each."""


def test_a_task_brings_nothing_with_it_that_takes_long():
    source = (Generated("rl", 1, Grammar()), Gridded("rl", 1, 2), Listed((Candidate("a", "", "", None, "x"),), 1))
    task = partial(
        make_chunk,
        source=source,
        wanted=SplitSettings(problems=1),
        filters=FilterSettings(),
        state_text="str",
        reward=RewardSettings(),
    )
    loaded = f"import pickle, sys; pickle.loads({cloudpickle.dumps(task)!r}); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=120).stdout
    assert "cluster.data.tasks" in told.split()
    assert not set(_HEAVY) & set(told.split())
