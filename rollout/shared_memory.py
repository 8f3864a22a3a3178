"""The shared memory of an engine that is several processes."""

import os
import re
from contextlib import suppress
from pathlib import Path

import psutil

_VLLMS = re.compile(r"/dev/shm/(?:psm_|vllm_)\S+$", re.MULTILINE)


def forget_names() -> None:
    """Take away the names of the shared memory that vLLM has made below this process, which all keep that have it.

    For when every process of the engine has it: a kill leaves nothing then.
    """
    for process in psutil.Process().children(recursive=True):
        try:
            mapped = Path(f"/proc/{process.pid}/maps").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has just ended.
        for name in set(_VLLMS.findall(mapped)):
            with suppress(FileNotFoundError):
                os.unlink(name)
