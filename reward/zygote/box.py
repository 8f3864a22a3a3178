"""What a program finds beside its own text: a folder with the files that came with it, and its standard input."""

import marshal
import os
import sys

from . import kernel

PATH = "/box"
_BYTES = 16 << 20
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8


class Box:
    """The folder of one zygote. Only the zygote writes to it; a program may read it."""

    def __init__(self, path: str, *, temporary: bool) -> None:
        """`temporary` says that the folder is on the machine's own disk; the zygote's parent has made it."""
        self.path = path
        self._temporary = temporary
        self._filled = False

    def fill(self, files: bytes) -> None:
        """Puts the files of the next run in place of the last one's; `files` is a marshalled mapping of names to bytes."""
        if self._filled:
            _empty(self.path)
            self._filled = False
        if files:
            self._filled = True
            for name, content in marshal.loads(files).items():
                path = os.path.join(self.path, name)
                os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
                with open(path, "wb") as file:
                    file.write(content)

    def enter(self) -> None:
        """Makes the folder the one that this process runs in and imports from first."""
        os.chdir(self.path)
        sys.path.insert(0, self.path)

    def remove(self) -> None:
        """Takes the folder away, where no namespace does: the parent may be no more."""
        if self._temporary:
            _empty(self.path)
            os.rmdir(self.path)


def _empty(path: str) -> None:
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            os.rmdir(os.path.join(folder, name))


def mounted(root: str) -> None:
    """Makes the folder's place in a root directory that is being built: memory of its own, gone with the zygote."""
    os.mkdir(root + PATH, mode=0o755)
    kernel.mount("tmpfs", root + PATH, "tmpfs", _NOSUID | _NODEV | _NOEXEC, f"size={_BYTES},nr_inodes=4096,mode=755")


def as_stdin(text: bytes) -> None:
    """Makes `text` what this process reads from descriptor 0."""
    descriptor = os.memfd_create("stdin")
    while text:
        text = text[os.write(descriptor, text) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.dup2(descriptor, 0)
    os.close(descriptor)
