"""The sandbox over HTTP, asked by clients that are not ours, over real sockets."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import requests
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from reward.connections import HEAD_BYTES, ImpatientConnection
from reward.http import ServiceLimits, application
from reward.programs import Execution, Limits
from reward.run_code import CommandRunResult, RunCodeRequest, RunCodeResponse, response
from reward.sandbox import Program
from reward.slots import Slots
from rl.verdicts import Verdict

ROOT = Path(__file__).parents[2]
RUN = Limits(wall_s=3.0, cpu_s=3.0, memory_mib=64, output_bytes=20_000)
TOKEN = "CODEREASON_SANDBOX_TOKEN"


@contextmanager
def serving(limits, slots=1, token=None, patient_s=30):
    """The real server on a free port: its address, and its slots. At its end it lets requests finish for a while."""
    with Slots(slots, limits.run) as started, socket.create_server(("127.0.0.1", 0)) as listener:
        served = application(started, limits, token)
        server = uvicorn.Server(
            uvicorn.Config(served, http=ImpatientConnection, log_level="error", timeout_graceful_shutdown=patient_s)
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/run_code", started
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()
            assert started.free == slots


@pytest.fixture(scope="module")
def service():
    with serving(ServiceLimits(RUN, body_bytes=100_000), slots=2) as (url, slots):
        yield url, slots


@pytest.fixture(scope="module")
def url(service):
    return service[0]


def ask(url, code, **fields):
    return requests.post(url, json={"code": code, "language": "python", **fields}, timeout=60)


def answered(url, code, **fields):
    found = ask(url, code, **fields)
    assert found.status_code == 200, found.text
    return found.json()


def connected(url):
    """A connection on which a test says things bit by bit."""
    return http.client.HTTPConnection(url.removeprefix("http://").removesuffix("/run_code"), timeout=30)


def detail(found, status):
    """The one line with which a request was refused."""
    assert found.status_code == status, found.text
    line = found.json().pop("detail")
    assert line.count("\n") == 0
    return line


def test_a_response_has_the_shape_of_sandboxfusion(url):
    found = answered(url, "print('hello')")
    assert 0 < found["run_result"].pop("execution_time") < 3
    assert found == {
        "status": "Success",
        "message": "",
        "compile_result": None,
        "run_result": {"status": "Finished", "return_code": 0, "stdout": "hello\n", "stderr": ""},
        "executor_pod_name": None,
        "files": {},
    }
    assert set(get_args(CommandRunResult.model_fields["status"].annotation)) == {"Finished", "Error", "TimeLimitExceeded"}
    assert set(get_args(RunCodeResponse.model_fields["status"].annotation)) == {"Success", "Failed", "SandboxError"}


def test_what_a_program_writes_to_stderr_comes_before_how_it_ended(url):
    code = "import sys, unittest\nprint('a', file=sys.stderr)\n"
    code += "class T(unittest.TestCase):\n    def test(self): self.fail('no')\n"
    run = answered(url, code + "unittest.main(argv=['t'])")["run_result"]
    assert (run["return_code"], run["stdout"]) == (1, "")
    assert run["stderr"].startswith("a\nF\n=====")
    assert "FAILED (failures=1)" in run["stderr"]
    assert answered(url, "import sys; sys.stderr.write('x'); 1 / 0")["run_result"]["stderr"].endswith(
        "xZeroDivisionError: division by zero\n"
    )


ENDS_LIKE_THE_INTERPRETER = [
    "print('x', end='')",
    "print('before'); 1 / 0; print('after')",
    "raise ValueError('a\\nb')",
    "class Mine(Exception): pass\nraise Mine",
    "def f(:",
    "assert 1 == 2, 'no'",
    "input()",
    "import sys; sys.exit()",
    "import sys; sys.exit(0)",
    "import sys; sys.exit(3)",
    "import sys; sys.exit(-1)",
    "import sys; sys.exit(256)",
    "import sys; sys.exit(True)",
    "import sys; sys.exit(False)",
    "import sys; sys.exit('in words')",
    "import sys; sys.exit((1, 2))",
    "exit()",
    "exit(4)",
    "raise SystemExit",
]


@pytest.mark.parametrize("code", ENDS_LIKE_THE_INTERPRETER)
def test_return_code_stdout_and_last_line_are_the_interpreters(url, code):
    own = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    found = answered(url, code)
    run = found["run_result"]
    assert found["status"] == ("Success" if own.returncode == 0 else "Failed")
    assert (run["status"], run["return_code"], run["stdout"]) == ("Finished", own.returncode, own.stdout)
    wanted = own.stderr.splitlines()[-1:]
    if "def f(:" in code:  # The sandbox names the place of a syntax error in the same line.
        assert run["stderr"].startswith(wanted[0])
    else:
        assert run["stderr"].splitlines()[-1:] == wanted


STOPPED = {
    "while True: pass": ("TimeLimitExceeded", None, "TimeLimitExceeded: 0.4 s\n"),
    "import time; time.sleep(60)": ("TimeLimitExceeded", None, "TimeLimitExceeded: 0.4 s\n"),
    "x = bytearray(1 << 30)": ("Finished", 1, "MemoryError: the limit is 64 MiB\n"),
    "while True: print('x' * 100)": ("Finished", 1, "OutputLimitExceeded: ended after 20000 bytes of output\n"),
    "import ctypes; ctypes.string_at(0)": ("Finished", 1, "Crashed: the process was ended by a signal\n"),
    "import os; os._exit(0)": ("Finished", 1, "NoResult: the process ended before the program did\n"),
}


@pytest.mark.parametrize("code", STOPPED)
def test_what_the_sandbox_stops_has_failed(url, code):
    began = time.monotonic()
    found = answered(url, code, run_timeout=0.4)
    run = found["run_result"]
    assert (found["status"], (run["status"], run["return_code"], run["stderr"])) == ("Failed", STOPPED[code])
    assert len(run["stdout"]) <= RUN.output_bytes
    assert time.monotonic() - began < 20


def test_a_server_s_limits_are_never_exceeded_and_named(url):
    found = answered(url, "while True: pass", run_timeout=3600)["run_result"]
    assert found["stderr"] == "TimeLimitExceeded: 3 s, the most this server allows\n"
    assert 3 <= found["execution_time"] < 10
    found = answered(url, "x = bytearray(100 << 20)", memory_limit_MB=1024)["run_result"]
    assert found["stderr"] == "MemoryError: the limit is 64 MiB, the most this server allows\n"
    found = answered(url, "x = bytearray(40 << 20)", memory_limit_MB=20)["run_result"]
    assert found["stderr"] == "MemoryError: the limit is 20 MiB\n"
    assert answered(url, "x = bytearray(40 << 20)", memory_limit_MB=-1)["status"] == "Success"


def as_verl(url, code, stdin, expected, timeout=3):
    """One test case as verl's `sandbox_fusion/utils.py` sends and judges it: True, False, or minus how it failed."""
    payload = {
        "compile_timeout": timeout,
        "run_timeout": timeout,
        "code": code,
        "stdin": stdin,
        "memory_limit_MB": 1024,
        "language": "python",
        "files": {},
        "fetch_files": [],
    }
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    found = requests.post(url, headers=headers, data=json.dumps(payload), timeout=timeout + timeout + 10)
    found.raise_for_status()
    answer = found.json()
    if answer.get("status") == "SandboxError":
        return -1
    run = answer.get("run_result")
    if answer.get("status") == "Failed":
        assert not answer.get("compile_result")
        failed = run["status"] in ("TimeLimitExceeded", "Error") or run["return_code"] != 0
        return (-3 if run["status"] == "TimeLimitExceeded" else -2) if failed else -1
    return run["status"] == "Finished" and run["stdout"].rstrip("\n") == expected.rstrip("\n")


