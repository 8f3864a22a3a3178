"""What the tests of whole runs share: a Ray head, a run that was left alone, and how long recoveries took."""

import pytest
from chaos import failures, finished, start
from heads import ray_head


@pytest.fixture(scope="module")
def head():
    """It ends with a file's last test, not with the process: tests of other files count what is left of theirs."""
    with ray_head("127.0.0.1") as found:
        yield found


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A run that was left alone."""
    runs = tmp_path_factory.mktemp("runs")
    finished(start(runs, "whole"))
    return runs / "whole"


@pytest.fixture
def recovered(request):
    """Takes note of a run's failures, to be shown when all tests are done; gives them."""

    def note(run):
        found = failures(run)
        request.node.user_properties += [("recovery", one) for one in found.items()]
        return found

    return note


def pytest_terminal_summary(terminalreporter):
    """How long what was killed took to work again."""
    lines = [
        f"{'never' if seconds is None else f'{seconds:.1f} s':>9}  {part:<11} {report.nodeid.partition('::')[2]}"
        for report in terminalreporter.getreports("passed")
        for name, one in report.user_properties
        if name == "recovery"
        for part, seconds in [one]
    ]
    if lines:
        terminalreporter.section("seconds until it worked again")
        terminalreporter.write_line("\n".join(lines))
