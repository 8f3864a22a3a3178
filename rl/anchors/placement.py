"""Where anchors go (StepCodeReasoner appendix A), and why each of them is safe.

An anchor may only show a name that is bound on every path to it, or it would raise where the program does not. So the
walk carries the set of surely bound names along every path (None: no path leads here), and an anchor shows only those.

- After a statement outside loops: the names it affects. At the start of a block: the names its header binds
  (`with ... as`, `except ... as`, `case` captures, `:=` in an `if`).
- Inside `for` and `while`, and in what is defined there: nothing. After the whole loop: the names it affects.
- Before every `return` with a value, in loops too: `return_val`.
- Class bodies and `async def` stay as they are, and so does unreachable code.
- Never shown: `_`, the first parameter of a method (half built in a constructor, and mostly an address), functions,
  classes, modules, lambdas, generator expressions, built-in functions and types (`list.sort(xs)`).
"""

import ast
import builtins
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rl.anchors.names import (
    Scope,
    affected_by,
    bound_by,
    captures,
    evaluated,
    own_nodes,
    parameters_of,
    scopes_of,
    unbound_in,
)

RETURN_LABEL = "return_val"

_BUILT_IN = frozenset(name for name, value in vars(builtins).items() if callable(value))
"""Functions and types, hidden where the program does not bind such a name itself."""

State = frozenset[str] | None
"""The surely bound names at a point of the program; None where no path leads."""


class Mark(NamedTuple):
    """An anchor to be written: it shows `name` under `label`."""

    label: str
    name: str


