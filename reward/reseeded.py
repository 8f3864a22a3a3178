"""A sandbox in which programs find other seeds than in any other: what hangs on them shows itself by the difference."""

from reward.sandbox import Sandbox, SandboxUnavailable, _self_test
from reward.zygote_process import Zygote, ZygoteFault

_SEED = 1
"""All other sandboxes have 0."""


class Reseeded(Sandbox):
    """Runs programs as `Sandbox` does, with another seed of hashes and of `random`."""

    def _start(self) -> Zygote:
        zygote = Zygote(self.level, self._packages, memory_mib=self._limits.memory_mib, seed=_SEED)
        try:
            _self_test(zygote)
        except ZygoteFault as error:
            zygote.close()
            raise SandboxUnavailable(f"level {self.level} does not hold here: {error}") from None
        self._layers = zygote.layers
        return zygote
