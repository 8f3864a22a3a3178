"""Names by role, and the literals that stand in generated programs."""

from random import Random

COLLECTIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ints": (
        ("numbers", "number"),
        ("values", "value"),
        ("scores", "score"),
        ("heights", "height"),
        ("levels", "level"),
        ("readings", "reading"),
        ("steps", "step"),
        ("sizes", "size"),
        ("costs", "cost"),
        ("ratings", "rating"),
        ("temps", "temp"),
        ("weights", "weight"),
    ),
    "words": (
        ("words", "word"),
        ("names", "name"),
        ("tags", "tag"),
        ("lines", "line"),
        ("items", "item"),
        ("tokens", "token"),
        ("labels", "label"),
        ("titles", "title"),
        ("cities", "city"),
        ("fields", "field"),
        ("colors", "color"),
    ),
    "tuple": (
        ("row", "cell"),
        ("point", "axis"),
        ("shape", "side"),
        ("record", "entry"),
        ("samples", "sample"),
        ("marks", "mark"),
        ("grades", "grade"),
    ),
    "set": (
        ("ids", "uid"),
        ("members", "member"),
        ("allowed", "ident"),
        ("blocked", "ident"),
        ("primes", "prime"),
        ("slots", "slot"),
        ("rooms", "room"),
        ("known", "code"),
    ),
    "floats": (("prices", "price"), ("rates", "rate"), ("lengths", "length"), ("samples", "sample"), ("fees", "fee")),
    "sets": (("groups", "group"), ("teams", "team"), ("clusters", "cluster"), ("baskets", "basket")),
    "tuples": (("rows", "row"), ("points", "point"), ("records", "record"), ("boxes", "box")),
    "dicts": (("orders", "order"), ("records", "record"), ("reports", "report"), ("carts", "cart")),
    "rows": (("rows", "row"), ("batches", "batch"), ("matrix", "row"), ("chunks", "chunk"), ("series", "run")),
    "lists": (("groups", "group"), ("paths", "path"), ("menus", "menu"), ("rosters", "roster")),
    "dict": (
        ("stock", "item", "amount"),
        ("ages", "person", "age"),
        ("prices", "product", "price"),
        ("votes", "option", "votes_cast"),
        ("points", "player", "score"),
        ("inventory", "item", "quantity"),
        ("grades", "student", "grade"),
        ("limits", "name", "limit"),
        ("counts", "word", "count"),
    ),
}
"""The name of a collection and of what a loop over it binds; for dictionaries the key and the value."""

SINGLES: dict[str, tuple[str, ...]] = {
    "int": ("limit", "threshold", "size", "offset", "n", "k", "start", "target", "bonus", "step", "base", "cap"),
    "float": ("price", "rate", "weight", "ratio", "distance", "speed", "balance", "amount", "height", "budget"),
    "str": ("text", "sentence", "phrase", "message", "title", "line", "name", "label", "pattern", "source", "suffix"),
}

SUMS: dict[str, tuple[str, ...]] = {
    "int": ("total", "score", "points", "result", "amount"),
    "float": ("total", "balance", "amount", "result"),
    "str": ("result", "output", "joined", "built", "text_out"),
    "ints": ("result", "collected", "kept", "selected", "found"),
    "words": ("result", "collected", "parts", "kept", "output"),
    "any": ("results", "rows", "collected", "history", "found"),
    "flags": ("flags", "checks", "outcomes"),
    "set": ("seen", "unique", "visited"),
    "dict": ("tally", "summary", "table", "lookup", "index"),
    "tuple": ("result", "picked", "combined"),
    "bool": ("valid", "accepted", "outcome"),
    "count": ("count", "hits", "matched"),
    "best": ("best", "highest", "peak"),
}
"""Names for what grows while the program runs, by kind."""

COPIES: dict[str, tuple[str, ...]] = {
    "ints": ("ordered", "remaining", "queue", "stack", "working", "updated"),
    "words": ("remaining", "queue", "stack", "pending", "updated"),
    "set": ("remaining", "current", "active", "pool"),
    "dict": ("updated", "remaining", "current", "merged"),
}

ELEMENTS: dict[str, str] = {
    "ints": "int",
    "words": "str",
    "tuple": "int",
    "set": "int",
    "str": "str",
    "dict": "str",
    "floats": "float",
    "sets": "set",
    "tuples": "tuple",
    "dicts": "dict",
    "rows": "ints",
    "lists": "words",
}
"""The kind of what a loop over a collection binds."""

_LOCALS = {
    "v": ("x", "v", "num", "val"),
    "u": ("y", "other"),
    "w": ("w", "part", "entry"),
    "i": ("i", "pos", "idx"),
    "k": ("key", "k"),
    "n": ("value", "v", "qty"),
}

_VERBS = {
    "int": ("score", "measure", "evaluate", "rate", "weigh"),
    "float": ("adjust", "estimate", "settle"),
    "str": ("format", "build", "rewrite", "render", "encode"),
    "bool": ("check", "verify", "accept"),
    "ints": ("collect", "select", "arrange", "scale"),
    "words": ("collect", "select", "arrange", "clean"),
    "set": ("filter", "collect", "gather"),
    "dict": ("summarize", "index", "update"),
}
_OTHER_VERBS = ("analyze", "inspect", "process", "describe", "examine", "handle")


def local(role: str, taken: set[str], rng: Random) -> str:
    """A name for inside a comprehension, unlike those taken."""
    names = [name for name in _LOCALS[role] if name not in taken]
    return rng.choice(names) if names else f"{_LOCALS[role][0]}_"


def function_name(kind: str, subject: str, rng: Random) -> str:
    """What to call a function that makes a value of this kind from its first parameter."""
    return f"{rng.choice(_VERBS.get(kind, _OTHER_VERBS))}_{subject}"


def literal(pool: str, rng: Random) -> str:
    """A literal from one of the pools that forms may ask for."""
    match pool:
        case "small":
            return str(rng.randint(1, 3))
        case "times":
            return rng.choice("223")
        case "num" | "int":
            return str(rng.randint(3, 9))
        case "base":
            return str(rng.choice((2, 3, 4, 5, 10)))
        case "width":
            return str(rng.randint(6, 12))
        case "ints":
            return f"[{rng.randint(1, 9)}, {rng.randint(1, 9)}]"
        case "words":
            return f'["{rng.choice(_STRINGS["str"])}", "{rng.choice(_STRINGS["char"])}"]'
        case "tuple":
            return f"({rng.randint(1, 9)}, {rng.randint(1, 9)})"
        case "dict":
            return f'{{"{rng.choice(_STRINGS["str"])}": {rng.randint(1, 9)}}}'
        case "decimal" | "float":
            return rng.choice(("0.5", "1.5", "2.5", "0.25", "1.25", "3.0"))
        case "code":
            return str(ord(rng.choice("aeiorst")))
        case "letter_code":
            return rng.choice(("97", "65", "100"))
        case "digits":
            return f'"{rng.randint(10, 99)}"'
        case "numbers" | "set":
            return "{" + ", ".join(map(str, sorted(rng.sample(range(1, 13), rng.randint(2, 4))))) + "}"
        case _:
            return f'"{rng.choice(_STRINGS[pool])}"'


_STRINGS: dict[str, tuple[str, ...]] = {
    "char": tuple("aeiorstnlm"),
    "sep": ("-", " ", ",", "_", "/", ":"),
    "piece": ("an", "er", "in", "on", "st", "re", "le", "!", "ed", "s"),
    "fill": ("*", "-", "0", ".", "=", "#"),
    "str": ("a", "e", "or", "in", "x", "key", "st", "tea", "red", "an"),
}
