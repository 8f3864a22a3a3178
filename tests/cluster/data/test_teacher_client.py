"""The teacher's client against a real server that fails in every way a server can."""

import json
import socket
import time
from email.utils import formatdate

import pytest
import teacher_server
from teacher_server import Script, body, completion, cut, hang_up, says, serving, silence, status, trickle

from cluster.config import BadInput, DataSettings, TeacherSettings
from cluster.data.teacher import Teacher, TeacherDown, open_teacher
from cluster.data.teacher.answers import NoAnswer, Question

QUICK = {"model": "m", "in_flight": 4, "deadline_s": 0.6, "tries": 3, "longest_wait_s": 1.0}


def question(text="?", seed=1):
    return Question((("system", "s"), ("user", text)), 0.5, 0.9, 64, seed)


def asked(script, folder, questions, **settings):
    """What becomes of each question: the answer, or the fault as it would be set aside."""
    teacher = Teacher(TeacherSettings(**{**QUICK, "base_url": script.url, **settings}), folder / "teacher.jsonl")
    return teacher_server.asked(teacher, questions)


PASSING = {
    "rate limit": status(429),
    "rate limit for an instant": status(429, retry_after="0"),
    "server error": status(500),
    "not a word": status(502, "<html>"),
    "overloaded": status(503, retry_after="soon"),
    "no answer in time": silence(2),
    "an answer without end": trickle(2),
    "half an answer": cut,
    "a closed connection": hang_up,
    "half a JSON text": body('{"choices": [{"mess'),
    "no UTF-8": body(b'{"choices": "\xff'),
    "no JSON": body("garbage"),
    "another shape": body('{"choices": [{"message": "hello", "finish_reason": "stop"}]}'),
    "no choice": body('{"choices": []}'),
    "a list": body("[]"),
    "deep JSON": body("[" * 100_000),
    "nothing said": says(""),
    "null said": says(None),
    "a stop for no reason": says("y", None),
    "a refusal": says(None, refusal="no"),
    "a filter": says("", "content_filter"),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_tried_again(tmp_path, fault):
    with serving(Script(faults=[PASSING[fault]])) as script:
        assert asked(script, tmp_path, [question()]) == ["yes"]
        assert len(script.requests) == 2
        assert script.requests[0] == script.requests[1]


STAYING = {
    "rate limit": ([status(429)] * 3, "teacher: rate limit | "),
    "server error": ([status(500)] * 3, "teacher: status 500 | "),
    "silence": ([silence(2)] * 3, "teacher: deadline | 0.6 s"),
    "closed": ([hang_up] * 3, "teacher: no connection | "),
    "garbage": ([body("garbage")] * 3, "teacher: not a chat completion | 'garbage'"),
    "refusal": ([says(None, refusal="I will not")] * 3, "teacher: refuses | I will not"),
    "filter": ([says("", "content_filter")] * 3, "teacher: refuses | content filter"),
    "bad request": (
        [status(400, '{"error": {"message": "too\\nlong"}}')],
        'teacher: status 400 | {"error": {"message": "too\\nlong"}}',
    ),
    "too long": ([says("and so on", "length")], "teacher: answer cut off"),
}


@pytest.mark.parametrize("kind", STAYING)
def test_a_fault_that_stays_sets_one_question_aside_and_no_other(tmp_path, kind):
    faults, told = STAYING[kind]
    with serving(Script(faults=faults)) as script:
        first, second, third = asked(script, tmp_path, [question("a"), question("b"), question("c")], in_flight=1)
        assert first.startswith(told)
        assert (second, third) == ("yes", "yes")
        assert len(script.requests) == len(faults) + 2


@pytest.mark.parametrize("as_date", [False, True])
def test_the_endpoint_is_left_alone_for_as_long_as_it_asks(tmp_path, as_date):
    wait = formatdate(time.time() + 3, usegmt=True) if as_date else "1"
    with serving(Script(faults=[status(429, retry_after=wait)])) as script:
        assert asked(script, tmp_path, [question("a"), question("b")], in_flight=1, longest_wait_s=5) == ["yes"] * 2
        assert 0.9 <= script.times[1] - script.times[0] <= 5


def test_a_wait_that_is_too_long_is_cut(tmp_path):
    with serving(Script(faults=[status(429, retry_after="100000")])) as script:
        assert asked(script, tmp_path, [question()], longest_wait_s=0.5) == ["yes"]
        assert 0.4 <= script.times[1] - script.times[0] <= 5


def test_nobody_asks_while_the_endpoint_wants_to_be_left_alone(tmp_path):
    limited = [status(429, retry_after="1")]
    with serving(Script(reply=lambda _: time.sleep(0.1) or completion("yes"), faults=limited)) as script:
        asked(script, tmp_path, [question(str(number)) for number in range(12)])
        after = [moment for moment in script.times[4:] if moment < script.times[0] + 0.9]
        assert len(script.requests) == 13
        assert len(after) <= 3


def test_no_more_requests_than_allowed_are_under_way(tmp_path):
    with serving(Script(reply=lambda _: time.sleep(0.05) or completion("yes"))) as script:
        assert asked(script, tmp_path, [question(str(number)) for number in range(20)]) == ["yes"] * 20
        assert script.most_at_once == 4


def test_answers_come_in_the_order_of_the_questions(tmp_path):
    def reply(request):
        text = request["messages"][-1]["content"]
        time.sleep(0.2 if text == "0" else 0.0)
        return completion(text)

    with serving(Script(reply)) as script:
        assert asked(script, tmp_path, [question(str(number)) for number in range(9)]) == [str(n) for n in range(9)]


def test_the_request_is_what_was_asked(tmp_path):
    with serving(Script()) as script:
        asked(script, tmp_path, [question("why", 7)])
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "why"}]
        wanted = {"model": "m", "messages": messages, "temperature": 0.5, "top_p": 0.9, "max_tokens": 64, "seed": 7}
        assert script.requests == [wanted]


