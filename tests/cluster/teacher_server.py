"""A small real HTTP server that speaks the chat protocol, with faults on order."""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

from cluster.data.teacher.answers import NoAnswer
from cluster.data.teacher.prompts import program_messages
from rl.seeds import derived_seed
from rl.synthesis.grid import inputs, mixed_cells, write_program


def completion(text, finish="stop", **message):
    return {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}],
    }


class Script:
    """What the server does with each request: the next fault on the list, or an answer by `reply(request)`."""

    def __init__(self, reply=lambda request: completion("yes"), faults=()):
        self.reply, self.faults = reply, list(faults)
        self.requests, self.times, self.authorizations = [], [], []
        self.at_once, self.most_at_once = 0, 0
        self.lock = threading.Lock()
        self.url = ""


def status(code, body='{"error": {"message": "scripted"}}', **headers):
    def fault(handler):
        handler.answer(code, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})

    return fault


def body(text):
    return lambda handler: handler.answer(200, text if isinstance(text, bytes) else text.encode())


def says(*arguments, **fields):
    return body(json.dumps(completion(*arguments, **fields)))


def silence(seconds):
    return lambda handler: time.sleep(seconds)


def trickle(seconds):
    """Sends a byte every now and then, so that no read ever times out."""

    def fault(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass

    return fault


def cut(handler):
    """Half of a good body, under a length that promises all of it."""
    whole = json.dumps(completion("yes")).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(whole)))
    handler.end_headers()
    handler.wfile.write(whole[: len(whole) // 2])
    handler.close_connection = True


def hang_up(handler):
    handler.close_connection = True


def grid_teacher(split, seed, programs=64):
    """A reply as a good teacher's: to each of a split's first questions a program of the cell that is asked for."""
    answers = {}
    for number in range(programs):
        cell = mixed_cells()[number]
        rng = Random(derived_seed(seed, f"{split}/{number}"))
        question = program_messages(cell, rng)[1][1]
        program = write_program(cell, rng)
        call = program.call(inputs(program.parameters, rng, 1)[0])
        answers[question] = completion(f"```python\n{program.source}\n\nprint({call})\n```")
    return lambda request: answers.get(request["messages"][-1]["content"], completion("I have never heard of it."))


def right_chain(request):
    """A right chain for the problem of a request, its program executed here as the tests' own oracle."""
    asked = request["messages"][-1]["content"]
    code, call = re.fullmatch(r"(.*)\n\nassert (.*) == \?\?\?\?", asked, re.DOTALL).groups()
    said = []
    scope = {"print": said.append}
    exec(code, scope)
    output = repr(eval(call, scope))
    steps = "".join(f"<reasoning>It runs.</reasoning><print>{state}</print>\n" for state in said)
    return completion(f"{steps}<reasoning>So.</reasoning><answer>{output}</answer>")


@contextmanager
def serving(script):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with script.lock:
                script.requests.append(request)
                script.times.append(time.monotonic())
                script.authorizations.append(self.headers["Authorization"])
                script.at_once += 1
                script.most_at_once = max(script.most_at_once, script.at_once)
                fault = script.faults.pop(0) if script.faults else None
            try:
                if fault is not None:
                    fault(self)
                else:
                    self.answer(200, json.dumps(script.reply(request)).encode())
            finally:
                with script.lock:
                    script.at_once -= 1

        def answer(self, code, content, headers=None):
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def asked(teacher, questions):
    """What a teacher answers to each question, or why it does not."""

    async def work(ask, question):
        try:
            return await ask(question)
        except NoAnswer as reason:
            return reason.fault

    return teacher.each(work, questions)
