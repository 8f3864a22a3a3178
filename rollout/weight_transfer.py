"""How new weights enter a running vLLM engine: vLLM's own four phases, with a transport for hosts without CUDA.

vLLM ships transports for CUDA only (`nccl`, `ipc`). On CPU the learner writes safetensors into shared memory and every
engine on the host maps the file. This module is named as the worker's extension, because that is what makes vLLM import
it, and so register the transport, inside the process that holds the model.
"""

from dataclasses import dataclass
from typing import Any

from safetensors.torch import load_file
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

SHARED_MEMORY = "shared_memory"
"""Name of the transport in vLLM's registry."""

EXTENSION = f"{__name__}.WorkerExtension"
"""What to give vLLM as `worker_extension_cls`."""


@dataclass
class SharedMemoryInit(WeightTransferInitInfo):
    """Nothing to agree on beforehand."""


@dataclass
class SharedMemoryUpdate(WeightTransferUpdateInfo):
    """One round's weights: a path, because vLLM's control channel turns arrays into lists."""

    path: str


class SharedMemoryEngine(WeightTransferEngine[SharedMemoryInit, SharedMemoryUpdate]):
    """Reads each round's weights from one safetensors file.

    The layerwise reload is what restores parameters that the CPU back end has repacked; loading alone fails there.
    """

    init_info_cls = SharedMemoryInit
    update_info_cls = SharedMemoryUpdate

    def init_transfer_engine(self, init_info: SharedMemoryInit) -> None:
        """Nothing to open."""

    def start_weight_update(self) -> None:
        """Phase two: let the layers accept checkpoint-shaped weights again."""
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: SharedMemoryUpdate) -> None:
        """Phase three: load the file."""
        loader: Any = self.model
        loader.load_weights(load_file(update_info.path).items())

    def finish_weight_update(self) -> None:
        """Phase four: repack the layers for this device."""
        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Nothing to close."""


class WorkerExtension:
    """Empty on purpose: see the module's first paragraph."""


if SHARED_MEMORY not in WeightTransferEngineFactory._registry:
    WeightTransferEngineFactory.register_engine(SHARED_MEMORY, SharedMemoryEngine)
