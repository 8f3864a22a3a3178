"""How attacks are run: their source goes into the sandbox as files of the program, and what comes back is one line."""

import importlib
from pathlib import Path

from attacks import common

from reward.sandbox import Limits, Program
from reward.zygote_process import Zygote

THEMES = (
    "processes", "signals", "privileges", "namespaces", "files", "proc", "network", "memory", "interfaces", "descriptors",
)  # fmt: skip
FOLDER = Path(common.__file__).parent
THEME_OF: dict[str, str] = {}
for _theme in THEMES:
    importlib.import_module(f"attacks.{_theme}")
    THEME_OF |= {name: _theme for name in common.ATTACKS if name not in THEME_OF}

KILLED = {"x32_call", "negative_call", "i386_call"}
"""The filter ends the process at another calling convention, so the line before the attack is the last there is."""

# mov eax, 20; int 0x80; ret
I386 = b"\xb8\x14\0\0\0\xcd\x80\xc3"


def files(theme: str) -> dict[str, bytes]:
    """One theme as a package `attacks` that a program can import."""
    modules = ("__init__.py", "common.py", f"{theme}.py")
    return {f"attacks/{name}": (FOLDER / name).read_bytes() for name in modules} | {"i386.bin": I386}


FILES = {theme: files(theme) for theme in THEMES}


def attack(zygote: Zygote, name: str, folder: str) -> str:
    """The line by which an attack tells how it went, or else what became of its program."""
    theme = THEME_OF[name]
    code = f"import attacks.{theme}\nfrom attacks.common import outcome"
    call = f"outcome({name!r}, {zygote.pid}, {folder!r})"
    execution = zygote.run(Program(code, call, stdin="standard input", files=FILES[theme]), Limits())
    if execution.value is not None:
        return execution.value.strip("'")
    told = execution.stdout.splitlines() or ["nothing"]
    if told[-1].startswith("ESCAPED"):
        return told[-1]
    return f"{execution.verdict} after {told[-1]}" + (f": {execution.exception}" if execution.exception else "")


def blocked(name: str, line: str) -> bool:
    """Whether the line says that the attack of this name was held back."""
    return line.startswith(f"BLOCKED {name}: ") or (name in KILLED and line == f"crashed after ATTEMPT {name}")
