"""Low-rank adapters through peft, put into the model itself, so that its layers keep their Hugging Face names."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner.settings import LoraSettings

_ADAPTER = "default"


def add_adapters(model: PreTrainedModel, settings: LoraSettings) -> None:
    """Freeze the model and give its target layers adapters, which change nothing yet and are the same in every process."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # annotated as int, used as a factor
        target_modules=settings.targets or "all-linear",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inject_adapter_in_model(config, model, adapter_name=_ADAPTER)


def name_without(name: str) -> str | None:
    """What a parameter is called in the model without adapters; None for an adapter's own."""
    return None if ".lora_" in name else name.replace(".base_layer.", ".")


def merged(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Names and weights of the model as if it had been trained without adapters; the parameters must be whole."""
    from peft.tuners.lora import LoraLayer

    layers: dict[str, Any] = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    for name, parameter in model.named_parameters():
        layer, _, rest = name.partition(".lora_")
        if rest and layer in layers:
            continue
        layer, base, rest = name.rpartition(".base_layer.")
        if not base:
            yield name, parameter.detach()
        elif rest == "weight":
            delta = layers[layer].get_delta_weight(_ADAPTER)
            yield f"{layer}.{rest}", (parameter.detach().float() + delta.detach().float()).to(parameter.dtype)
        else:
            yield f"{layer}.{rest}", parameter.detach()
