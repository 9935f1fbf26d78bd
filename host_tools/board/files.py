"""`chargeflash board files`: what a build of MicroPython needs to freeze agent and boot verifier.

The packages stay where they are and are named one by one in manifest.py, so that no module of
another chip gets into a base firmware. What is made here is shared with hil's virtual factory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import click

from bootloader_verify import keyset_store, ladder
from bootloader_verify.container import KIND_KEYSET
from bootloader_verify.errors import CodedError
from bootloader_verify.keyset import ALL_CLASSES, RELEASE, Keyset
from host_tools import boards, files, p256_table
from host_tools.board import partitions
from host_tools.board.facts import ESP32, PORTS, STM32, UNIX, Board
from host_tools.container import reader
from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE, EXIT_VERIFICATION, ToolError

PACKAGES = {
    name: Path(str(getattr(find_spec(name), "origin", ""))).parent
    for name in ("agent", "bootloader_verify")
}
_GENERATED = ("board", "factory_keyset", "factory_tables", "boot", "main")  # modules, frozen too
_KEYSET_BYTES_MAX = 64 * 1024
_PORTS_FOLDER = "ports"
_OWNERS = {"otadata": ESP32}  # modules of one chip that do not begin with its name
_BOOT = '"""Frozen so that no boot.py of the file system runs in front of the boot stage."""\n'
_MAIN = '''"""The base firmware starts here."""

import sys

# MicroPython looks into the file system first: no file there may stand in for a frozen module.
sys.path[:] = [".frozen"]

from agent.main import main

main()
'''


@click.command("files")
@click.argument("name", metavar="BOARD")
@click.option(
    "--keyset",
    "keyset_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The keys that this base firmware trusts.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--force", is_flag=True, help="Write over what is there.")
def files_command(name: str, keyset_file: Path, out: Path, force: bool) -> None:
    """Write what a build of MicroPython for BOARD needs: frozen modules, partition table."""
    board = boards.load(name)
    made = make(board, read_keyset(keyset_file, board))
    write_all(out, made, force)
    click.echo(f"{board.name}: {', '.join(sorted(made))} in {out}; next: {out / 'README.md'}")
    if missing := _missing_ports(board):
        click.echo(f"note: {missing}", err=True)


def make(board: Board, trusted: bytes) -> dict[str, str]:
    """File name -> content. ToolError NO_FROZEN_BUILD for a board that is a process."""
    if board.port == UNIX:
        text = f"{board.name} is a process: chargeflash board run makes its base firmware"
        raise ToolError("NO_FROZEN_BUILD", text, EXIT_USAGE)
    made = {
        "board.py": boards.board_module(board),
        "factory_keyset.py": keyset_module(trusted),
        "factory_tables.py": p256_table.module(keyset_store.unpack(trusted)),
        "boot.py": _BOOT,
        "main.py": _MAIN,
        "manifest.py": _manifest(board),
        "README.md": _readme(board),
    }
    return made | ({"partitions.csv": partitions.csv(board)} if board.esp32 else {})


def write_all(folder: Path, made: Mapping[str, str], force: bool) -> None:
    """All of them or, if one is there and may not be written over, none: ToolError EXISTS."""
    there = [name for name in sorted(made) if (folder / name).exists()]
    if there and not force:
        text = f"{folder} has {', '.join(there)} already: --force writes over them"
        raise ToolError("EXISTS", text, EXIT_USAGE)
    for name, content in made.items():
        files.write_new(folder / name, content.encode())


# --- the keys -------------------------------------------------------------------------------------
def keyset_module(trusted: bytes) -> str:
    """The source of the device's `factory_keyset` module."""
    return f'"""The keys that this base firmware trusts. Generated."""\n\nCONTAINER = {trusted!r}\n'


def read_keyset(path: Path, board: Board) -> bytes:
    """A keyset that its own ROOT keys signed and that lets images for `board` in.

    ToolError NOT_FOUND, UNREADABLE, TOO_LARGE, BAD_KEYSET.
    """
    data = files.read(path, _KEYSET_BYTES_MAX, "keyset")
    try:
        trusted = keyset_store.unpack(data)
        ladder.check(reader(data), len(data), trusted, ladder.Expect(KIND_KEYSET))
    except CodedError as error:
        text = f"{path} is no keyset: {error}; chargeflash keys keyset makes one"
        raise ToolError("BAD_KEYSET", text, EXIT_VERIFICATION) from error
    if not _lets_in(trusted, board):
        text = f"{path} trusts no RELEASE key for the class of {board.name}, {board.cid.hex()}"
        raise ToolError("BAD_KEYSET", f"{text}: no image would ever boot", EXIT_VERIFICATION)
    return data


def _lets_in(trusted: Keyset, board: Board) -> bool:
    """Is there a key that may sign images for this board?"""
    return any(
        key.role == RELEASE and key.device_class in (ALL_CLASSES, board.cid.hex())
        for key in trusted.keys.values()
        if key.id not in trusted.revoked
    )


