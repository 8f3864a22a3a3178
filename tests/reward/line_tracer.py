"""What a line tracer sees of a program that has no anchors, at the places where anchors would be. Runs in the sandbox.

Nothing here knows how anchors are written or recorded. A place is a statement, by its first and last line:

- `after`: the names as they are when control leaves the statement in the same frame, by a line event elsewhere or by the
  end of the function, but not by an exception;
- `before`: the names as they are at the line event of the statement;
- `return`: what the frame returns from the statement.
"""

import opcode
import sys

RETURN = opcode.opmap["RETURN_VALUE"]


class LineTracer:
    """Collects `NAME: value` of the watched places, in the order of execution."""

    def __init__(self, places, loops, returns):
        self.seen = []
        self._places = places
        self._returns = returns
        """First and last line of every `return`: it leaves the statements around it without finishing them."""
        self._loops = loops
        """First lines of `for` statements, where StopIteration is no failure."""
        self._last_line = {}
        self._failed = set()
        self._passed = {}
        """For each step from line to line the places it passes, found once."""

    def __call__(self, frame, event, argument):
        code = frame.f_code
        if code.co_filename != "<traced>" or (code.co_name.startswith("<") and code.co_name != "<module>"):
            return None
        if event == "line":
            self._line(frame)
        elif event == "exception":
            if not (argument[0] is StopIteration and frame.f_lineno in self._loops):
                self._failed.add(frame)
        elif event == "return" and code.co_code[frame.f_lasti] == RETURN:  # no yield, and not the way of an exception
            self._return(frame, argument)
            self._last_line.pop(frame, None)
        return self

    def _line(self, frame):
        line, last = frame.f_lineno, self._last_line.get(frame)
        self._last_line[frame] = line
        step = (None if frame in self._failed else last, line)
        self._failed.discard(frame)
        if step not in self._passed:
            before = [place for place in self._places if place["kind"] == "before" and place["first"] == line]
            self._passed[step] = self._left(*step) + before
        for place in self._passed[step]:
            self._show(frame, place)

    def _return(self, frame, value):
        last = self._last_line.get(frame)
        for place in self._places:
            if place["kind"] == "return" and last is not None and place["first"] <= last <= place["last"]:
                self.seen.append(f"{place['label']}: {value}")
                return
        if last is None or not any(first <= last <= end for first, end in self._returns):
            for place in self._left(last, None):
                self._show(frame, place)

    def _left(self, last, line):
        """The places whose statement held the last line and does not hold this one, the inner before the outer."""
        if last is None:
            return []
        left = [
            place
            for place in self._places
            if place["kind"] == "after"
            and place["first"] <= last <= place["last"]
            and (line is None or not place["first"] <= line <= place["last"])
        ]
        return sorted(left, key=lambda place: place["last"] - place["first"])

    def _show(self, frame, place):
        name = place["name"]
        scope = frame.f_locals if name in frame.f_locals else frame.f_globals
        self.seen.append(f"{place['label']}: {scope[name]}")


def traced(code, call, places, loops, returns):
    """The states that a run of the program and its call go through."""
    tracer = LineTracer(places, loops, returns)
    namespace = {"__name__": "__main__"}
    program = compile(code, "<traced>", "exec", dont_inherit=True)
    wanted = compile(call, "<call>", "eval", dont_inherit=True)
    sys.settrace(tracer)
    try:
        exec(program, namespace)
        eval(wanted, namespace)
    except Exception:  # its anchored twin ends the same way, and what was seen so far is what counts
        pass
    finally:
        sys.settrace(None)
    return tracer.seen
