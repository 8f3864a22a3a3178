"""Log handlers that vLLM would leave without anywhere to write to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler


@contextmanager
def targets_kept() -> Iterator[None]:
    """Afterwards every buffering log handler writes to where it wrote before.

    vLLM configures logging as it is imported, which closes all handlers there are, and closed ones of this kind have lost
    their target. Ray Serve's are such: what a replica says would be lost, and a controller that was started again would
    replace it, since it cannot tell the file it logs to.
    """
    loggers = [logging.getLogger(), *map(logging.getLogger, [*logging.root.manager.loggerDict])]
    handlers = {handler for logger in loggers for handler in logger.handlers if isinstance(handler, MemoryHandler)}
    targets = {handler: handler.target for handler in handlers}
    try:
        yield
    finally:
        for handler, target in targets.items():
            handler.setTarget(target)