# --- the modules ----------------------------------------------------------------------------------
def device_files(port: str, packages: Mapping[str, Path] = PACKAGES) -> Iterator[tuple[Path, Path]]:
    """(file, its place on the device) of all that runs on the chip of `port`."""
    for name, folder in packages.items():
        for path in sorted(folder.rglob("*.py")):
            place = Path(name) / path.relative_to(folder)
            if _is_for(place, port):
                yield path, place


def _is_for(place: Path, port: str) -> bool:
    """In a ports folder a module belongs to the chip whose name it begins with, or to all."""
    if place.parent.name != _PORTS_FOLDER:
        return True
    owner = _OWNERS.get(place.stem, place.stem.partition("_")[0])
    return owner not in PORTS or owner == port


def _missing_ports(board: Board) -> str:
    """What this chip still lacks, in words; "" if nothing."""
    wanted = [Path(name) / _PORTS_FOLDER / f"{board.port}.py" for name in PACKAGES]
    there = {place for _, place in device_files(board.port)}
    missing = [place.as_posix() for place in wanted if place not in there]
    if not missing:
        return ""
    return f"{' and '.join(missing)} is not written yet: this firmware cannot start the agent"


def _manifest(board: Board) -> str:
    """manifest.py in MicroPython's syntax; https://docs.micropython.org/en/latest/reference/manifest.html"""
    listed = [place for _, place in device_files(board.port)]
    sources = {folder.parent for folder in PACKAGES.values()}
    if len(sources) != 1:
        text = "agent and bootloader_verify do not stand in one folder"
        raise ToolError("NO_SOURCES", text, EXIT_NOT_FOUND)
    packages = "".join(
        f'package(\n    "{name}",\n'
        f"    files=(\n{_indented(name, listed)}    ),\n"
        f"    base_path=SOURCES,\n    opt=0,\n)\n"
        for name in PACKAGES
    )
    modules = "".join(f'module("{name}.py")\n' for name in _GENERATED)
    return f'''"""What the base firmware of {board.name} freezes. Generated by `chargeflash board files`."""

SOURCES = {str(sources.pop())!r}  # of agent/ and bootloader_verify/

include("$(PORT_DIR)/boards/manifest.py")
{packages}{modules}'''


def _indented(package: str, listed: list[Path]) -> str:
    inside = [place.relative_to(package) for place in listed if place.parts[0] == package]
    return "".join(f'        "{place.as_posix()}",\n' for place in inside)


def _readme(board: Board) -> str:
    steps = {ESP32: _esp32_steps, STM32: _stm32_steps}[board.port](board)
    missing = _missing_ports(board)
    note = f"\n**Not ready:** {missing}.\n" if missing else ""
    return f"""# Base firmware of {board.name}

Generated by `chargeflash board files`; make it anew when the board file, the keys or the device code change.
{note}
In MicroPython's `ports/{board.port}`, with this folder as DIR:

{steps}
Freeze the board's own `charger_io.py` too, by `module("charger_io.py")` in manifest.py: the calls of
hil/virtual/device/virtual_io.py, and `lan()` for Ethernet on an ESP32. Without it no application starts.
"""


def _esp32_steps(board: Board) -> str:
    assert board.esp32 is not None
    megabytes = board.esp32.flash_size >> 20
    return f"""1. In the board's `sdkconfig.board`: `CONFIG_PARTITION_TABLE_CUSTOM=y`,
   `CONFIG_PARTITION_TABLE_CUSTOM_FILENAME="DIR/partitions.csv"`,
   `CONFIG_ESPTOOLPY_FLASHSIZE_{megabytes}MB=y`.
2. In its `mpconfigboard.h`: `#define MICROPY_VFS_ROM (1)`.
3. `make BOARD=… FROZEN_MANIFEST=DIR/manifest.py`
4. Flash it, then put `device.json` on the file system.
"""


def _stm32_steps(board: Board) -> str:
    assert board.stm32 is not None
    where = "EXTERNAL_QSPI" if board.stm32.external else "INTERNAL_FLASH"
    part = board.stm32.rom_part
    return f"""1. MicroPython 1.29 or later: older ones cannot erase a part of a ROMFS part.
2. In the board's `mpconfigboard.h`: `#define MICROPY_HW_ROMFS_ENABLE_{where} (1)`,
   `#define MICROPY_HW_ROMFS_ENABLE_PART{part} (1)`.
3. In its linker script: `_micropy_hw_romfs_part{part}_start`, and `_micropy_hw_romfs_part{part}_size` of
   {board.flash_size >> 10}K or more.
4. `make BOARD=… FROZEN_MANIFEST=DIR/manifest.py`
5. Flash it, then put `device.json` on the file system.
"""
