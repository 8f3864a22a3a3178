"""Programs over CodeReasoner's grid of methods and difficulties, written by a grammar."""
