"""Where the learner leaves each policy version and the rollout replicas find it: safetensors files in one folder.

The folder belongs to one run and lives in shared memory. `newest` is what a replica that starts late loads.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_POINTER = "newest.json"


def publish(folder: Path, version: int, tensors: "Mapping[str, Tensor]") -> Path:
    """Write a policy version and make it the newest; both appear whole or not at all.

    The version that was the newest stays as well, since it may still be read; all others go.

    Returns:
        The file with the weights.
    """
    # Torch takes seconds to import, and whoever only looks for weights needs none of it.
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    before = newest(folder)
    path = folder / f"policy-{version:08d}.safetensors"
    unfinished = path.with_suffix(".unfinished")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, unfinished)
    os.replace(unfinished, path)
    point(folder, path, version)
    for old in folder.glob("policy-*.safetensors"):
        if old != path and (before is None or old != Path(before[0])):
            old.unlink()
    return path


def point(folder: Path, path: Path, version: int) -> None:
    """Make the weights at `path`, wherever that is, the ones that replicas are to have."""
    folder.mkdir(parents=True, exist_ok=True)
    pointer = folder / f"{_POINTER}.unfinished"
    pointer.write_text(json.dumps({"path": str(path), "version": version}))
    os.replace(pointer, folder / _POINTER)


def newest(folder: Path) -> tuple[str, int] | None:
    """The newest weights as (path, version), or None before the first was published."""
    try:
        pointer = json.loads((folder / _POINTER).read_text())
    except FileNotFoundError:
        return None
    return str(pointer["path"]), int(pointer["version"])
