"""What it costs to bring new weights from the learner into the engines: `codereason bench weights`."""

import asyncio
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.loop import prepared, run_settings
from cluster.experience.collection import Sampler
from cluster.session import application_names, weights_folder, worker_environment
from learner.settings import ScratchModel
from rl.published_weights import publish
from rollout.deployment import deploy

_HIDDEN = 1024
_DEADLINE_S = 300


def measure(*, mib: int, rounds: int) -> dict[str, Any]:
    """Rounds of publishing a model and loading it into the engine of one rollout worker, and of copying its bytes.

    Args:
        mib: about so large a model, in fp32.
        rounds: timed ones; the median counts.

    Raises:
        BadInput: this machine has no place for the worker.
    """
    model = _model(mib)
    rollout = {"num_cpus": 0.5, "max_length": model.max_length, "max_sequences": 16}
    rollout |= {"sync_deadline_s": _DEADLINE_S, "group_deadline_s": 2 * _DEADLINE_S}
    settings = run_settings(4, {"groups": 1, "max_tokens": 32}, model=model, rollout=rollout)
    torch.set_num_threads(1)
    with prepared(settings, ["data"]) as job:
        name, *_ = application_names(settings.name)
        folder, published = str(job.run.model("base")), weights_folder(settings.cluster, job.run.path)
        handle = deploy(name, folder, str(published), settings.rollout, settings.seed, worker_environment())
        sampler = Sampler(handle, folder, deadline_s=_DEADLINE_S)
        tensors = _read(folder)
        copies = {key: tensor.clone() for key, tensor in tensors.items()}
        rows = [_round(sampler, published, version, tensors, copies) for version in range(1, rounds + 2)]
    found = {key: median(row[key] for row in rows[1:]) for key in rows[0]}
    return {
        "mib": sum(tensor.nbytes for tensor in tensors.values()) / 2**20,
        **found,
        "sync_s": found["publish_s"] + found["load_s"],
        "times_memcpy": median((row["publish_s"] + row["load_s"]) / row["memcpy_s"] for row in rows[1:]),
    }


def _model(mib: int) -> ScratchModel:
    """A model of about this size, of wide layers."""
    hidden = min(_HIDDEN, 64 if mib < 8 else 256 if mib < 64 else _HIDDEN)
    layer = 4 * (4 * hidden**2 + 3 * hidden * 3 * hidden)
    layers = max(round(mib * 2**20 / layer), 1)
    return ScratchModel(layers=layers, hidden=hidden, heads=hidden // 32, intermediate=3 * hidden, max_length=128)


def _read(folder: str) -> dict[str, Tensor]:
    """The model's weights in memory of their own, as a learner has them."""
    from safetensors.torch import load_file

    return {name: tensor.clone() for name, tensor in load_file(f"{folder}/model.safetensors").items()}


def _round(
    sampler: Sampler, published: Path, version: int, tensors: dict[str, Tensor], copies: dict[str, Tensor]
) -> dict[str, float]:
    """Seconds of each part."""
    began = time.perf_counter()
    for name, tensor in tensors.items():
        copies[name].copy_(tensor)
    copied = time.perf_counter()
    path = publish(published, version, tensors)
    written = time.perf_counter()
    asyncio.run(sampler.load(str(path), version))
    return {"memcpy_s": copied - began, "publish_s": written - copied, "load_s": time.perf_counter() - written}
