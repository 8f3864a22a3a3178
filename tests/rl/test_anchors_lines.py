"""The map between the lines of a program and of its instrumented form."""

import json
import re
from pathlib import Path

import pytest
import test_anchors_text
import test_anchors_text_blocks
from hypothesis import HealthCheck, given, settings
from test_anchors_random import compiles, programs

from rl.anchors import Instrumented, LineMap, instrument

CRUXEVAL = Path(__file__).parents[1] / "data" / "cruxeval.jsonl"
NAMED_RETURN = re.compile(r"^\s*return_val(_\d+)? = ?", re.MULTILINE)
RESTATED_RETURN = re.compile(r"\s*return return_val(_\d+)?")


def lines_of(code: str) -> list[str]:
    """As `instrument` counts them: a newline at the end begins no line."""
    return re.sub("\r\n?", "\n", code.removeprefix("\ufeff")).removesuffix("\n").split("\n")


def bare(text: str) -> str:
    """Without what taking a line apart may change: blanks, semicolons, backslashes, the word before a returned value."""
    return re.sub(r"[\s;\\]", "", NAMED_RETURN.sub("return ", text))


def check_lines(code: str) -> LineMap:
    """Every line of either program is where the map says, whole."""
    program = instrument(code)
    originals, instrumented = lines_of(code), lines_of(program.code)
    lines, anchors = program.lines, {anchor.line for anchor in program.anchors}
    assert (len(lines.instrumented), len(lines.original)) == (len(originals), len(instrumented))
    for number, text in enumerate(originals, start=1):
        found = instrumented[lines.to_instrumented(number) - 1]
        assert bare(text).startswith(bare(found)), (text, found)
        assert bool(bare(found)) == bool(bare(text))
        pieces = [
            piece
            for place, piece in enumerate(instrumented, start=1)
            if lines.to_original(place) == number and not (anchors and RESTATED_RETURN.fullmatch(piece))
        ]
        assert bare("\n".join(pieces)) == bare(text)
    for place in range(1, len(instrumented) + 1):
        assert (lines.to_original(place) is None) == (place in anchors)
    return lines


def test_a_map_by_hand() -> None:
    code = "def f(x): x += 1; y = x; return y * 2  # twice\n\nz = f(1)\n"
    assert instrument(code).code.split("\n") == [
        "def f(x):",
        "    x += 1",
        "    print(f'x: {x}')",
        "    y = x",
        "    print(f'y: {y}')",
        "    return_val = y * 2  # twice",
        "    print(f'return_val: {return_val}')",
        "    return return_val",
        "",
        "z = f(1)",
        "print(f'z: {z}')",
        "",
    ]
    lines = check_lines(code)
    assert lines.instrumented == (1, 9, 10)
    assert lines.original == (1, 1, None, 1, None, 1, None, 1, 2, 3, None)


def test_a_return_over_several_lines_is_closed_on_its_first() -> None:
    lines = check_lines("def f(x):\n    return (\n        x\n        + 1\n    )  # sum\n")
    assert lines.instrumented == (1, 2, 3, 4, 5)
    assert lines.original == (1, 2, 3, 4, 5, None, 2)


def test_a_line_of_which_nothing_is_left_goes_where_the_text_before_it_went() -> None:
    lines = instrument("a = 1 \\\n; \\\nb = 2\n").lines
    assert lines.instrumented == (1, 1, 3)
    assert lines.original == (1, None, 3, None)


def test_a_program_left_alone_maps_to_itself() -> None:
    program = instrument("def f():\n    x = 1\n    return locals()\n")
    assert program.anchors == ()
    assert program.lines == LineMap((1, 2, 3), (1, 2, 3))


@pytest.mark.parametrize("line", [0, -1, 3])
def test_a_line_that_is_not_there_is_bad_input(line: int) -> None:
    lines = instrument("if 0:\n    pass\n").lines
    for asked in (lines.to_instrumented, lines.to_original):
        with pytest.raises(ValueError, match=f"^line {line}: the program has lines 1 to 2$"):
            asked(line)


def test_the_map_is_no_part_of_what_a_program_is() -> None:
    assert instrument("x = 1") == Instrumented("x = 1\nprint(f'x: {x}')", None, instrument("x = 1").anchors)


HAND_WRITTEN = {**test_anchors_text.CASES, **test_anchors_text_blocks.CASES}


@pytest.mark.parametrize("original", [original for original, _ in HAND_WRITTEN.values()], ids=HAND_WRITTEN)
def test_every_grammar_case_keeps_its_lines(original: str) -> None:
    check_lines(test_anchors_text.as_written(original))


def test_all_of_cruxeval_keeps_its_lines() -> None:
    rows = [json.loads(line) for line in CRUXEVAL.read_text().splitlines()]
    moved = sum(check_lines(row["code"]).instrumented != tuple(range(1, len(lines_of(row["code"])) + 1)) for row in rows)
    assert len(rows) == 800
    assert moved > 600


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(programs().filter(compiles))
def test_random_programs_keep_their_lines(code: str) -> None:
    check_lines(code)
