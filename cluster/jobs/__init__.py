"""Runs on a Ray cluster: what one will need, where it fits, and how it gets there."""
