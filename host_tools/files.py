"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from host_tools.errors import EXIT_USAGE, ToolError


def write_new(path: Path, data: bytes, mode: int = 0o644, replace: bool = True) -> None:
    """Write a file by way of a temporary one; ToolError EXISTS (unless `replace`) or UNWRITABLE."""
    if not replace and path.exists():
        text = f"{path} is there already and is not written over"
        raise ToolError("EXISTS", text, EXIT_USAGE)
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(new, path)
    except OSError as error:
        raise ToolError(
            "UNWRITABLE", f"{path} cannot be written: {error.strerror}", EXIT_USAGE
        ) from error
