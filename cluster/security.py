"""Who may talk to a Ray cluster: whoever has its token."""

import os
from pathlib import Path


def present_token() -> None:
    """Show the token that is at hand to every cluster, unless RAY_AUTH_MODE says otherwise.

    To be called before Ray is imported. Ray's own clusters start with tokens; its job client presents one only if told to.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    at_hand = os.environ.get("RAY_AUTH_TOKEN") or (Path(named) if named else Path.home() / ".ray" / "auth_token").is_file()
    if at_hand:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
