"""`cluster/commands/json_output.py`: nothing but JSON on standard output."""

import json
import sys
import threading

import pytest

from cluster.commands.json_output import kept_for_json, print_measured


def measure(first, *, second):
    """Prints as Ray does, which asks for the stream in a thread of its own when it has something to tell."""
    talking = threading.Thread(target=lambda: print("(raylet) a task failed", file=sys.stdout))
    talking.start()
    talking.join()
    return {"sum": first + second}


def test_what_is_measured_stands_alone(capsys):
    print_measured(measure, 1, second=2)
    told = capsys.readouterr()
    assert json.loads(told.out) == {"sum": 3}
    assert told.err == "(raylet) a task failed\n"


@pytest.mark.parametrize("wanted", [True, False])
def test_output_is_moved_only_where_it_is_for_json(capsys, wanted):
    with kept_for_json(wanted):
        print("talk")
    assert capsys.readouterr() == (("", "talk\n") if wanted else ("talk\n", ""))


def test_a_failure_gives_the_output_back(capsys):
    with pytest.raises(OSError, match="measured"), kept_for_json(True):
        raise OSError("measured")
    print("talk")
    assert capsys.readouterr().out == "talk\n"
