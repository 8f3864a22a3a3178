"""Names while a program runs: one frame for the module, for each call, and for each comprehension."""

import ast
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from rl.anchors.names import own_nodes, parameters_of, scope_of
from rl.synthesis.narration.library import EXCEPTIONS, FUNCTIONS, TYPES, Builtin, NoRule, Raised


class _Unknown:
    """Stands for what the interpreter could not make: a class, a module."""


UNKNOWN = _Unknown()


@dataclass(slots=True)
class Frame:
    """The names of one scope in one run of it."""

    parent: "Frame | None" = None
    bound: frozenset[str] = frozenset()
    """Names that are this scope's own; the module's are whatever it holds."""
    global_names: frozenset[str] = frozenset()
    is_comprehension: bool = False
    names: dict[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> "Frame":
        """The outermost frame."""
        return self if self.parent is None else self.parent.module

    def _owner(self, name: str) -> "Frame":
        frame = self.module if name in self.global_names else self
        while frame.parent is not None and name not in frame.bound:
            frame = frame.parent
        return frame

    def load(self, name: str) -> Any:
        """The value of a name.

        Raises:
            Raised: it is not bound yet.
            NoRule: the interpreter does not know what it stands for.
        """
        frame = self._owner(name)
        if name in frame.names:
            if frame.names[name] is UNKNOWN:
                raise NoRule(f"the name {name}")
            return frame.names[name]
        if frame.parent is not None:
            raise Raised(UnboundLocalError(name))
        if name in TYPES:
            return TYPES[name]
        if name in EXCEPTIONS:
            return EXCEPTIONS[name]
        if name in FUNCTIONS or name == "print":
            return Builtin(name)
        raise NoRule(f"the name {name}")

    def store(self, name: str, value: Any) -> None:
        """Binds a name where it belongs."""
        if self.is_comprehension and name not in self.bound:  # `:=` binds in the scope around
            assert self.parent is not None
            self.parent.store(name, value)
        else:
            self._owner(name).names[name] = value

    def delete(self, name: str) -> None:
        """Unbinds a name.

        Raises:
            Raised: it is not bound.
        """
        if self._owner(name).names.pop(name, UNKNOWN) is UNKNOWN:
            raise Raised(NameError(name))

    def get(self, name: str) -> Any:
        """The value of a name, or `UNKNOWN`."""
        return self._owner(name).names.get(name, UNKNOWN)


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function or lambda of the program."""

    node: ast.FunctionDef | ast.Lambda
    frame: Frame
    """Where it was defined."""
    defaults: tuple[Any, ...]
    named_defaults: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name, `lambda` without one."""
        return self.node.name if isinstance(self.node, ast.FunctionDef) else "lambda"


def entered(function: Function, args: list[Any], named: dict[str, Any]) -> Frame:
    """The frame of a call, its parameters bound.

    Raises:
        Raised: the arguments do not fit the parameters.
    """
    spec = function.node.args
    frame = _empty_frame(function)
    names = [arg.arg for arg in (*spec.posonlyargs, *spec.args)]
    values = dict(zip(names[len(names) - len(function.defaults) :], function.defaults, strict=True))
    values |= function.named_defaults | dict(zip(names, args, strict=False))
    if spec.vararg is not None:
        values[spec.vararg.arg] = tuple(args[len(names) :])
    elif len(args) > len(names):
        raise Raised(TypeError("too many arguments"))
    allowed = {*(arg.arg for arg in spec.args), *(arg.arg for arg in spec.kwonlyargs)}
    extra = {name: value for name, value in named.items() if name not in allowed}
    if (extra and spec.kwarg is None) or not named.keys().isdisjoint(names[: len(args)]):
        raise Raised(TypeError("an argument that does not fit"))
    values |= {name: value for name, value in named.items() if name in allowed}
    if spec.kwarg is not None:
        values[spec.kwarg.arg] = extra
    for name in (*names, *(arg.arg for arg in spec.kwonlyargs)):
        if name not in values:
            raise Raised(TypeError(f"no argument for {name}"))
    order = [*names, *(arg.arg for arg in (spec.vararg, *spec.kwonlyargs, spec.kwarg) if arg is not None)]
    frame.names.update((name, values[name]) for name in order)
    return frame


def _empty_frame(function: Function) -> Frame:
    return Frame(function.frame, *_names_of(function.node))


@lru_cache(maxsize=64)
def _names_of(node: ast.FunctionDef | ast.Lambda) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a call binds, and those it declares global; a node is the same at every call."""
    if isinstance(node, ast.Lambda):
        spec = node.args
        starred = [arg for arg in (spec.vararg, spec.kwarg) if arg is not None]
        parameters = [arg.arg for arg in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *starred)]
        return frozenset(parameters), frozenset()
    scope = scope_of(node.body, parameters_of(node))
    declared = (part.names for part in own_nodes(node.body) if isinstance(part, ast.Global))
    return scope.bound, frozenset(name for names in declared for name in names)
