"""Seeds for everything that is drawn, all from the one seed of a run."""

import hashlib


def derived_seed(seed: int, purpose: str) -> int:
    """A seed in `[0, 2**32)` fixed by the run's seed and what it is for; other purposes give unrelated seeds."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:4])
