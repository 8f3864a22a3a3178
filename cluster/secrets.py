"""What looks like a secret: a configuration, and the dashboard that shows it, must hold none."""

import re

_ENDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS")
_WORDS = {"PASS", "PWD", "AUTH", "AUTHORIZATION"}
_PLACES = {"PATH", "FILE", "DIR", "SOCK", "MODE"}
"""A name that ends so says where a secret is, or whether one is wanted."""

_USER = re.compile(
    r"\b(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^\s/@:]*)(?P<colon>:?)(?P<password>[^\s/@]*)@", re.IGNORECASE
)
_VARIABLE = re.compile(r"\$\{\w+\}")


def names_a_secret(variable: str) -> bool:
    """Whether an environment variable of this name would hold a secret: WANDB_API_KEY, DB_PASS, but not MAX_TOKENS."""
    words = [word for word in re.split(r"[^A-Z0-9]+", variable.upper()) if word]
    if not words or words[-1] in _PLACES or words in (["PWD"], ["OLDPWD"]):
        return False
    return any(word in _WORDS or word.endswith(_ENDS) for word in words)


def holds_a_secret(text: str) -> bool:
    """Whether a URL in a text has a password, or over HTTP a user, which is a token; `${NAME}` in its place is none."""
    for found in _USER.finditer(text):
        secret = found["password"] if found["colon"] else found["user"] * found["scheme"].lower().endswith(("http", "https"))
        if secret and not _VARIABLE.fullmatch(secret):
            return True
    return False
