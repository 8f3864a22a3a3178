"""What the rollout engine refuses before it starts."""

import json

import pytest

from rollout.engine import TiedEmbeddings, refuse_tied_embeddings

TIED = [{"model_type": "qwen2", "tie_word_embeddings": True}, {"model_type": "gpt2"}, {"model_type": "gemma2"}]
UNTIED = [
    {"model_type": "qwen2", "tie_word_embeddings": False},
    {"model_type": "qwen2"},
    {"model_type": "gpt2", "tie_word_embeddings": False},
]


def write_config(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("config", TIED)
def test_tied_embeddings_are_refused_by_name_also_where_the_architecture_ties_them_unasked(tmp_path, config):
    folder = write_config(tmp_path, config)
    with pytest.raises(TiedEmbeddings) as refusal:
        refuse_tied_embeddings(folder)
    assert str(refusal.value).startswith(f"{folder}/config.json: tie_word_embeddings is true")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("config", UNTIED)
def test_untied_embeddings_pass(tmp_path, config):
    refuse_tied_embeddings(write_config(tmp_path, config))
