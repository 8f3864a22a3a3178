"""How a command ends that started workers."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible(goes_on_from: str = "the last checkpoint") -> Iterator[None]:
    """Ctrl-C in the block ends the command with one line and status 130, a failed worker with its cause and status 1."""
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    from cluster.data.teacher import TeacherDown
    from cluster.experience.collection import PoolUnresponsive, StaleEngine
    from cluster.starting import PoolNotStarted
    from learner.launch import LearnerFailed

    try:
        yield
    except (LearnerFailed, PoolUnresponsive, StaleEngine, PoolNotStarted, TeacherDown, RayError, RayServeException) as error:
        # What a worker raised comes with its whole traceback; the last line says what it was.
        told = str(getattr(error, "message", error)).strip()
        cause = told.splitlines()[-1] if isinstance(error, RayError) else " ".join(told.split())
        sys.stderr.write(f"codereason: {cause}\ncodereason: the same command goes on from {goes_on_from}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write(f"codereason: stopped; the same command goes on from {goes_on_from}\n")
        sys.exit(130)
