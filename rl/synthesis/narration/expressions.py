"""The values of expressions, over plain Python objects and by the allow-lists of `library`."""

import ast
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import NoneType
from typing import Any

from rl.synthesis.narration import library
from rl.synthesis.narration.frames import Frame, Function
from rl.synthesis.narration.library import Builtin, Method, Module, NoRule, perform

_MOST_STEPS = 30_000
"""Nodes evaluated in one run of a program."""


class Expressions:
    """Evaluates expressions in frames. What calls of the program's own functions do is left to `call_function`."""

    def __init__(self) -> None:
        self._steps = 0
        self.quiet = 0
        self._rules: dict[type[ast.expr], Callable[[Any, Frame], Any]] = {
            ast.Constant: lambda node, frame: node.value,
            ast.Name: lambda node, frame: frame.load(node.id),
            ast.List: lambda node, frame: list(self._items(node.elts, frame)),
            ast.Tuple: lambda node, frame: tuple(self._items(node.elts, frame)),
            ast.Set: lambda node, frame: perform(set, list(self._items(node.elts, frame))),
            ast.Dict: self._dict,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.BoolOp: self._boolean,
            ast.Compare: self._comparison,
            ast.IfExp: self._conditional,
            ast.Call: self._call,
            ast.Attribute: self._attribute,
            ast.Subscript: lambda node, frame: perform(
                operator.getitem, self.evaluate(node.value, frame), self.evaluate(node.slice, frame)
            ),
            ast.Slice: self._slice,
            ast.JoinedStr: lambda node, frame: "".join(self.evaluate(part, frame) for part in node.values),
            ast.FormattedValue: self._formatted,
            ast.Lambda: self.define,
            ast.NamedExpr: self._named,
            ast.ListComp: lambda node, frame: perform(list, self._produced(node, frame)),
            ast.SetComp: lambda node, frame: perform(set, self._produced(node, frame)),
            ast.DictComp: lambda node, frame: perform(dict, self._produced(node, frame)),
            ast.GeneratorExp: self._produced,
        }

    def call_function(self, function: Function, args: list[Any], named: dict[str, Any]) -> Any:
        """The value of a call of one of the program's functions."""
        raise NotImplementedError

    def evaluate(self, node: ast.expr, frame: Frame) -> Any:
        """The value of an expression.

        Raises:
            NoRule: it does something the interpreter has no rule for, or costs too much.
            Raised: it raises an exception.
        """
        self.count_step()
        if type(node) not in self._rules:
            raise NoRule(f"the expression {type(node).__name__}")
        return self._rules[type(node)](node, frame)

    def count_step(self) -> None:
        """Called for all that takes time.

        Raises:
            NoRule: there were too many steps.
        """
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise NoRule("a run that is too long")

    def _items(self, nodes: list[ast.expr], frame: Frame) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, ast.Starred):
                yield from self.iterated(self.evaluate(node.value, frame))
            else:
                yield self.evaluate(node, frame)

    def iterated(self, value: Any) -> Iterator[Any]:
        """The items of a value, each one a step.

        Raises:
            NoRule: it is a set whose order depends on the process.
        """
        library.check_order(value)
        iterator = perform(iter, value)
        while True:
            try:
                item = perform(next, iterator)
            except library.Raised as raised:
                if isinstance(raised.error, StopIteration):
                    return
                raise
            self.count_step()
            yield item

    def _dict(self, node: ast.Dict, frame: Frame) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                perform(made.update, self.evaluate(value, frame))
            else:
                at = self.evaluate(key, frame)
                perform(made.__setitem__, at, self.evaluate(value, frame))
        return made

    def _binary(self, node: ast.BinOp, frame: Frame) -> Any:
        left = self.evaluate(node.left, frame)
        return library.binary(type(node.op).__name__, left, self.evaluate(node.right, frame))

    def _unary(self, node: ast.UnaryOp, frame: Frame) -> Any:
        value = self.evaluate(node.operand, frame)
        match node.op:
            case ast.Not():
                return not value
            case ast.USub():
                return perform(lambda: -value)
            case ast.UAdd():
                return perform(lambda: +value)
            case _:
                return perform(lambda: ~value)

    def _boolean(self, node: ast.BoolOp, frame: Frame) -> Any:
        stops_at = isinstance(node.op, ast.Or)
        value = None
        for part in node.values:
            value = self.evaluate(part, frame)
            if bool(value) is stops_at:
                break
        return value

    def _comparison(self, node: ast.Compare, frame: Frame) -> Any:
        left, result = self.evaluate(node.left, frame), True
        for operation, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.evaluate(right_node, frame)
            if isinstance(operation, ast.Is | ast.IsNot):
                result = self._identical(left, right) is isinstance(operation, ast.Is)
            else:
                result = perform(library.COMPARE[type(operation).__name__], left, right)
            if not result:
                break
            left = right
        return result

    def _identical(self, left: Any, right: Any) -> bool:
        """Raises NoRule where identity is an accident of the interpreter: equal ints, strings, tuples."""
        accidental = (int, float, complex, str, bytes, tuple, frozenset)
        if type(left) is type(right) and isinstance(left, accidental) and not isinstance(left, bool | NoneType):
            raise NoRule("the identity of an immutable value")
        return left is right

    def _conditional(self, node: ast.IfExp, frame: Frame) -> Any:
        return self.evaluate(node.body if self.evaluate(node.test, frame) else node.orelse, frame)

    def _slice(self, node: ast.Slice, frame: Frame) -> slice:
        bounds = (None if bound is None else self.evaluate(bound, frame) for bound in (node.lower, node.upper, node.step))
        return slice(*bounds)

    def _formatted(self, node: ast.FormattedValue, frame: Frame) -> str:
        value = self.evaluate(node.value, frame)
        spec = "" if node.format_spec is None else self.evaluate(node.format_spec, frame)
        return library.formatted(value, node.conversion, spec)

    def _named(self, node: ast.NamedExpr, frame: Frame) -> Any:
        value = self.evaluate(node.value, frame)
        frame.store(node.target.id, value)
        return value

    def define(self, node: ast.FunctionDef | ast.Lambda, frame: Frame) -> Function:
        """A function of the program, its defaults evaluated."""
        spec = node.args
        named = zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
        return Function(
            node,
            frame,
            tuple(self.evaluate(default, frame) for default in spec.defaults),
            {arg.arg: self.evaluate(default, frame) for arg, default in named if default is not None},
        )

    def _produced(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, frame: Frame) -> Iterator[Any]:
        """The items a comprehension makes, one by one; its first source is evaluated at once, as Python does."""
        if any(generator.is_async for generator in node.generators):
            raise NoRule("an asynchronous comprehension")
        bound = {
            part.id
            for generator in node.generators
            for part in ast.walk(generator.target)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
        }
        inner = Frame(frame, frozenset(bound), is_comprehension=True)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        first = self.evaluate(node.generators[0].iter, frame)

        def produce(depth: int, source: Any) -> Iterator[Any]:
            generator = node.generators[depth]
            for item in self.iterated(source):
                self.bind(generator.target, item, inner)
                with self.unheard():
                    kept = all(self.evaluate(test, inner) for test in generator.ifs)
                if not kept:
                    continue
                if depth + 1 < len(node.generators):
                    yield from produce(depth + 1, self.evaluate(node.generators[depth + 1].iter, inner))
                else:
                    with self.unheard():
                        made = [self.evaluate(part, inner) for part in parts]
                    yield tuple(made) if len(made) > 1 else made[0]

        return produce(0, first)

    def bind(self, target: ast.expr, value: Any, frame: Frame) -> None:
        """Assigns a value to a target: a name, an item, or several.

        Raises:
            NoRule: the target is of another kind.
            Raised: the assignment raises.
        """
        match target:
            case ast.Name(id=name):
                frame.store(name, value)
            case ast.Subscript(value=box, slice=index):
                perform(operator.setitem, self.evaluate(box, frame), self.evaluate(index, frame), value)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                self._unpack(targets, list(self.iterated(value)), frame)
            case _:
                raise NoRule(f"an assignment to {type(target).__name__}")

    def _unpack(self, targets: list[ast.expr], items: list[Any], frame: Frame) -> None:
        starred = [index for index, target in enumerate(targets) if isinstance(target, ast.Starred)]
        if len(items) < len(targets) - len(starred) or (len(items) > len(targets) and not starred):
            raise library.Raised(ValueError("the number of values to unpack"))
        if starred:
            at, behind = starred[0], len(targets) - starred[0] - 1
            end = len(items) - behind
            items = [*items[:at], items[at:end], *items[end:]]
        for target, item in zip(targets, items, strict=True):
            self.bind(target.value if isinstance(target, ast.Starred) else target, item, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Any:
        receiver = self.evaluate(node.value, frame)
        if isinstance(receiver, Module):
            return library.member(receiver.name, node.attr)
        kind = receiver if isinstance(receiver, type) else type(receiver)
        if node.attr not in library.METHODS.get(kind, ()):
            raise NoRule(f"the attribute {node.attr}")
        return Method(receiver, node.attr)

    def _call(self, node: ast.Call, frame: Frame) -> Any:
        called = self.evaluate(node.func, frame)
        args = list(self._items(node.args, frame))
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, frame)
            named |= {keyword.arg: value} if keyword.arg is not None else perform(dict, value)
        return self.call(called, args, named)

    def call(self, called: Any, args: list[Any], named: dict[str, Any]) -> Any:
        """The value of a call.

        Raises:
            NoRule, Raised: as `evaluate`.
        """
        self.count_step()
        if isinstance(called, Function):
            return self.call_function(called, args, named)
        if isinstance(called, Method):
            return self._call_method(called, args, named)
        if called == Builtin("print"):
            return None
        if isinstance(called, Builtin | type):
            name = called.name if isinstance(called, Builtin) else called.__name__
            library.check_function(name, args, named)
            if name in ("map", "filter") and args:
                args = [self._python(args[0]), *args[1:]]
            function = library.FUNCTIONS[name] if isinstance(called, Builtin) else called
            return perform(function, *args, **self._with_key(named))
        if callable(called) and called in library.PURE:
            return perform(called, *args, **named)
        raise NoRule("a call")

    def _call_method(self, method: Method, args: list[Any], named: dict[str, Any]) -> Any:
        receiver = method.receiver
        if isinstance(receiver, type) and method.name not in ("fromkeys", "maketrans"):
            if not args or type(args[0]) is not receiver:
                raise NoRule("a method of a type")
            receiver, args = args[0], args[1:]
        library.check_method(receiver, method.name, args, named)
        result = perform(getattr(receiver, method.name), *args, **self._with_key(named))
        library.check_size(receiver)
        return result

    def _with_key(self, named: dict[str, Any]) -> dict[str, Any]:
        """Named arguments, `key` as a Python function."""
        return {name: self._python(value) if name == "key" else value for name, value in named.items()}

    def _python(self, function: Any) -> Any:
        """A function of the program as one that Python can call; what happens in it is not told."""
        if function is None:
            return None

        def called(*args: Any, **named: Any) -> Any:
            with self.unheard():
                return self.call(function, list(args), named)

        return called

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """While this is open, nothing is told but the anchors."""
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1