@dataclass(slots=True)
class Marks:
    """What to write around one statement."""

    before: list[Mark] = field(default_factory=list)
    after: list[Mark] = field(default_factory=list)
    names_value: bool = False
    """For `return expression`: give the value a name, show it, return it."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """What holds throughout a function body, or a loop body of it."""

    scope: Scope
    hidden: frozenset[str]
    """Names that are never shown."""
    shaky: frozenset[str]
    """Names that code elsewhere may unbind at any time."""
    in_loop: bool = False
    breaks: list[frozenset[str]] | None = None
    """What is surely bound at each `break` of the innermost loop."""


def place(tree: ast.Module) -> dict[ast.stmt, Marks]:
    """The anchors of a module that compiles, by the statement they belong to."""
    return _Placement(tree).marks


class _Placement:
    def __init__(self, tree: ast.Module) -> None:
        self.marks: dict[ast.stmt, Marks] = {}
        self._scopes = scopes_of(tree)
        scopes = self._scopes.values()
        self._unbound_by_declaration = frozenset[str]().union(*(scope.unbound & scope.declared for scope in scopes))
        self._unbound_anywhere = frozenset[str]().union(*(scope.unbound for scope in scopes))
        self._block(tree.body, frozenset(), self._frame(self._scopes[tree], hidden=_BUILT_IN, in_loop=False))

    def _frame(self, scope: Scope, hidden: frozenset[str], in_loop: bool) -> _Frame:
        shaky = self._unbound_by_declaration | (self._unbound_anywhere - scope.bound)
        return _Frame(scope, (hidden - scope.bound) | scope.definitions | {"_"}, shaky, in_loop)

    def _block(self, body: list[ast.stmt], state: State, frame: _Frame) -> State:
        for stmt in body:
            if state is None:
                return None
            state = self._statement(stmt, state, frame)
        return state

    def _statement(self, stmt: ast.stmt, state: frozenset[str], frame: _Frame) -> State:
        match stmt:
            case ast.Return():
                self._return(stmt, frame)
                return None
            case ast.Raise() | ast.Continue():
                return None
            case ast.Break():
                assert frame.breaks is not None
                frame.breaks.append(state)
                return None
            case ast.If():
                return self._if(stmt, state, frame)
            case ast.For() | ast.While():
                return self._loop(stmt, state, frame)
            case ast.Try() | ast.TryStar():
                return self._try(stmt, state, frame)
            case ast.With():
                return self._with(stmt, state, frame)
            case ast.Match():
                return self._match(stmt, state, frame)
            case ast.FunctionDef():
                self._function(stmt, state, frame, method=False)
                return state | {stmt.name}
            case ast.ClassDef():
                self._class(stmt, state, frame)
                return state | {stmt.name}
            case ast.AsyncFunctionDef():
                return state | {stmt.name}
            case _:
                return self._simple(stmt, state, frame)

    def _simple(self, stmt: ast.stmt, state: frozenset[str], frame: _Frame) -> State:
        state |= set(evaluated(stmt))
        if isinstance(stmt, ast.Delete):
            state -= unbound_in([stmt])
        if isinstance(stmt, ast.Assign | ast.AnnAssign) and isinstance(stmt.value, ast.Lambda | ast.GeneratorExp):
            return state
        self._show_after(stmt, affected_by([stmt]), state, frame)
        return state

    def _return(self, stmt: ast.Return, frame: _Frame) -> None:
        match stmt.value:
            case None | ast.Lambda() | ast.GeneratorExp():
                return
            case ast.Name(id=name):
                if name not in frame.hidden:
                    self._marks(stmt).before.append(Mark(RETURN_LABEL, name))
            case _:
                self._marks(stmt).names_value = True

    def _if(self, stmt: ast.If, state: frozenset[str], frame: _Frame) -> State:
        state |= set(evaluated(stmt.test))
        affected = affected_by([stmt.test])
        self._show_at_start(stmt.body, affected, state, frame)
        if not _is_elif(stmt.orelse):
            self._show_at_start(stmt.orelse, affected, state, frame)
        return _meet(self._block(stmt.body, state, frame), self._block(stmt.orelse, state, frame))

    def _loop(self, stmt: ast.For | ast.While, state: frozenset[str], frame: _Frame) -> State:
        unbound = unbound_in([stmt])
        breaks: list[frozenset[str]] = []
        body_frame = replace(frame, in_loop=True, breaks=breaks)
        if isinstance(stmt, ast.For):
            head = (state | set(evaluated(stmt.iter))) - unbound
            self._block(stmt.body, head | set(evaluated(stmt.target)), body_frame)
            exhausted: State = head
        else:
            # The test runs before every pass, and on the back edge whatever the body unbinds may be gone.
            head = (state - unbound) | set(evaluated(stmt.test))
            self._block(stmt.body, head, body_frame)
            exhausted = None if isinstance(stmt.test, ast.Constant) and stmt.test.value else head
        after = None
        if exhausted is not None:
            after = self._block(stmt.orelse, exhausted, replace(frame, in_loop=True))
        for at_break in breaks:  # a `finally` on the way out may unbind what the break still had
            after = _meet(after, at_break - unbound)
        if after is not None:
            self._show_after(stmt, affected_by([stmt]), after, frame)
        return after

    def _try(self, stmt: ast.Try | ast.TryStar, state: frozenset[str], frame: _Frame) -> State:
        unbound_in_handlers = unbound_in(stmt.handlers)
        caught = state - unbound_in(stmt.body) - unbound_in_handlers
        after = self._block(stmt.body, state, frame)
        if after is not None:
            after = self._block(stmt.orelse, after, frame)
        for handler in stmt.handlers:
            names = bound_by(handler)
            self._show_at_start(handler.body, names, caught.union(names), frame)
            handled = self._block(handler.body, caught.union(names), frame)
            if handled is not None:  # less the handlers' names, as several of `except*` may run one after another
                after = _meet(after, handled - unbound_in_handlers)
        if not stmt.finalbody:
            return after
        anywhere = caught - unbound_in(stmt.orelse)
        finished = self._block(stmt.finalbody, anywhere, frame)
        if after is None or finished is None:
            return None
        return (after - unbound_in(stmt.finalbody)) | finished

    def _with(self, stmt: ast.With, state: frozenset[str], frame: _Frame) -> State:
        # A context manager may swallow an exception raised anywhere after its own expression was evaluated.
        swallowed = (state | set(evaluated(stmt.items[0].context_expr))) - unbound_in(stmt.body)
        for item in stmt.items:
            state |= set(evaluated(item))
        self._show_at_start(stmt.body, affected_by(stmt.items), state, frame)
        return _meet(self._block(stmt.body, state, frame), swallowed)

    def _match(self, stmt: ast.Match, state: frozenset[str], frame: _Frame) -> State:
        state |= set(evaluated(stmt.subject))
        after: State = None
        exhaustive = False
        for case in stmt.cases:
            names = captures(case.pattern)
            inside = state.union(names)
            if case.guard is not None:
                inside |= set(evaluated(case.guard))
                names += affected_by([case.guard])
            self._show_at_start(case.body, list(dict.fromkeys(names)), inside, frame)
            after = _meet(after, self._block(case.body, inside, frame))
            exhaustive |= isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and case.guard is None
        return after if exhaustive else _meet(after, state)

    def _class(self, stmt: ast.ClassDef, state: frozenset[str], frame: _Frame) -> None:
        """Only the functions of a class are entered: they do not see the names of its body, but those around it."""
        for node in own_nodes(stmt.body):
            if isinstance(node, ast.FunctionDef):
                self._function(node, state, frame, method=True)
            elif isinstance(node, ast.ClassDef):
                self._class(node, state, frame)

    def _function(self, stmt: ast.FunctionDef, state: frozenset[str], frame: _Frame, method: bool) -> None:
        """A function's body. Outer names bound at its definition, and never unbound, are there in every call."""
        scope = self._scopes[stmt]
        inner = self._frame(scope, frame.hidden, frame.in_loop)
        if method:
            inner = replace(inner, hidden=inner.hidden.union(_first_parameter(stmt)))
        inherited = state - frame.shaky - scope.bound - scope.declared
        self._block(stmt.body, inherited.union(parameters_of(stmt)), inner)

    def _marks(self, stmt: ast.stmt) -> Marks:
        return self.marks.setdefault(stmt, Marks())

    def _show_after(self, stmt: ast.stmt, names: list[str], state: frozenset[str], frame: _Frame) -> None:
        shown = _shown(names, state, frame)
        if shown:
            self._marks(stmt).after += shown

    def _show_at_start(self, body: list[ast.stmt], names: list[str], state: frozenset[str], frame: _Frame) -> None:
        shown = _shown(names, state, frame)
        if shown and body:
            self._marks(body[0]).before += shown


def _shown(names: list[str], state: frozenset[str], frame: _Frame) -> list[Mark]:
    if frame.in_loop:
        return []
    return [Mark(name, name) for name in names if name in state - frame.hidden - frame.shaky]


def _meet(one: State, other: State) -> State:
    """What is surely bound where two paths come together."""
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _is_elif(orelse: list[ast.stmt]) -> bool:
    return len(orelse) == 1 and isinstance(orelse[0], ast.If)


def _first_parameter(method: ast.FunctionDef) -> list[str]:
    """`self` or `cls`, whatever its name; nothing for a static method."""
    if any(isinstance(decorator, ast.Name) and decorator.id == "staticmethod" for decorator in method.decorator_list):
        return []
    return [arg.arg for arg in (*method.args.posonlyargs, *method.args.args)][:1]
