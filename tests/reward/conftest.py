"""What the tests of this room share."""

from collections.abc import Iterator

import pytest

from reward.sandbox import Limits, Sandbox


@pytest.fixture(scope="session")
def quick_sandbox() -> Iterator[Sandbox]:
    """A sandbox for small programs; what loops forever is given up soon."""
    with Sandbox(Limits(wall_s=1.0, cpu_s=0.2)) as sandbox:
        yield sandbox
