"""Attacks on the sandbox by theme. A theme's file and `common` are laid into the sandbox as files of the program."""
