"""What a board is: one TOML file in board_configs, or one that the user names by its path.

The device gets the same facts as a generated module, `board_module`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from host_tools import files
from host_tools.board import fields as board_fields
from host_tools.board import fit, partitions
from host_tools.board.facts import Board, Region
from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE, ToolError

__all__ = ["Board", "Region", "board_module", "load", "names", "parse"]

_FILE_BYTES_MAX = 64 * 1024


def names() -> list[str]:
    """The boards that come with the project."""
    folder = resources.files("board_configs")
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml") and "example" not in entry.name
    )


def load(name: str, must_fit: bool = True) -> Board:
    """A board by name, or by the path of its TOML file. ToolError UNKNOWN_BOARD or BAD_BOARD.

    `must_fit`: a map that does not fit its flash is a BAD_BOARD too.
    """
    if not name.endswith(".toml") and name not in names():
        raise _unknown(name)
    try:
        if name.endswith(".toml"):
            data = files.read(Path(name), _FILE_BYTES_MAX, "board file")
        else:
            data = (resources.files("board_configs") / f"{name}.toml").read_bytes()
    except ToolError as error:
        raise _unknown(name) if error.exit_code == EXIT_NOT_FOUND else error from error
    return parse(_toml(name, data), must_fit)


def _toml(name: str, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except RecursionError as error:
        raise board_fields.bad(f"{name} is nested too deep") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise board_fields.bad(f"{name} is no TOML: {error}") from error


def _unknown(name: str) -> ToolError:
    text = f"there is no board {name}; known: {', '.join(names())}, or the path of a .toml file"
    return ToolError("UNKNOWN_BOARD", text, EXIT_NOT_FOUND)


def parse(fields: Mapping[str, Any], must_fit: bool = True) -> Board:
    """A board from its TOML fields, every fact checked; ToolError BAD_BOARD names the field."""
    board = board_fields.read(fields)
    found = fit.problems(board) if must_fit else []
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        text = f"{found[0].text}{more}; chargeflash board check shows the whole map"
        raise ToolError("BAD_BOARD", text, EXIT_USAGE)
    return board


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
{_chip_facts(board)}'''


def _chip_facts(board: Board) -> str:
    """What the port of this chip asks for besides."""
    if board.esp32 is not None:
        facts = f'"chip_id": {board.esp32.chip_id}, "romfs": "{partitions.ROMFS}"'
        return f"ESP32 = {{{facts}}}\n"
    if board.stm32 is not None:
        facts = f'"rom_part": {board.stm32.rom_part}, "internal": {not board.stm32.external}'
        return f"STM32 = {{{facts}}}\n"
    return ""