CALLED = """
import traceback
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import sys, json

class Solution:
    def add(self, a, b):
        return [a, b]

if __name__ == "__main__":
    arguments = [json.loads(line) for line in sys.stdin.read().split("\\n")]
    print(json.dumps(getattr(Solution(), "add")(*arguments)))
"""


def test_verl_s_client_is_served_unchanged(url):
    adds = "print(int(input()) + int(input()))"
    assert as_verl(url, adds, "1\n2", "3") is True
    assert as_verl(url, adds, "1\n2", "4") is False
    assert as_verl(url, adds, "1\n", "4") == -2
    assert as_verl(url, "print(1", None, "1") == -2
    assert as_verl(url, "while True: pass", None, "1", timeout=1) == -3
    assert as_verl(url, CALLED, '1\n"\\u00e9"', '[1, "\\u00e9"]') is True


def test_the_standard_library_s_client_is_served(url):
    body = json.dumps({"code": "print(input()[::-1])", "language": "python", "stdin": "añb"}).encode()
    with urllib.request.urlopen(url, body, timeout=30) as found:
        assert json.load(found)["run_result"]["stdout"] == "bña\n"
    ping = url.replace("/run_code", "/v1/ping")
    assert requests.get(ping, timeout=30).json() == "pong"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_arrives_and_comes_back(url, text):
    echo = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    assert answered(url, echo, stdin=text)["run_result"]["stdout"] == text
    assert answered(url, f"print(ascii({text!r}))")["run_result"]["stdout"] == ascii(text) + "\n"


