"""How good a model is: on the held-out split, while it trains, and on the benchmarks."""
