"""The workers that ask the model: a vLLM engine, its weights, and the Ray Serve deployment around it."""
