"""Speed, each figure as a ratio measured in one run."""
