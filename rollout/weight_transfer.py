"""How new weights enter a running vLLM engine: vLLM's own four phases, over three transports.

vLLM ships transports for CUDA: `ipc` hands over the GPU's own memory where learner and engine share one, `nccl` broadcasts
between GPUs. On CPU, and wherever an engine joins late, the weights are in a safetensors file that the engine maps. So every
transport here takes a file too. This module is named as the worker's extension, because that is what makes vLLM import it,
and so register the transports, inside the process that holds the model.
"""

import threading
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from tqdm import tqdm
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from rollout.settings import Transfer

# In a process that vLLM has spawned the lock that tqdm makes for itself is a named semaphore: one that is killed, as vLLM
# does it at an engine's end too, leaves it in /dev/shm. No other process shows progress here.
tqdm.set_lock(threading.RLock())

EXTENSION = f"{__name__}.WorkerExtension"
"""What to give vLLM as `worker_extension_cls`."""


def backend(transfer: Transfer) -> str:
    """A transport's name in vLLM's registry."""
    return f"codereason_{transfer}"


@dataclass
class FileInit(WeightTransferInitInfo):
    """Nothing to agree on beforehand."""


@dataclass
class FileUpdate(WeightTransferUpdateInfo):
    """One round's weights: a path, because vLLM's control channel turns arrays into lists."""

    path: str


class FileEngine(WeightTransferEngine[FileInit, FileUpdate]):
    """Reads each round's weights from one safetensors file.

    The layerwise reload is what restores parameters that the CPU back end has repacked; loading alone fails there.
    """

    init_info_cls = FileInit
    update_info_cls = FileUpdate

    def init_transfer_engine(self, init_info: FileInit) -> None:
        """Nothing to open."""

    def start_weight_update(self) -> None:
        """Phase two: let the layers accept checkpoint-shaped weights again."""
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: FileUpdate) -> None:
        """Phase three: load the file."""
        load(self.model, update_info.path)

    def finish_weight_update(self) -> None:
        """Phase four: repack the layers for this device."""
        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Nothing to close."""


def load(model: Any, path: str) -> None:
    """Load a file's weights into a model whose layers accept them."""
    model.load_weights(load_file(path).items())


class _OrFile:
    """What an engine that is sent weights does with a file's."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Phase three: load the file that is named, or receive what is sent."""
        engine: Any = self
        if "path" in update_info:
            load(engine.model, update_info["path"])
            torch.accelerator.synchronize()
        else:
            engine_class: Any = super()
            engine_class.update_weights(update_info)


class IpcEngine(_OrFile, IPCWeightTransferEngine):
    """vLLM's: copies from the learner's memory on the same GPU."""


class NcclEngine(_OrFile, NCCLWeightTransferEngine):
    """vLLM's: receives the learner's broadcasts."""

    def init_transfer_engine(self, init_info: Any) -> None:
        """Phase one: leave the learner's group before, and join this one: members come and go."""
        self.shutdown()
        super().init_transfer_engine(init_info)


class WorkerExtension:
    """Empty on purpose: see the module's first paragraph."""


_ENGINES: dict[Transfer, type[WeightTransferEngine[Any, Any]]] = {
    "shared_memory": FileEngine,
    "ipc": IpcEngine,
    "nccl": NcclEngine,
}
for _transfer, _engine in _ENGINES.items():
    if backend(_transfer) not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(backend(_transfer), _engine)
