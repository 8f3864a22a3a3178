"""The commands of `codereason`, one file for each family."""
