"""How training problems are made: programs out of a seed, and reasoning chains out of traces."""
