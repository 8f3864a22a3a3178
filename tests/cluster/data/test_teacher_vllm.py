"""The teacher's client against a server that others wrote: vLLM's own, on the CPU, with a tiny model."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from itertools import chain, repeat

import pytest
from teacher_server import Script, asked, right_chain, serving, status

from cluster.config import BadInput, RunSettings, TaughtSettings, TeacherSettings
from cluster.data.factory import build
from cluster.data.sources import open_sources
from cluster.data.splits import SPLITS, read_split
from cluster.data.teacher import Teacher, TeacherDown, open_teacher
from cluster.data.teacher.answers import Question
from cluster.data.teacher.programs import Taught
from cluster.runs import RunFolder, read_jsonl
from rl.synthesis.acceptance import objections

START_S = 400
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_API_KEY": "sesame",
}
TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"


@pytest.fixture(scope="module")
def endpoint(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    (folder / "template.jinja").write_text(TEMPLATE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny_model)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "1024", "--max-num-seqs", "16", "--max-num-batched-tokens", "1024", "--enforce-eager"]
    # A prefill cut in two crashes vLLM's CPU sampler of seeded requests.
    command += ["--no-enable-chunked-prefill", "--chat-template", str(folder / "template.jinja")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            wait_for(server, f"http://127.0.0.1:{port}/health", folder / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait(20)


def wait_for(server, url, log):
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"no server after {START_S} s: {log.read_text()[-3000:]}")


@pytest.mark.slow
def test_vllm_is_a_teacher(endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "sesame")
    settings = TeacherSettings(
        base_url=endpoint, model="tiny", key_variable="TEACHER_KEY", in_flight=8, deadline_s=120, max_tokens=400
    )
    teacher = Teacher(settings, tmp_path / "teacher.jsonl")
    questions = [Question((("user", "def f(a):"),), 1.0, 1.0, 400, seed) for seed in range(24)]
    cut_off = "teacher: answer cut off"
    answers = asked(teacher, questions)
    assert len([text for text in answers if text != cut_off and not text.startswith("teacher: ")]) >= 3
    assert asked(teacher, questions[:1]) == answers[:1]
    assert asked(teacher, [Question((("user", "def f(a):"),), 1.0, 1.0, 3, 1)]) == [cut_off]

    long = asked(teacher, [Question((("user", "x" * 5000),), 1.0, 1.0, 400, 1)])
    assert long[0].startswith("teacher: status 400 | ")

    faults = [candidate.fault for candidate in Taught("rl", 1, TaughtSettings(), teacher).candidates(0, 4)]
    assert all(fault.startswith("teacher: ") for fault in faults)

    unknown = Teacher(settings.model_copy(update={"model": "huge"}), tmp_path / "unknown.jsonl")
    with pytest.raises(TeacherDown, match=r"knows no such model or path \(status 404\)"):
        asked(unknown, questions[:1])
    monkeypatch.setenv("TEACHER_KEY", "wrong")
    with pytest.raises(TeacherDown, match=r"refuses the key of data.teacher.key_variable \(status 401\)"):
        asked(Teacher(settings, tmp_path / "refused.jsonl"), questions[:1])
    assert asked(Teacher(settings, tmp_path / "teacher.jsonl"), questions[:1]) == answers[:1]


def built(folder, url):
    """A build whose SFT chains a teacher writes, one question at a time."""
    rows = [{"code": f"def f(a):\n    b = a + {n}\n    return b * a\n", "call": f"f({n})"} for n in range(8)]
    (folder / "programs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    teacher = {"base_url": url, "model": "tiny", "key_variable": "TEACHER_KEY", "in_flight": 1, "tries": 2}
    others = {"problems": 3, "chains": True, "grammar": {"statements": [1, 2]}}
    sft = {"problems": 8, "chains": "teacher", "file": str(folder / "programs.jsonl")}
    asks = {"teacher": {**teacher, "max_tokens": 60, "chain_samples": 2}}
    config = RunSettings.model_validate({"name": "run", "data": {**dict.fromkeys(SPLITS, others), "sft": sft, **asks}})
    run = RunFolder(folder / "run")
    opened = open_teacher(config.data, run.path / "data")
    build(config, open_sources(config.data, config.seed, opened), run, lambda done: None, opened)
    return run


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_build_goes_on_with_another_endpoint_and_tells_what_it_did_not_get(endpoint, tmp_path, monkeypatch):
    """The first endpoint gives two right chains and then refuses the key; vLLM's tiny model gives none."""
    monkeypatch.setenv("TEACHER_KEY", "sesame")
    with serving(Script(right_chain, chain([None, None], repeat(status(401), 9)))) as script:
        with pytest.raises(BadInput, match=r"\(status 401\); sft has 0 of 8 problems; everything is kept"):
            built(tmp_path, script.url)
        assert len(script.requests) == 3
    run = built(tmp_path, endpoint)
    kept = read_split(run.split("sft"))
    assert [problem.id for problem in kept] == ["programs-1", "programs-2"]
    assert all(objections(problem, problem.chain) == [] for problem in kept)
    funnel = json.loads((run.path / "data" / "funnel.json").read_text())
    assert funnel["sft"].pop("kept") == 2
    assert sum(funnel["sft"].values()) == 6
    assert set(funnel["sft"]) <= {"teacher: no right chain", "teacher: answer cut off", "teacher: an empty answer"}
    assert all(funnel[name] == {"kept": 3} for name in SPLITS if name != "sft")
    asides = read_jsonl(run.path / "data" / "rejected.jsonl")
    assert sorted(row["id"] for row in asides) == [f"programs-{number}" for number in range(3, 9)]
    assert len(read_jsonl(run.path / "data" / "teacher.jsonl")) == 2 + 6 * 2, "every answer of vLLM's is filed"
    assert "tiny was asked for sft" in (run.path / "data" / "README.md").read_text()
    assert not (run.path / "data" / "parts").exists()
