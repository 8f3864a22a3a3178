"""What vLLM's configuration of logging, which goes through `dictConfig`, leaves of handlers that were there before."""

import logging
import logging.config
import logging.handlers

import pytest

from rollout.log_handlers import targets_kept


@pytest.fixture
def logger(tmp_path):
    """One that writes as Serve's does: by a buffering handler, to a file."""
    found = logging.getLogger("as-serves")
    file = logging.FileHandler(tmp_path / "log")
    handler = logging.handlers.MemoryHandler(1, target=file)
    found.addHandler(handler)
    yield found
    found.removeHandler(handler)
    file.close()


def test_a_logger_goes_on_writing_to_its_file(logger, tmp_path):
    (handler,) = logger.handlers
    with targets_kept():
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
        assert handler.target is None
    logger.error("said afterwards")
    assert "said afterwards" in (tmp_path / "log").read_text()
