"""Settings of the rollout pool."""

from typing import Literal

from pydantic import Field

from rl.settings import Settings


class RolloutSettings(Settings):
    """How many rollout workers there are, what each takes, and how its vLLM engine is built."""

    replicas: int = Field(1, ge=1)
    num_cpus: float = Field(1.0, gt=0)
    num_gpus: float = Field(0.0, ge=0)
    resources: dict[str, float] = {}
    """Custom resources of Ray that each takes: they keep it to one kind of node."""
    tensor_parallel: int = Field(1, ge=1)
    threads: int = Field(1, ge=1)
    """Threads of the model on CPU."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    max_length: int = Field(512, ge=16)
    """Prompt and response together, in tokens."""
    max_sequences: int = Field(256, ge=1)
    """Sequences that one engine decodes at a time."""
    gpu_memory: float = Field(0.9, gt=0, le=1)
    """Share of a GPU's memory that one engine takes; less where a learner worker shares the GPU."""
    kv_cache_gib: int = Field(1, ge=1)
    """Memory for keys and values on CPU, in GiB."""
    drain_s: float = Field(20.0, gt=0, le=45)
    """How long a replica that is to go may work on what it has; what is left then is asked of another one.

    Ray gives the end of a whole pool 60 s, its engines included.
    """
    sync_deadline_s: float = Field(60.0, gt=0)
    """A replica that takes longer than this over new weights is replaced."""
