"""Benchmarks that nothing may be trained on: files as users have them."""

import gzip
import json

import pytest

from cluster.config import BadInput, RunSettings
from cluster.data.screening import benchmark_texts
from cluster.data.sources import open_sources

SPOILT = {
    "cut.jsonl.gz": gzip.compress(b'{"code": "a"}\n' * 99)[:-9],
    "deep.jsonl": b'{"code": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "list.jsonl": b'{"code": "a"}\n[1]\n',
    "half.jsonl": b'{"code": "a"}\n{"code": ',
    "latin.jsonl": b'{"code": "\xe9"}\n',
    "other.jsonl": b'{"id": 1}\n',
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_benchmark_is_told_in_one_line_before_anything_starts(tmp_path, name):
    (tmp_path / name).write_bytes(SPOILT[name])
    small = {"problems": 1, "chains": True}
    splits = dict.fromkeys(("sft", "validation", "rl", "heldout"), small)
    filters = {"benchmarks": [str(tmp_path / name)]}
    settings = RunSettings.model_validate({"name": "run", "data": {**splits, "filters": filters}})
    with pytest.raises(BadInput, match=rf"^data.filters.benchmarks: .*{name}") as error:
        open_sources(settings.data, 1)
    assert "\n" not in str(error.value)


def test_blank_lines_are_no_rows(tmp_path):
    (tmp_path / "bench.jsonl").write_text('\n{"code": "a"}\n\n' + json.dumps({"text": "b", "test": "c"}))
    assert list(benchmark_texts(tmp_path / "bench.jsonl")) == ["a", "b", "c"]
