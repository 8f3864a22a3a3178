"""The teacher's client against a server that others wrote: vLLM's own, on the CPU, with a tiny model."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from teacher_server import asked

from cluster.config import TaughtSettings, TeacherSettings
from cluster.data.teacher import Teacher, TeacherDown
from cluster.data.teacher.answers import Question
from cluster.data.teacher.programs import Taught

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
    command += ["--max-model-len", "512", "--max-num-seqs", "16", "--max-num-batched-tokens", "512", "--enforce-eager"]
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
