"""`chargeflash board check`: does a board's flash map fit, and what does it look like?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from bootloader_verify.errors import FlashError
from host_tools import boards
from host_tools.board import fit, partitions
from host_tools.board.facts import SLOTS, Board
from host_tools.errors import EXIT_FAILED, ToolError

SCHEMA = 1
_KIB = 1024


@click.command()
@click.argument("names", metavar="BOARD…", nargs=-1)
@click.option("--json", "as_json", is_flag=True)
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Prove that the flash map of each BOARD (a name or a .toml file) fits, and show it.

    Without BOARD: all that come with the project. Exit code 0: every map fits; 1: one does not;
    2 or 3: one is no board, or is not there.
    """
    answers = [judge(name) for name in names or boards.names()]
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "boards": answers}, indent=1))
    else:
        for answer in answers:
            for line in _lines(answer):
                click.echo(line)
    sys.exit(max(answer["exit_code"] for answer in answers))


def judge(name: str) -> dict[str, Any]:
    """The answer for one board, as it stands in the JSON output. Never raises for what a file holds."""
    answer: dict[str, Any] = {"board": name, "fits": False, "exit_code": 0, "problems": []}
    try:
        board = boards.load(name, must_fit=False)
    except ToolError as error:
        problems = [{"code": error.code, "text": str(error)}]
        return answer | {"exit_code": error.exit_code, "problems": problems}
    found = fit.problems(board)
    return answer | {
        "fits": not found,
        "exit_code": EXIT_FAILED if found else 0,
        "problems": [{"code": one.code, "text": one.text} for one in found],
        "flash": {
            "where": where(board),
            "size": board.flash_size,
            "erase": board.erase_bytes,
            "write": board.write_bytes,
            "erased": board.erased,
        },
        "chip": list(_chip(board)),
        "map": list(_map(board)),
    }


def where(board: Board) -> str:
    """Where the regions stand, in words."""
    if board.esp32 is not None:
        found = partitions.romfs(board.esp32)
        return f"partition {partitions.ROMFS}" + (f" at 0x{found.offset:x}" if found else "")
    if board.stm32 is not None:
        flash = "an external flash" if board.stm32.external else "the chip's own flash"
        return f"ROMFS part {board.stm32.rom_part}, {flash}"
    return "a file"


def _chip(board: Board) -> Iterator[dict[str, Any]]:
    """The whole chip, where the regions are a part of it that the board file names."""
    if board.esp32 is None:
        return
    end, behind = 0, "boot stage, partition table"
    for one in partitions.in_order(board.esp32):
        if one.offset > end:
            yield _place(end, one.offset - end, behind)
        yield _place(one.offset, one.size, one.name, f"{one.kind}, {one.subtype}")
        end, behind = max(end, one.end), "free"
    if end < board.esp32.flash_size:
        yield _place(end, board.esp32.flash_size - end, behind)


def _map(board: Board) -> Iterator[dict[str, Any]]:
    end = 0
    for name, region in sorted(board.regions.items(), key=lambda item: item[1].offset):
        if region.offset > end:
            yield _place(end, region.offset - end, "free")
        yield _place(region.offset, region.size, name) | _holds(board, name)
        end = max(end, region.end)
    if end < board.flash_size:
        yield _place(end, board.flash_size - end, "free")


def _place(offset: int, size: int, what: str, holds: str = "") -> dict[str, Any]:
    return {"offset": offset, "size": size, "what": what, "holds": holds}


def _holds(board: Board, name: str) -> dict[str, Any]:
    """What fits in, and how many saves or installs wear a sector by one erase."""
    if name in SLOTS:
        return _slot_holds(board, name)
    log = fit.RECORDS[name]
    count = log.per_half(board, board.regions[name].size)
    saves = 2 * count // log.copies
    often = f"every {saves} saves" if saves > 1 else "every save"
    text = (
        f"2 x {count} records of {log.payload_max} bytes; each half is erased {often} of that size"
    )
    facts = {"record_bytes": log.record_bytes(board), "saves_per_erase": saves}
    return facts | {"holds": text if count else "not one record"}


def _slot_holds(board: Board, name: str) -> dict[str, Any]:
    try:
        layout = board.layout(name.removeprefix("slot_"))
    except FlashError:
        return {"holds": "no image", "image_bytes": 0}
    rest = layout.slot_size - layout.image_limit
    text = (
        f"an image of up to {layout.image_limit} bytes; trailer {rest}, in units of {layout.unit}"
    )
    return {"holds": text, "image_bytes": layout.image_limit, "trailer_unit": layout.unit}


# --- for people -----------------------------------------------------------------------------------
def _lines(answer: dict[str, Any]) -> Iterator[str]:
    name = answer["board"]
    if "flash" in answer:
        yield from _picture(answer)
    for problem in answer["problems"]:
        yield f"{name}: {problem['code']} {problem['text']}"
    if answer["fits"]:
        yield f"{name}: ok"


def _picture(answer: dict[str, Any]) -> Iterator[str]:
    flash = answer["flash"]
    if answer["chip"]:
        yield f"{answer['board']}: the chip"
        yield from (_row(place) for place in answer["chip"])
    yield (
        f"{answer['board']}: {flash['where']}, {flash['size'] // _KIB} KiB, erase {flash['erase']}, "
        f"write {flash['write']}, erased 0x{flash['erased']:02x}"
    )
    yield from (_row(place) for place in answer["map"])


def _row(place: dict[str, Any]) -> str:
    size = f"{place['size'] / _KIB:g} KiB"
    row = f"  0x{place['offset']:07x}  {size:>10}  {place['what']:<9} {place['holds']}"
    return row.rstrip()
