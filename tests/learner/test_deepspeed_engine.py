"""The real DeepSpeed engine on two ranks: the same step as plain PyTorch, whatever the cut and the ZeRO stage."""

import os
import socket

import pytest
import torch
import torch.multiprocessing as multiprocessing
from transformers import AutoModelForCausalLM

from rl.batching import Example, collate, plan
from rl.losses import policy_loss, token_logprobs

LR = 1e-2
RANKS = 2


def examples():
    generator = torch.Generator().manual_seed(0)

    def draw(size):
        return torch.randint(3, 290, (size,), generator=generator).tolist()

    return [
        Example(
            draw(3 + i % 4),
            draw(2 + i % 7),
            torch.randn(2 + i % 7, generator=generator).tolist(),
            [-5.0] * (2 + i % 7),
        )
        for i in range(11)
    ]


def loss_over(total):
    def loss(logprobs, entropies, batch):
        return policy_loss(logprobs, batch.old_logprobs, batch.advantages, batch.response_mask, total, clip=1e9).loss

    return loss


def work(rank, folder, port, stage, out):
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(RANKS), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    from learner.engine import LearnerEngine, load_model
    from learner.settings import LearnerSettings

    settings = LearnerSettings(workers=RANKS, zero_stage=stage, grad_clip=1e9)
    engine = LearnerEngine(load_model(folder, settings), settings, LR, weight_decay=0.0)
    batch = examples()
    total = sum(len(example.response_ids) for example in batch)
    cuts = plan([example.length for example in batch], RANKS, token_budget=24)[rank]
    for _ in range(2):
        engine.update([collate([batch[i] for i in cut], 0) for cut in cuts], loss_over(total), LR)
    engine.save(f"{out}/state", {"step": 2})
    assert engine.restore(f"{out}/state") == {"step": 2}
    with engine.full_weights() as weights:
        if rank == 0:
            torch.save({name: tensor.clone() for name, tensor in weights.items()}, f"{out}/weights.pt")


def reference(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.0)
    batch = collate(examples(), 0)
    total = float(batch.response_mask.sum())
    for _ in range(2):
        logprobs, entropies = token_logprobs(model(batch.token_ids).logits, batch.targets)
        optimizer.zero_grad()
        loss_over(total)(logprobs, entropies, batch).backward()
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_two_ranks_take_the_step_that_one_process_would(tiny_model, tmp_path, stage):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(work, args=(str(tiny_model), port, stage, str(tmp_path)), nprocs=RANKS)
    found = torch.load(tmp_path / "weights.pt")
    expected = reference(tiny_model)
    before = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    assert found.keys() == expected.keys()
    off = torch.cat([(found[name] - tensor).abs().flatten() for name, tensor in expected.items()])
    moved = torch.cat([(before[name] - tensor).abs().flatten() for name, tensor in expected.items()])
    # Adam's first steps are the gradient's signs: where it is next to zero, rounding may turn one around.
    assert off.mean() < LR / 1000
    assert (off > LR / 50).float().mean() < 1e-3
    assert moved.mean() > LR / 10
