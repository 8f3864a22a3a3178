"""`python -m cluster` is `codereason`."""

from cluster.cli import main

main()