def test_nothing_is_asked_twice_and_what_had_no_answer_is_asked_again(tmp_path):
    questions = [question(text) for text in "abcd"]
    faults = [says("cut", "length"), *[says(None, refusal="no")] * 3, *[status(500)] * 3]
    with serving(Script(faults=faults)) as script:
        first = asked(script, tmp_path, questions, in_flight=1)
        before = len(script.requests)
        assert [text.partition(" |")[0] for text in first] == [
            "teacher: answer cut off",
            "teacher: refuses",
            "teacher: status 500",
            "yes",
        ]
        again = asked(script, tmp_path, questions, in_flight=1)
        assert again == [*first[:2], "yes", "yes"]
        assert len(script.requests) == before + 1
    assert asked(script, tmp_path, questions) == again, "the server is gone, and nobody needs it"


def test_another_model_seed_or_temperature_is_another_question(tmp_path):
    one = question()
    others = {one.key("m"), one.key("n"), question(seed=2).key("m"), question("!").key("m")}
    assert len(others) == 4
    assert question().key("m") == one.key("m")


@pytest.mark.parametrize("spoilt", [b'{"key": "a", "te', b"\xff\xfe\n", b"\n\n", b'{"key": 1}\n', b"[]\n", b'{"key": "a"'])
def test_a_spoilt_file_of_answers_costs_its_spoilt_lines_alone(tmp_path, spoilt):
    path = tmp_path / "teacher.jsonl"
    with serving(Script(reply=lambda request: completion("é\u2028\ud800" + request["messages"][1]["content"]))) as script:
        answers = asked(script, tmp_path, [question("a"), question("b")], in_flight=1)
        kept = path.read_bytes()
        assert kept.count(b"\n") == 2
        path.write_bytes(kept + spoilt)
        assert asked(script, tmp_path, [question("a"), question("b"), question("c")])[:2] == answers
        assert len(script.requests) == 3
        path.write_bytes(kept[: len(kept) // 2] + b"\n" + kept)
        assert asked(script, tmp_path, [question("a"), question("b")]) == answers
        assert len(script.requests) == 3
    assert len([json.loads(line) for line in path.read_bytes().splitlines()]) == 2


def test_an_endpoint_that_is_not_there_is_told_and_ends_the_asking(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        script = Script()
        script.url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    many = [question(str(number)) for number in range(500)]
    with pytest.raises(TeacherDown) as error:
        asked(script, tmp_path, many, tries=2, down_after=5, longest_wait_s=0.01, deadline_s=20)
    assert str(error.value).startswith(f"data.teacher: {script.url} gave no answer to 5 questions in a row, the last time")
    assert "no connection" in str(error.value)


def test_what_was_answered_before_the_endpoint_went_is_kept(tmp_path):
    faults = [says("one"), says("two"), *[hang_up] * 100]
    with serving(Script(faults=faults)) as script:
        with pytest.raises(TeacherDown):
            asked(script, tmp_path, [question(str(n)) for n in range(50)], in_flight=1, down_after=3, longest_wait_s=0.01)
        script.faults.clear()
        before = len(script.requests)
        answers = asked(script, tmp_path, [question(str(number)) for number in range(50)])
        assert answers == ["one", "two", *["yes"] * 48]
        assert len(script.requests) == before + 48


@pytest.mark.parametrize(("code", "told"), [(401, "refuses the key"), (404, "knows no such model")])
def test_a_wrong_key_or_model_is_told_at_once(tmp_path, code, told):
    with serving(Script(faults=[status(code)] * 9)) as script:
        with pytest.raises(TeacherDown, match=told):
            asked(script, tmp_path, [question()])
        assert len(script.requests) == 1


def test_the_key_comes_from_the_environment_and_goes_nowhere_but_to_the_endpoint(tmp_path, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("OUR_KEY", "sesame-1234")
    faults = [status(400, "the key sesame-1234 is odd"), says("fine")]
    with serving(Script(faults=faults)) as script:
        told = asked(script, tmp_path, [question("a"), question("b")], in_flight=1, key_variable="OUR_KEY")
        assert told == ["teacher: status 400 | the key *** is odd", "fine"]
        assert set(script.authorizations) == {"Bearer sesame-1234"}
    assert "sesame" not in (tmp_path / "teacher.jsonl").read_text()
    assert not [record for record in caplog.records if record.name.startswith("cluster") and "sesame" in record.getMessage()]


def test_a_key_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("OUR_KEY", raising=False)
    split = {"problems": 1}
    teacher = {"base_url": "http://localhost:1/v1", "model": "m", "key_variable": "OUR_KEY"}
    data = DataSettings.model_validate({**dict.fromkeys(("sft", "validation", "rl", "heldout"), split), "teacher": teacher})
    with pytest.raises(BadInput, match=r"^data.teacher.key_variable: the environment variable OUR_KEY is not set"):
        open_teacher(data, tmp_path)
    assert open_teacher(data.model_copy(update={"teacher": None}), tmp_path) is None


def test_questions_without_an_answer_are_counted_from_one_wave_to_the_next(tmp_path):
    with serving(Script(faults=[hang_up] * 99)) as script:
        settings = {**QUICK, "base_url": script.url, "tries": 1, "down_after": 3}
        teacher = Teacher(TeacherSettings(**settings), tmp_path / "teacher.jsonl")

        async def work(ask, one):
            with pytest.raises(NoAnswer):
                await ask(one)

        teacher.each(work, [question("a")])
        teacher.each(work, [question("b")])
        with pytest.raises(TeacherDown, match="no answer to 3 questions in a row"):
            teacher.each(work, [question("c")])