def test_files_lie_beside_the_program_and_can_be_fetched(url):
    def encoded(content):
        return base64.b64encode(content).decode()

    files = {"pack/helper.py": encoded(b"x = 41"), "./data.bin": encoded(b"\x00\xff"), "left_out": None}
    code = "from pack.helper import x\nimport os\nprint(x + 1, open('data.bin', 'rb').read(), sorted(os.listdir()))"
    found = answered(url, code, files=files, fetch_files=["data.bin", "pack/helper.py", "absent", "left_out"])
    assert found["run_result"]["stdout"] == "42 b'\\x00\\xff' ['data.bin', 'pack']\n"
    assert found["files"] == {"data.bin": encoded(b"\x00\xff"), "pack/helper.py": encoded(b"x = 41")}
    assert answered(url, "print(open('data.bin').read())")["run_result"]["stderr"].startswith("FileNotFoundError: ")
    written = answered(url, "open('out.txt', 'w')", files=files, fetch_files=["out.txt"])
    assert (written["status"], written["files"]) == ("Failed", {})


UNITTEST = """
import unittest

def double(x):
    return x {operator} 2

class TestDouble(unittest.TestCase):
    def test_three(self):
        self.assertEqual(double(3), 6)

if __name__ == "__main__":
    unittest.main()
"""


def test_unittest_programs_succeed_or_fail(url):
    assert answered(url, UNITTEST.format(operator="*"))["status"] == "Success"
    failed = answered(url, UNITTEST.format(operator="+"))
    assert (failed["status"], failed["run_result"]["return_code"]) == ("Failed", 1)


def test_an_exception_with_half_a_character_still_is_json(url):
    run = answered(url, "raise ValueError('\\ud800')")["run_result"]
    assert run["stderr"] == "ValueError: \\ud800\n"


BAD = {
    b"": "body: Invalid JSON: ",
    b"\xff": "body: Invalid JSON: ",
    b"[" * 10_000: "body: Invalid JSON: ",
    b'{"code": "\\ud800", "language": "python"}': "body: Invalid JSON: ",
    b"[]": "body: Input should be an object",
    b'{"language": "python"}': "code: Field required",
    b'{"code": 1, "language": "python"}': "code: Input should be a valid string",
    b'{"code": "", "language": "python", "run_timeout": 0}': "run_timeout: Input should be greater than 0",
    b'{"code": "", "language": "python", "run_timeout": NaN}': "run_timeout: Input should be a finite number",
    b'{"code": "", "language": "python", "memory_limit_MB": "much"}': "memory_limit_MB: Input should be a valid integer",
    b'{"code": "", "language": "python", "files": {"a\\nb": 1}}': "files.a b: Input should be a valid string",
    b'{"code": "", "language": "python", "files": {"a": "?"}}': "files: 'a' is not base64: ",
    '{"code": "", "language": "python", "files": {"a": "é"}}'.encode(): "files: 'a' is not base64: ",
    b'{"code": "", "language": "python", "files": {"/a": ""}}': "files: '/a' is no path below",
    b'{"code": "", "language": "python", "files": {"b/../../a": ""}}': "files: 'b/../../a' is no path below",
    b'{"code": "", "language": "python", "files": {"": ""}}': "files: '.' is no path below",
    b'{"code": "", "language": "python", "files": {"a": "", "a/b": ""}}': "files: 'a' is a file and a folder",
    b'{"code": "", "language": "python", "files": {"%s": ""}}' % (b"x" * 256): "files: 'xxx",
    json.dumps(
        {"code": "", "language": "python", "files": {f"{i}/a": "" for i in range(501)}}
    ).encode(): "files: 1002 files",
}


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_a_bad_body_is_told_in_one_line(service, body):
    url, slots = service
    assert detail(requests.post(url, data=body, timeout=30), 422).startswith(BAD[body])
    assert slots.restarts == 0


