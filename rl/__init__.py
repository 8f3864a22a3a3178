"""Ground floor: what is learned. Pure Python and torch; no engine, no cluster, no network."""
