"""The folder through which weights travel: the newest is found, the one before stays, nothing is ever half there."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rl import published_weights
from rl.published_weights import newest, publish


def weights(value):
    return {"w": torch.full((2, 3), float(value)), "b": torch.arange(6.0).reshape(2, 3).T}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_newest_before_the_first(tmp_path):
    assert newest(tmp_path / "not there") is None


def test_the_newest_is_found_with_its_weights(tmp_path):
    path = publish(tmp_path / "run", 3, weights(3))
    assert newest(tmp_path / "run") == (str(path), 3)
    found = load_file(path)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in weights(3).items()
    }


def test_the_version_before_stays_and_older_ones_go(tmp_path):
    for version in range(4):
        publish(tmp_path, version, weights(version))
    assert files(tmp_path) == ["newest.json", "policy-00000002.safetensors", "policy-00000003.safetensors"]


def test_a_run_that_goes_back_to_a_checkpoint_leaves_the_abandoned_versions_behind(tmp_path):
    for version in (4, 5, 6, 3, 4):
        path = publish(tmp_path, version, weights(version))
    assert newest(tmp_path) == (str(path), 4)
    assert files(tmp_path) == ["newest.json", "policy-00000003.safetensors", "policy-00000004.safetensors"]


def test_a_version_published_again_takes_the_place_of_the_first(tmp_path):
    publish(tmp_path, 1, weights(1))
    path = publish(tmp_path, 1, weights(7))
    assert load_file(path)["w"][0, 0] == 7
    assert files(tmp_path) == ["newest.json", "policy-00000001.safetensors"]


def test_a_writer_that_dies_half_way_leaves_the_version_before_in_place(tmp_path, monkeypatch):
    first = publish(tmp_path, 1, weights(1))

    def dies(tensors, path):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", dies)
    with pytest.raises(OSError, match="no space"):
        publish(tmp_path, 2, weights(2))
    assert newest(tmp_path) == (str(first), 1)
    assert load_file(first)["w"][0, 0] == 1


def test_a_reader_sees_only_files_that_are_there(tmp_path, monkeypatch):
    seen = []

    def replaced(source, target):
        real(source, target)
        found = newest(tmp_path)
        seen.append(found and (found[1], load_file(found[0])["w"][0, 0].item()))

    real = published_weights.os.replace
    monkeypatch.setattr(published_weights.os, "replace", replaced)
    for version in (1, 2, 3):
        publish(tmp_path, version, weights(version))
    assert seen == [None, (1, 1.0), (1, 1.0), (2, 2.0), (2, 2.0), (3, 3.0)]
    assert json.loads((tmp_path / "newest.json").read_text())["version"] == 3
