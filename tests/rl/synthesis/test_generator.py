import ast
import contextlib
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from rl.anchors import instrument
from rl.synthesis.generator import CALLABLE, Grammar, called, generate


def executed(code, call):
    """The printed lines and the value, from real execution."""
    scope, stdout = {}, io.StringIO()
    with contextlib.redirect_stdout(stdout):
        exec(code, scope)
        value = eval(call, scope)
    return stdout.getvalue().splitlines(), value


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 10**6), st.integers(1, 9))
def test_every_program_runs_within_the_bounds(seed, index, statements):
    grammar = Grammar(statements=(statements, statements), largest=15, longest=4)
    code, call = generate(seed, index, grammar)
    states, value = executed(instrument(code, call).code, call)
    assert 1 <= len(states) <= grammar.anchors
    for state in states:
        held = ast.literal_eval(state.partition(": ")[2])
        for number in held if isinstance(held, list) else [held]:
            assert 0 <= number <= 15
        assert not isinstance(held, list) or 1 <= len(held) <= 4
    assert states[-1] == f"return_val: {value}"


def test_same_seed_and_index_same_program():
    assert generate(3, 5, Grammar()) == generate(3, 5, Grammar())
    assert len({generate(seed, index, Grammar()) for seed in (1, 2) for index in range(20)}) == 40


def test_a_program_reads_like_one():
    code, call = generate(0, 0, Grammar(statements=(3, 3)))
    assert code.startswith("def f(")
    assert code.rstrip().splitlines()[-1].startswith("    return ")
    assert call.startswith("f([")


def test_the_answer_cannot_be_guessed():
    answers = [repr(executed(*generate(1, index, Grammar(statements=(3, 5))))[1]) for index in range(400)]
    assert max(answers.count(answer) for answer in answers) <= 12


def test_what_a_grammar_leaves_out_is_never_called():
    unseen = ("append", "max", "sorted")
    programs = [generate(1, index, Grammar(without=unseen))[0] for index in range(150)]
    assert set().union(*map(called, programs)) == {"len", "min"}


def test_what_a_grammar_wants_is_called_by_every_program():
    programs = [generate(1, index, Grammar(calls=("max", "sorted")))[0] for index in range(100)]
    assert all({"max", "sorted"} & called(code) for code in programs)


def test_programs_call_nothing_else():
    programs = [generate(2, index, Grammar(statements=(4, 6)))[0] for index in range(300)]
    assert set().union(*map(called, programs)) == set(CALLABLE)


def test_calls_are_found_by_the_names_of_functions_and_methods():
    assert called("a.append(len(b))\nc = sorted(a)[0]") == {"append", "len", "sorted"}
