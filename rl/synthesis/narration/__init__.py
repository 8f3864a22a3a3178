"""Reasoning chains for any program, out of its trace: what each statement did, said in words that execution confirms.

- `visits`: the executed anchors with their lines and exact values;
- `values`: how values are shown in a sentence;
- `library`, `expressions`, `machine`: a small interpreter with allow-lists that walks through the program and is held
  against execution at every anchor. What it has no rule for it leaves unsaid; it never calls `eval` or `exec`;
- `events`: what it saw on the way;
- `wording`: sentences out of events, in several phrasings;
- `narrator`: the whole response, for both tasks.
"""

from rl.synthesis.narration.narrator import narrate
from rl.synthesis.narration.visits import Visit, located, states_and_visits

__all__ = ["Visit", "located", "narrate", "states_and_visits"]
