"""What the tests of this room share."""

from collections.abc import Iterator

import pytest

from reward.sandbox import Limits, Sandbox, SandboxUnavailable
from reward.zygote.isolation import LEVELS
from reward.zygote_process import Zygote


@pytest.fixture(scope="session")
def quick_sandbox() -> Iterator[Sandbox]:
    """A sandbox for small programs; what loops forever is given up soon."""
    with Sandbox(Limits(wall_s=1.0, cpu_s=0.2)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module", params=LEVELS)
def zygote(request) -> Iterator[Zygote]:
    """A zygote of each level that can be had here."""
    try:
        zygote = Zygote(request.param)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    yield zygote
    zygote.close()
