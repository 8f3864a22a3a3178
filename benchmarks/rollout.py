"""How much of vLLM's speed is left when it is asked through the rollout service: `codereason bench rollout`."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import ray

from benchmarks.loop import prepared, run_settings
from benchmarks.raw_engine import RawEngine
from cluster.data.splits import read_split
from cluster.experience.collection import Sampler
from cluster.session import application_names, worker_environment
from cluster.stages import Job
from learner.settings import ScratchModel
from rl.prompts import prompt_ids
from rl.seeds import derived_seed
from rollout.deployment import deploy
from rollout.engine import Sampling

_START_S = 300
_ROUND_S = 600


def measure(*, model: ScratchModel, prompts: int, samples: int, tokens: int, rounds: int, threads: int) -> dict[str, Any]:
    """Groups for the same prompts with the same seeds, the ways taking turns; both engines are there all the time.

    Args:
        model: the architecture, made from nothing.
        prompts: asked at once.
        samples: responses to each.
        tokens: of a response; the model hardly ever ends one itself.
        rounds: timed ones; the median counts.
        threads: of the model, for either engine.

    Raises:
        BadInput: this machine has no place for the workers.
    """
    settings = run_settings(
        prompts,
        {"groups": 1, "group_size": samples, "max_tokens": tokens},
        model=model,
        rollout={
            "num_cpus": 0.5,
            "threads": threads,
            "max_length": model.max_length,
            "max_sequences": min(prompts * samples, 256),
        },
    )
    with prepared(settings, ["data"]) as job, raw_engine(job) as raw:
        name, *_ = application_names(settings.name)
        folder = str(job.run.model("base"))
        handle = deploy(name, folder, str(job.run.path / "weights"), settings.rollout, settings.seed, worker_environment())
        sampler = Sampler(handle, folder, deadline_s=_ROUND_S)
        asked = [prompt_ids(problem, sampler.tokenizer) for problem in read_split(job.run.split("rl"))]
        speeds = [_round(raw, sampler, asked, samples, tokens, turn) for turn in range(rounds + 1)][1:]
    ways = {way: [speed[way] for speed in speeds] for way in speeds[0]}
    return {
        "prompts": len(asked),
        "samples": samples,
        "tokens": tokens,
        "threads": threads,
        **{f"{way}_tokens_per_s": median(found) for way, found in ways.items()},
        "service_over_raw": _ratio(ways["service"], ways["raw"]),
        "service_over_plain": _ratio(ways["service"], ways["plain"]),
    }


def _ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Median over rounds, each of which both took part in."""
    return median(one / other for one, other in zip(these, those, strict=True))


@contextmanager
def raw_engine(job: Job) -> Iterator[Any]:
    """An actor with vLLM's offline engine for the run's untrained model."""
    environment = {"env_vars": worker_environment()}
    actor: Any = ray.remote(RawEngine).options(num_cpus=0, runtime_env=environment)
    raw = actor.remote(str(job.run.model("base")), job.settings.rollout, job.settings.seed)
    try:
        ray.get(raw.__ray_ready__.remote(), timeout=_START_S)
        yield raw
    finally:
        ray.kill(raw)


def samplings(count: int, samples: int, tokens: int, stop_token_id: int, purpose: str) -> list[Sampling]:
    """How each of so many groups is drawn."""
    return [Sampling(samples, 1.0, tokens, stop_token_id, derived_seed(0, f"{purpose}/{index}")) for index in range(count)]


def _round(
    raw: Any, sampler: Sampler, asked: Sequence[Sequence[int]], samples: int, tokens: int, turn: int
) -> dict[str, float]:
    """Tokens a second of each way."""
    drawn = samplings(len(asked), samples, tokens, sampler.tokenizer.eos_token_id, f"round-{turn}")
    took, groups = ray.get(raw.generate.remote(asked, drawn), timeout=_ROUND_S)
    plain, plain_tokens = ray.get(raw.generate_plain.remote(asked, drawn), timeout=_ROUND_S)

    async def through_the_service() -> list[Any]:
        return await asyncio.gather(*(sampler.sample(*one) for one in zip(asked, drawn, strict=True)))

    began = time.perf_counter()
    answers = asyncio.run(through_the_service())
    seconds = time.perf_counter() - began
    return {
        "service": _tokens(answers) / seconds,
        "raw": _tokens(groups) / took.wall_s,
        "plain": plain_tokens / plain.wall_s,
    }


def _tokens(groups: Sequence[Sequence[Any]]) -> int:
    return sum(len(completion.token_ids) for group in groups for completion in group)
