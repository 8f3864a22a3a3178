"""The workers that ask Python: a sandbox, tracing, scoring, and the Ray Serve deployment around them."""
