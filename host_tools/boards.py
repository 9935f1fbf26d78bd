"""What a board is: one TOML file in board_configs, or one that the user names by its path.

The device gets the same facts as a generated module, `board_module`.
"""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from agent import protocol
from bootloader_verify.errors import FlashError
from bootloader_verify.trailer import Layout
from host_tools import files
from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE, ToolError

REGIONS = ("slot_a", "slot_b", "epoch", "keyset", "journal", "events", "app_data")
PORTS = ("unix",)
BLOCK_BYTES_MAX = 4096
_FILE_BYTES_MAX = 64 * 1024
# Everything that a board file says; anything else is a typing error.
_FIELDS = {
    "": {"name", "description", "chip", "hardware", "flash", "regions", "serial"},
    "chip": {"family", "port"},
    "hardware": {"vendor_domain", "class", "revision"},
    "flash": {"size", "erase", "write", "erased"},
    "regions": set(REGIONS),
    "serial": {"baud"},
} | {f"regions.{name}": {"offset", "size"} for name in REGIONS}


@dataclass(frozen=True)
class Region:
    """Bytes of the flash map."""

    offset: int
    size: int


@dataclass(frozen=True)
class Board:
    """Facts of one board; sizes in bytes. `vid`, `cid`: 16 bytes, see FORMATS, TLV 0x74 and 0x75."""

    name: str
    description: str
    family: str
    port: str
    vendor_domain: str
    device_class: str
    revision: str
    flash_size: int
    erase_bytes: int
    write_bytes: int
    erased: int
    regions: Mapping[str, Region]
    baud: int
    block_bytes_max: int = BLOCK_BYTES_MAX

    @property
    def vid(self) -> bytes:
        return uuid.uuid5(uuid.NAMESPACE_DNS, self.vendor_domain).bytes

    @property
    def cid(self) -> bytes:
        return uuid.uuid5(uuid.UUID(bytes=self.vid), self.device_class).bytes

    def layout(self, slot: str) -> Layout:
        """The trailer's offsets in slot "a" or "b"; `.image_limit`: the largest container."""
        size = self.regions[f"slot_{slot}"].size
        return Layout(size, self.write_bytes, self.erase_bytes, self.erased)

    @property
    def image_limit(self) -> int:
        """Bytes of the largest container that either slot takes."""
        return min(self.layout("a").image_limit, self.layout("b").image_limit)


def names() -> list[str]:
    """The boards that come with the project."""
    folder = resources.files("board_configs")
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml") and "example" not in entry.name
    )


def load(name: str) -> Board:
    """A board by name, or by the path of its TOML file. ToolError UNKNOWN_BOARD or BAD_BOARD."""
    if not name.endswith(".toml") and name not in names():
        raise _unknown(name)
    try:
        if name.endswith(".toml"):
            data = files.read(Path(name), _FILE_BYTES_MAX, "board file")
        else:
            data = (resources.files("board_configs") / f"{name}.toml").read_bytes()
    except ToolError as error:
        raise _unknown(name) if error.exit_code == EXIT_NOT_FOUND else error from error
    return parse(_toml(name, data))


