"""The real vLLM engine: groups, seeds, versions, and weights that arrive."""

import asyncio
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rollout.engine import Engine, Sampling, TiedEmbeddings, refuse_tied_embeddings
from rollout.settings import RolloutSettings

PROMPT = [1, 40, 41, 42, 43, 44, 45, 46]


class Loop:
    """An engine and the event loop it lives in."""

    def __init__(self, folder):
        self.loop = asyncio.new_event_loop()
        self.engine = Engine(str(folder), RolloutSettings(max_length=128, max_sequences=16, in_flight="adaptive"), seed=0)
        self(self.engine.start(version=0))

    def __call__(self, work):
        return self.loop.run_until_complete(work)


@pytest.fixture(scope="module")
def running(tiny_model):
    running = Loop(tiny_model)
    yield running
    running.engine.shutdown()


def sampling(**changes):
    return Sampling(**{"samples": 4, "temperature": 1.0, "max_tokens": 24, "stop_token_id": 2, "seed": 7, **changes})


def logprobs_of(model, completion, temperature=1.0):
    ids = torch.tensor([PROMPT + completion.token_ids])
    with torch.no_grad():
        distribution = torch.log_softmax(model(ids).logits[0] / temperature, dim=-1)
    return distribution[:-1].gather(-1, ids[0, 1:, None])[len(PROMPT) - 1 :, 0]


def test_a_group_agrees_with_the_model_it_came_from(running, tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    group = running(running.engine.generate(PROMPT, sampling(temperature=0.7)))
    assert len(group) == 4
    assert len({tuple(completion.token_ids) for completion in group}) > 1
    for completion in group:
        found = logprobs_of(model, completion, temperature=0.7)
        torch.testing.assert_close(torch.tensor(completion.rollout_logprobs), found, atol=1e-4, rtol=0)
        assert completion.finished == (completion.token_ids[-1] == 2)


def test_a_seed_fixes_a_group(running):
    first, again, other = (running(running.engine.generate(PROMPT, sampling(seed=seed))) for seed in (3, 3, 4))
    assert [c.token_ids for c in first] == [c.token_ids for c in again]
    assert [c.token_ids for c in first] != [c.token_ids for c in other]


def test_many_seeded_groups_at_once(running):
    async def many():
        prompts = [[1, *range(10 + i, 60 + i)] for i in range(40)]
        return await asyncio.gather(*(running.engine.generate(prompt, sampling()) for prompt in prompts))

    assert [len(group) for group in running(many())] == [4] * 40


def test_it_tells_what_it_decodes_and_what_waits(running):
    async def looks():
        group = sampling(samples=24, max_tokens=100, stop_token_id=298)
        generation = asyncio.create_task(running.engine.generate(PROMPT, group))
        told = []
        while not generation.done():
            await asyncio.sleep(0.01)
            told.append(running.engine.load())
        return told

    told = running(looks())
    assert max(load.running for load in told) == 16, "max_sequences"
    assert 1 <= max(load.waiting for load in told) <= 8
    assert 0 < max(load.cache for load in told) <= 1


def test_new_weights_are_what_is_sampled_with(running, tiny_model, tmp_path):
    weights = {
        name: tensor + 0.05 * torch.randn_like(tensor)
        for name, tensor in load_file(tiny_model / "model.safetensors").items()
    }
    save_file(weights, tmp_path / "new.safetensors")
    running(running.engine.update_weights(str(tmp_path / "new.safetensors"), 5))
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.load_state_dict(weights)
    for completion in running(running.engine.generate(PROMPT, sampling())):
        assert set(completion.policy_versions) == {5}
        found = logprobs_of(model, completion)
        torch.testing.assert_close(torch.tensor(completion.rollout_logprobs), found, atol=1e-3, rtol=0)


def test_an_update_in_the_middle_of_a_response_shows_in_its_versions(running, tiny_model):
    async def both():
        generation = asyncio.create_task(running.engine.generate(PROMPT, sampling(max_tokens=110, stop_token_id=298)))
        await asyncio.sleep(0.15)
        await running.engine.update_weights(str(tiny_model / "model.safetensors"), 6)
        return await generation

    group = running(both())
    for completion in group:
        assert completion.policy_versions == sorted(completion.policy_versions)
    assert {version for completion in group for version in completion.policy_versions} <= {5, 6}
    assert any(completion.policy_versions[-1] == 6 for completion in group)


def test_tied_embeddings_are_refused_by_name(tiny_model, tmp_path):
    folder = tmp_path / "tied"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    with pytest.raises(TiedEmbeddings, match=r"tie_word_embeddings is true"):
        refuse_tied_embeddings(str(folder))
    refuse_tied_embeddings(str(tiny_model))
