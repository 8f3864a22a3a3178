"""Which families of methods a program uses: the papers' models are weakest where strings are worked on."""

import ast

_TYPES = (str, list, dict, set)
_OWN = {
    kind.__name__: {
        name
        for name in dir(kind)
        if not name.startswith("_") and not any(hasattr(other, name) for other in (*_TYPES, tuple) if other is not kind)
    }
    for kind in _TYPES
}
"""Names of methods that no other built-in collection has."""

_SHARED = {name for kind in _TYPES for name in dir(kind) if name[0] != "_"} - set().union(*_OWN.values())


def method_families(code: str) -> tuple[str, ...]:
    """The built-in types whose methods the program calls, by the methods' names alone: `("dict", "str")`.

    Names that several types have (`pop`, `count`) make `shared`; a program that calls no method makes `none`, and one
    that does not parse nothing at all.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    found = [kind for kind, names in _OWN.items() if called & names]
    found += ["shared"] if called & _SHARED else []
    return tuple(sorted(found)) or ("none",)