def _toml(name: str, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except RecursionError as error:
        raise _bad(f"{name} is nested too deep") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise _bad(f"{name} is no TOML: {error}") from error


def _unknown(name: str) -> ToolError:
    text = f"there is no board {name}; known: {', '.join(names())}, or the path of a .toml file"
    return ToolError("UNKNOWN_BOARD", text, EXIT_NOT_FOUND)


def parse(fields: Mapping[str, Any]) -> Board:
    """A board from its TOML fields, every fact checked; ToolError BAD_BOARD names the field."""
    for where, known in _FIELDS.items():
        _refuse_unknown(fields, where, known)
    board = Board(
        name=_text(fields, "name"),
        description=_text(fields, "description"),
        family=_text(fields, "chip", "family"),
        port=_text(fields, "chip", "port"),
        vendor_domain=_text(fields, "hardware", "vendor_domain"),
        device_class=_text(fields, "hardware", "class"),
        revision=_text(fields, "hardware", "revision"),
        flash_size=_number(fields, 1, "flash", "size"),
        erase_bytes=_number(fields, 256, "flash", "erase"),
        write_bytes=_number(fields, 1, "flash", "write"),
        erased=_number(fields, 0, "flash", "erased"),
        regions=_regions(fields),
        baud=_number(fields, 300, "serial", "baud"),
    )
    _check(board)
    return board


def _refuse_unknown(fields: Any, where: str, known: set[str]) -> None:
    found = _get(fields, *where.split(".")) if where else fields
    for name in found if isinstance(found, Mapping) else ():
        if name not in known:
            raise _bad(f"{where}.{name} is unknown".lstrip("."))


def _get(fields: Any, *names: str) -> Any:
    for name in names:
        if not isinstance(fields, Mapping) or name not in fields:
            raise _bad(f"{'.'.join(names)} is missing")
        fields = fields[name]
    return fields


def _text(fields: Any, *names: str) -> str:
    value = _get(fields, *names)
    if not isinstance(value, str) or not value:
        raise _bad(f"{'.'.join(names)} is no text")
    return value


def _number(fields: Any, least: int, *names: str) -> int:
    value = _get(fields, *names)
    if type(value) is not int or not least <= value <= 0xFFFFFFFF:
        raise _bad(f"{'.'.join(names)} is no number of at least {least}")
    return value


def _regions(fields: Any) -> dict[str, Region]:
    return {
        name: Region(
            _number(fields, 0, "regions", name, "offset"),
            _number(fields, 1, "regions", name, "size"),
        )
        for name in REGIONS
    }


def _check(board: Board) -> None:
    if board.port not in PORTS:
        raise _bad(f"chip.port {board.port} is none of {', '.join(PORTS)}")
    if board.erased not in (0x00, 0xFF):
        raise _bad("flash.erased is 0x00 or 0xFF")
    for name, value in (("flash.erase", board.erase_bytes), ("flash.write", board.write_bytes)):
        if value & (value - 1):
            raise _bad(f"{name} is no power of two")
    if board.erase_bytes % board.write_bytes:
        raise _bad("flash.write is larger than flash.erase")
    if board.flash_size % board.erase_bytes:
        raise _bad("flash.size splits an erase sector")
    if not protocol.is_name(board.name) or not protocol.is_name(board.revision):
        raise _bad("name and hardware.revision take letters, digits, '.', '_' and '-' only")
    _check_map(board)
    _check_sizes(board)
    try:
        board.layout("a"), board.layout("b")
    except FlashError as error:
        raise _bad(f"a slot is too small: {error.detail}") from error


def _check_map(board: Board) -> None:
    end, before = 0, ""
    for name, region in sorted(board.regions.items(), key=lambda item: item[1].offset):
        if region.offset % board.erase_bytes or region.size % board.erase_bytes:
            raise _bad(f"regions.{name} splits an erase sector of {board.erase_bytes}")
        if region.offset < end:
            raise _bad(f"regions.{name} overlaps {before}")
        end, before = region.offset + region.size, name
        if end > board.flash_size:
            raise _bad(f"regions.{name} ends behind the flash")


def _check_sizes(board: Board) -> None:
    """An image has to fit both slots; everything else is a record log of two halves."""
    if board.regions["slot_a"].size != board.regions["slot_b"].size:
        raise _bad("regions.slot_b is not as large as regions.slot_a")
    for name, region in board.regions.items():
        if not name.startswith("slot_") and region.size % (2 * board.erase_bytes):
            raise _bad(f"regions.{name} is not made of two halves of whole erase sectors")


def _bad(text: str) -> ToolError:
    return ToolError("BAD_BOARD", text, EXIT_USAGE)


def board_module(board: Board) -> str:
    """The source of the device's `board` module."""
    regions = "".join(
        f"    {name!r}: (0x{region.offset:x}, 0x{region.size:x}),\n"
        for name, region in board.regions.items()
    )
    return f'''"""Facts of the board {board.name}. Generated from its TOML file."""

NAME = {board.name!r}
PORT = {board.port!r}
VID = {board.vid!r}
CID = {board.cid!r}
REVISION = {board.revision!r}
FLASH_SIZE = 0x{board.flash_size:x}
ERASE = {board.erase_bytes}
WRITE = {board.write_bytes}
ERASED = 0x{board.erased:02x}
BLOCK_BYTES_MAX = {board.block_bytes_max}
REGIONS = {{
{regions}}}
'''
