"""The check after every weight update: agreement passes, corruption stops the run and says what to look for."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from learner.policy import WeightMismatch, probe_mismatch, require_agreement
from rl.batching import Example
from rl.losses import token_logprobs

PROMPT, RESPONSE = [1, 50, 51], [60, 61, 62]


class OneProcess:
    """The part of a learner engine that the check uses, without DeepSpeed."""

    def __init__(self, model):
        self.model = model

    def logprobs(self, batch, temperature):
        return token_logprobs(self.model(batch.token_ids).logits, batch.targets, temperature)


@pytest.fixture
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def probe(model):
    ids = torch.tensor([PROMPT + RESPONSE])
    with torch.no_grad():
        logprobs, _ = token_logprobs(model(ids[:, :-1]).logits, ids[:, 1:])
    return Example(PROMPT, RESPONSE, [0.0] * 3, logprobs[0, len(PROMPT) - 1 :].tolist())


def test_agreement_passes(model):
    mismatch = probe_mismatch(OneProcess(model), [probe(model)] * 2, 0, 1.0)
    assert mismatch < 1e-5
    require_agreement(mismatch, 3, 1e-3)


def test_a_stale_output_layer_is_found(model):
    probes = [probe(model)]
    with torch.no_grad():
        model.lm_head.weight.add_(0.01 * torch.randn_like(model.lm_head.weight))
    mismatch = probe_mismatch(OneProcess(model), probes, 0, 1.0)
    with pytest.raises(WeightMismatch, match=r"policy version 3 .* tied embeddings"):
        require_agreement(mismatch, 3, 1e-3)


def test_not_a_number_is_a_mismatch(model):
    broken = Example(PROMPT, RESPONSE, [0.0] * 3, [float("nan")] * 3)
    with pytest.raises(WeightMismatch):
        require_agreement(probe_mismatch(OneProcess(model), [broken], 0, 1.0), 1, 1e-3)
