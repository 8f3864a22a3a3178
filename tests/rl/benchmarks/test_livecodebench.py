"""LiveCodeBench's execution task: rows made by hand, the official extraction, and the text that is checked."""

import pytest

from rl.benchmarks.livecodebench import ExecutionRow, check, execution_rows, mean_accuracy, prediction

ROW = {
    "question_id": 2727,
    "function_name": "countSeniors",
    "code": "def countSeniors(details: List[str]) -> int:\n    return sum(int(d[1:]) > 60 for d in details)",
    "input": "countSeniors(details = ['a61', 'b60'])",
    "output": "1",
    "id": "sample_0",
    "numsteps": 5,
}


def test_rows():
    (row,) = execution_rows([ROW])
    assert row == ExecutionRow("sample_0", ROW["code"], ROW["input"], "1")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, {**ROW, "id": "sample_1", "output": 1}], "row 2: output: must be str"),
        ([{"id": "sample_0"}], "row 1: code: must be str"),
        ([ROW, ROW], "row 2: id: sample_0 stands in an earlier row too"),
    ],
)
def test_a_bad_row_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        execution_rows(rows)


@pytest.mark.parametrize(
    ("response", "reasoned", "expected"),
    [
        ("1", False, "1"),
        ("assert countSeniors(details = []) == 1[/ANSWER]", False, "1"),
        (" 1\nand more", False, "1"),
        ("[1,\n2][/ANSWER]", False, "[1,\n2]"),
        ("steps [ANSWER]assert f(1) == 'a'[/ANSWER] [ANSWER]assert f(1) == 'b'[/ANSWER]", True, "'a'"),
        ("assert f(1) == 'a == b'[/ANSWER]", False, "'a"),
        ("no answer", True, "no answer"),
    ],
)
def test_official_extraction(response, reasoned, expected):
    assert prediction(response, reasoned=reasoned) == expected


def test_a_prediction_that_calls_is_skipped():
    (row,) = execution_rows([ROW])
    assert check(row, f"{ROW['input']}") is None
    text = check(row, "1")
    assert text.endswith(f"{ROW['code']}\nassert 1 == 1")
    assert "numpy" not in text
    assert "import numpy as np\n" in check(row, "np.int64(1)")


def test_skipped_predictions_leave_a_smaller_sample():
    assert mean_accuracy([[True, None], [False, None], [None, None], [True, False]]) == pytest.approx(37.5)
    with pytest.raises(ValueError, match="problems: empty"):
        mean_accuracy([])
