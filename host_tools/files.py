"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from host_tools.errors import EXIT_USAGE, ToolError


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
