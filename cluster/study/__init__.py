"""Studies: one run with several seeds, or a recipe and its variants side by side."""
