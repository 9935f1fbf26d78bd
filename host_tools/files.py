"""Files that appear whole or not at all, and files that are read up to a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE, ToolError

BYTES_MAX = 64 * 1024 * 1024  # of the largest file that any command takes


def read(path: Path, limit: int = BYTES_MAX, what: str = "file") -> bytes:
    """All of a regular file of at most `limit` bytes; `what` it should be, for the error's text.

    ToolError NOT_FOUND, UNREADABLE or TOO_LARGE.
    """
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise ToolError("NOT_FOUND", f"there is no {what} {path}", EXIT_NOT_FOUND) from None
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}"
        raise ToolError("UNREADABLE", text, EXIT_USAGE) from error
    if len(data) > limit:
        text = f"{path} has more than the {limit} bytes of a {what}"
        raise ToolError("TOO_LARGE", text, EXIT_USAGE)
    return data


def open_regular(path: Path) -> IO[bytes]:
    """Open for reading. OSError, also for what is no regular file: a pipe would wait for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return open(handle, "rb")


def write_new(path: Path, data: bytes, mode: int = 0o644, replace: bool = True) -> None:
    """Write a file by way of a temporary one; ToolError EXISTS (unless `replace`) or UNWRITABLE.

    What is there and is no regular file (/dev/stdout, a pipe) is written to, never replaced.
    """
    if not replace and os.path.lexists(path):
        text = f"{path} is there already and is not written over"
        raise ToolError("EXISTS", text, EXIT_USAGE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a folder: IsADirectoryError
        else:
            _by_way_of(path.with_name(f".{path.name}.new"), path, data, mode, replace)
    except OSError as error:
        text = f"{path} cannot be written: {error.strerror}"
        raise ToolError("UNWRITABLE", text, EXIT_USAGE) from error


def _by_way_of(new: Path, path: Path, data: bytes, mode: int, replace: bool) -> None:
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        if replace:
            os.replace(new, path)
        else:
            os.link(new, path)  # FileExistsError if somebody was faster
    finally:
        new.unlink(missing_ok=True)
