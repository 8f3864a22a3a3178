"""Print anchors: `P' = T(P)`, the program that tells its own state (StepCodeReasoner 3.2, eq. 4; rules: appendix A).

The paper asks a teacher model to place the prints; here the placement is a pure function of the source:

- `names`: which names a piece of a program binds, unbinds, evaluates or changes;
- `hindrances`: programs that could notice the prints, and therefore stay as they are;
- `placement`: where the anchors go, with the definite-assignment analysis that makes each of them safe;
- `layout`: where statements lie in the text, and text edits that know the lines they add and keep;
- `lines`: the map between the lines of the original and of the instrumented program, read off those edits;
- `writing`: the edits that write a placement into the text, so that formatting and comments survive;
- `instrumentation`: all of it together;
- `teacher`: the same verification for anchors that a teacher model placed, and its agreement with ours.
"""

from rl.anchors.hindrances import hindrance
from rl.anchors.instrumentation import Anchor, Instrumented, ProgramError, instrument
from rl.anchors.lines import LineMap
from rl.anchors.writing import StateText

__all__ = ["Anchor", "Instrumented", "LineMap", "ProgramError", "StateText", "hindrance", "instrument"]