def test_as_many_and_as_large_files_as_can_be_sent_fit():
    files = {f"{i}/{'é' * 127}": "MTI=" for i in range(499)} | {"large": base64.b64encode(bytes(8_000_000)).decode()}
    code = "import os; print(len(os.listdir()), os.path.getsize('large'))"
    with serving(ServiceLimits(RUN)) as (url, slots):
        assert answered(url, code, files=files)["run_result"]["stdout"] == "500 8000000\n"
        files["larger"] = base64.b64encode(bytes(400_000)).decode()
        assert detail(ask(url, code, files=files), 422).startswith("code: the program takes 8")
        assert slots.restarts == 0


def test_other_languages_and_places_are_refused(url):
    for language in ("cpp", "pytest", "Python"):
        found = requests.post(url, json={"code": "", "language": language}, timeout=30)
        assert detail(found, 400) == f"language: '{language}' is not run here, python is"
    assert requests.get(url, timeout=30).status_code == 405
    assert requests.post(url + "s", json={}, timeout=30).status_code == 404


def refused_while_sending(url, body):
    """The answer to a client that hears nothing before it has sent everything, and takes a reset for an error."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, body, timeout=30)
    with refused.value as found:
        return found.status, json.load(found)


@pytest.mark.parametrize("size", [100_001, 20_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_too_long_a_body_is_refused(url, size, chunked):
    body = b" " * size
    found = requests.post(url, data=iter([body[: size // 2], body[size // 2 :]]) if chunked else body, timeout=30)
    assert detail(found, 413) == "body: longer than 100000 bytes"
    assert refused_while_sending(url, body) == (413, {"detail": "body: longer than 100000 bytes"})
    code = "#" * 99_000
    assert answered(url, code)["status"] == "Success"


def test_a_body_that_does_not_arrive_is_given_up(url, monkeypatch):
    monkeypatch.setattr("reward.http._BODY_S", 0.5)
    connection = connected(url)
    connection.putrequest("POST", "/run_code")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"{")
    found = connection.getresponse()
    assert (found.status, json.load(found)) == (408, {"detail": "body: did not arrive within 0.5 s"})
    connection.close()


SLOW = {
    "nothing": b"",
    "half a head": b"POST /run_code HTTP/1.1\r\n",
    "half a second head": b"GET /v1/ping HTTP/1.1\r\n\r\nGET /v1",
}


@pytest.mark.parametrize("sent", SLOW)
def test_a_head_that_does_not_arrive_is_given_up(url, monkeypatch, sent):
    monkeypatch.setattr("reward.connections.HEAD_S", 0.5)
    host, port = url.removeprefix("http://").removesuffix("/run_code").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(SLOW[sent])
        answer = b""
        while data := connection.recv(1000):
            answer += data
    assert answer.startswith(b"HTTP/1.1 200") == (sent == "half a second head")


LINE = b"X: " + b"a" * 995 + b"\r\n"
ENDLESS = {
    "a header": (b"GET /v1/ping HTTP/1.1\r\nX: ", b"a" * 1000),
    "headers": (b"GET /v1/ping HTTP/1.1\r\n", LINE),
    "a URL": (b"GET /", b"a" * 1000),
    "a second head": (b"GET /v1/ping HTTP/1.1\r\n\r\nGET /v1/ping HTTP/1.1\r\n", LINE),
    "what follows a body": (b"POST /run_code HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", LINE),
}


@pytest.mark.parametrize("sent", ENDLESS)
def test_a_head_without_end_is_not_listened_to(url, sent):
    host, port = url.removeprefix("http://").removesuffix("/run_code").split(":")
    beginning, more = ENDLESS[sent]
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(beginning)
        with pytest.raises(ConnectionError):
            connection.sendall(more * 64_000)
    assert requests.get(url.replace("/run_code", "/v1/ping"), timeout=30).json() == "pong"


def test_a_head_that_is_too_long_is_told(url):
    host, port = url.removeprefix("http://").removesuffix("/run_code").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET /v1/ping HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES)
        assert connection.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_does_not_take_its_answer_is_given_up(monkeypatch):
    monkeypatch.setattr("reward.connections.HEAD_S", 0.5)
    limits = ServiceLimits(replace(RUN, output_bytes=16 << 20))
    with serving(limits) as (url, _), socket.socket() as connection:
        host, port = url.removeprefix("http://").removesuffix("/run_code").split(":")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        body = json.dumps({"code": "print('x' * (12 << 20))", "language": "python"}).encode()
        connection.sendall(b"POST /run_code HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        connection.settimeout(30)
        connection.recv(1)
        time.sleep(2)
        read = 0
        with suppress(ConnectionError):
            while data := connection.recv(1 << 20):
                read += len(data)
        assert read < 12 << 20


def test_a_run_may_take_longer_than_a_head(url, monkeypatch):
    monkeypatch.setattr("reward.connections.HEAD_S", 0.2)
    assert answered(url, "import time; time.sleep(1); print(1)")["run_result"]["stdout"] == "1\n"


def overlap(found):
    """How many of some runs were under way at one time; each printed when it began and ended."""
    spans = [tuple(map(float, one.json()["run_result"]["stdout"].split())) for one in found]
    return max(sum(begin <= other < end for begin, end in spans) for other, _ in spans)


NAP = "import time; t = time.monotonic(); time.sleep(0.5); print(t, time.monotonic())"


def test_programs_run_side_by_side_and_no_more_than_there_are_slots(url):
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: ask(url, NAP), range(6)))
    assert [one.status_code for one in found] == [200] * 6
    assert overlap(found) == 2


def test_the_queue_is_bounded_in_length_and_in_time():
    with serving(ServiceLimits(RUN, waiting=1)) as (url, _), ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: ask(url, NAP), range(3)))
        assert sorted(one.status_code for one in found) == [200, 200, 429]
        (refused,) = [one for one in found if one.status_code == 429]
        assert (detail(refused, 429), refused.headers["Retry-After"]) == ("1 requests are waiting already", "1")
        assert answered(url, "")["status"] == "Success"
    with serving(ServiceLimits(RUN, patience_s=0.3)) as (url, _), ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, url, "import time; time.sleep(2)")
        time.sleep(0.5)
        assert detail(ask(url, ""), 429) == "no sandbox became free within 0.3 s"
        assert first.result().status_code == 200
        assert answered(url, "")["status"] == "Success"


@pytest.mark.parametrize("chunked", [False, True])
def test_the_queue_is_bounded_in_bytes(chunked):
    limits = ServiceLimits(Limits(wall_s=20.0, cpu_s=20.0), body_bytes=60_000, held_bytes=100_000)
    with serving(limits, slots=2) as (url, _), ThreadPoolExecutor(1) as pool:
        long = json.dumps({"code": f"import time; time.sleep(2)#{'x' * 59_000}", "language": "python"}).encode()
        first = pool.submit(requests.post, url, data=iter([long]) if chunked else long, timeout=60)
        time.sleep(0.7)
        found = requests.post(url, data=iter([long]) if chunked else long, timeout=60)
        held = 60_000 if chunked else len(long)
        assert detail(found, 429) == f"requests of {held} bytes are waiting or running already"
        assert answered(url, "#" * 30_000)["status"] == "Success"
        assert first.result().status_code == 200
        assert requests.post(url, data=long, timeout=60).status_code == 200


def test_a_program_whose_client_hung_up_in_the_queue_is_not_run():
    with serving(ServiceLimits(Limits(wall_s=30.0, cpu_s=30.0))) as (url, _), ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, url, "import time; time.sleep(1.5)")
        time.sleep(0.5)
        long = {"code": "import time; time.sleep(25)", "language": "python", "run_timeout": 30}
        with pytest.raises(requests.Timeout):
            requests.post(url, json=long, timeout=0.3)
        began = time.monotonic()
        assert answered(url, "", run_timeout=30)["status"] == "Success"
        assert time.monotonic() - began < 15
        assert first.result().status_code == 200


def test_the_end_of_the_server_waits_for_what_runs():
    with ThreadPoolExecutor(1) as pool:
        with serving(ServiceLimits(RUN), patient_s=1) as (url, slots):
            run = pool.submit(ask, url, "import time; time.sleep(2.5)")
            while slots.free:
                time.sleep(0.01)
        assert run.result().status_code == 500


def test_a_fault_of_the_machinery_is_a_sandbox_error():
    with serving(ServiceLimits(RUN)) as (url, slots):
        over = threading.Event()

        def kill_every_zygote():
            while not over.wait(0.05):
                zygote = slots._sandboxes[0]._zygote
                if zygote is not None:
                    zygote._process.kill()

        killer = threading.Thread(target=kill_every_zygote)
        killer.start()
        found = ask(url, "import time\ntime.sleep(1)")
        over.set()
        killer.join()
        answer = found.json()
        assert (found.status_code, answer["status"]) == (200, "SandboxError")
        assert "zygote" in answer["message"]
        assert answer["run_result"] == {
            "status": "Error",
            "execution_time": None,
            "return_code": None,
            "stdout": None,
            "stderr": answer["message"],
        }
        assert answered(url, "print(1)")["status"] == "Success"


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_program_that_ran_to_its_end_succeeds_and_only_a_fault_is_none_of_its_own(verdict):
    request = RunCodeRequest(code="", language="python")
    told = response(request, Program(""), RUN, Execution(verdict, exception="E: e"))
    assert told.status == {Verdict.OK: "Success", Verdict.SANDBOX_ERROR: "SandboxError"}.get(verdict, "Failed")


def test_a_token_is_asked_for():
    job = {"code": "print(1)", "language": "python"}
    with serving(ServiceLimits(RUN), token="sécret") as (url, _):
        secret = b"s\xc3\xa9cret"
        basic = base64.b64encode(b"anyone:" + secret).decode()
        for headers in (
            {"Authorization": b"Bearer " + secret},
            {"Authorization": f"Basic {basic}"},
            {"X-Sandbox-Token": secret},
            {"X-Sandbox-Token": secret, "Origin": "http://example.org"},
        ):
            assert requests.post(url, json=job, headers=headers, timeout=30).status_code == 200
        for headers in (
            {},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer wrong"},
            {"Authorization": b"Digest " + secret},
            {"Authorization": "Basic ?"},
            {"Authorization": b"Basic " + secret},
            {"Authorization": "Basic " + base64.b64encode(secret).decode()},
            {"X-Sandbox-Token": secret[:-1]},
        ):
            found = requests.post(url, json=job, headers=headers, timeout=30)
            assert detail(found, 401) == "the token is missing or wrong"
            assert found.headers["WWW-Authenticate"] == "Bearer"
        assert refused_while_sending(url, b" " * 20_000_000) == (401, {"detail": "the token is missing or wrong"})


def test_without_a_token_web_pages_are_refused(url):
    found = requests.post(url, json={"code": "", "language": "python"}, headers={"Origin": "null"}, timeout=30)
    assert detail(found, 403) == "web pages are not served without a token"


def children(pid):
    """The zygotes of a server, and what they forked."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(map(int, line.split()) for line in listing.splitlines())
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


@contextmanager
def command(*arguments, token=None):
    """`codereason serve-sandbox` as a process of its own: the process, and what it says of itself."""
    environment = {name: value for name, value in os.environ.items() if name != TOKEN} | ({TOKEN: token} if token else {})
    line = [sys.executable, "-m", "cluster", "serve-sandbox", "--port", "0", "--json", *arguments]
    process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_health_tells_which_layers_hold(service):
    url, slots = service
    told = requests.get(url.replace("/run_code", "/v1/health"), timeout=60)
    assert told.status_code == 200
    assert told.json() == {
        "level": slots.level,
        "holds": slots.layers.holding,
        "missing": dict(slots.layers.missing),
        "refusals": list(slots.layers.refusals),
        "slots": 2,
        "restarts": slots.restarts,
    }


def test_metrics_tell_runs_refusals_queue_and_times():
    with serving(ServiceLimits(RUN), slots=1) as (url, slots):
        place = url.replace("/run_code", "/metrics")

        def told():
            found = requests.get(place, timeout=60)
            assert found.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            families = text_string_to_metric_families(found.text)
            return {(s.name.removeprefix("codereason_sandbox_"), *s.labels.values()): s.value
                    for family in families for s in family.samples}  # fmt: skip

        nothing = {("restarts_total",): 0, ("slots",): 1, ("in_flight",): 0, ("queued",): 0}
        assert told() == nothing
        for code in ("print(1)", "print(2)", "1 / 0"):
            answered(url, code)
        assert ask(url, "print(1)", language="c").status_code == 400
        os.kill(slots._sandboxes[0]._zygote.pid, signal.SIGKILL)
        answered(url, "print(3)")
        with ThreadPoolExecutor(3) as threads:
            asleep = [threads.submit(answered, url, "import time; time.sleep(1)") for _ in range(3)]
            deadline = time.monotonic() + 20
            while told()["queued",] < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            busy = told()
            for one in asleep:
                one.result()
        assert (busy["in_flight",], busy["queued",], busy["slots",]) == (1, 2, 1)
        found = told()
        assert 0 < found.pop(("p50_ms",)) < found.pop(("p99_ms",)) < 60_000
        assert found == nothing | {
            ("restarts_total",): 1,
            ("executions_total", "ok"): 6,
            ("executions_total", "exception"): 1,
            ("refusals_total", "400"): 1,
        }


def test_metrics_need_the_token_where_there_is_one():
    with serving(ServiceLimits(RUN), token="secret") as (url, _):
        place = url.replace("/run_code", "/metrics")
        assert requests.get(place, timeout=60).status_code == 401
        assert requests.get(place, headers={"Authorization": "Bearer secret"}, timeout=60).status_code == 200


def test_health_needs_the_token_where_there_is_one():
    with serving(ServiceLimits(RUN), token="secret") as (url, _):
        health = url.replace("/run_code", "/v1/health")
        assert requests.get(health, timeout=60).status_code == 401
        assert requests.get(health, headers={"X-Sandbox-Token": "secret"}, timeout=60).json()["slots"] == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_the_command_serves_and_leaves_no_process(number, status):
    with command("--slots", "2") as (process, told):
        assert (told["slots"], told["level"] in ("full", "userns", "nons")) == (2, True)
        assert answered(told["url"], "print(1)")["run_result"]["stdout"] == "1\n"
        started = children(process.pid)
        assert len(started) >= 2
        if number == signal.SIGKILL:  # In the middle of a run.
            connection = connected(told["url"])
            connection.request("POST", "/run_code", json.dumps({"code": "while True: pass", "language": "python"}))
            deadline = time.monotonic() + 20
            while len(started) < 3 and time.monotonic() < deadline:
                started = children(process.pid)
            assert len(started) == 3
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (status, "")
        deadline = time.monotonic() + 20
        while (left := [pid for pid in started if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []


def test_the_command_takes_limits_packages_and_a_token():
    options = ["--host", "0.0.0.0", "--packages", "numpy", "--timeout", "5", "--max-body", "1"]
    with command(*options, token="secret") as (_, told):
        url = told["url"].replace("0.0.0.0", "127.0.0.1")
        assert ask(url, "").status_code == 401
        url = url.replace("http://", "http://:secret@")
        assert answered(url, "import numpy; print(numpy.arange(3).sum())")["run_result"]["stdout"] == "3\n"
        assert answered(url, "while True: pass", run_timeout=99)["run_result"]["stderr"].startswith(
            "TimeLimitExceeded: 5 s,"
        )
        assert detail(ask(url, "#" * (1 << 20)), 413) == "body: longer than 1048576 bytes"


def test_what_cannot_be_served_is_refused_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refusals = {
            (
                "--host",
                "0.0.0.0",
            ): f"--host 0.0.0.0: {TOKEN} must be set where others than this machine can reach the sandbox",
            ("--host", "::"): f"--host ::: {TOKEN} must be set where others than this machine can reach the sandbox",
            ("--host", "no such host"): "--host no such host: ",
            ("--port", port): f"--host 127.0.0.1 --port {port}: Address already in use",
            ("--packages", "torch"): "--packages torch: none of those programs may use: numpy",
        }
        for arguments, wanted in refusals.items():
            line = [sys.executable, "-m", "cluster", "serve-sandbox", *arguments]
            environment = {name: value for name, value in os.environ.items() if name != TOKEN}
            found = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
            assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
            assert found.stderr.startswith(f"codereason: {wanted}")
