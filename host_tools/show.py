"""`chargeflash show`: what is in a file, whatever state it is in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agent import protocol
from host_tools import artifact, boards, files
from host_tools.describe import Facts, describe
from host_tools.describe_flash import describe_flash, describe_slot
from host_tools.errors import EXIT_VERIFICATION, ToolError

SCHEMA = 1
_INDENT = "  "


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--board", "board_name", help="Needed for a whole flash and for a raw slot.")
@click.option("--json", "as_json", is_flag=True)
def show(file: Path, board_name: str | None, as_json: bool) -> None:
    """Show FILE: a container of any kind, a slot, a flash, or the folder of an artifact.

    Checks digests and no signatures: that is what `verify` is for. Exit code 4 if it is
    damaged; of a slot or a flash: if what is armed or confirmed is damaged.
    """
    board = boards.load(board_name) if board_name is not None else None
    facts = look(file, board)
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "file": str(file)} | facts, indent=1))
    else:
        click.echo(f"{_printable(str(file))}: {facts['what']}, not authenticated")
        for line in _lines(facts):
            click.echo(_printable(line))
    sys.exit(EXIT_VERIFICATION if facts.get("code") else 0)


def look(path: Path, board: boards.Board | None) -> Facts:
    """Facts of whatever is at `path`; a flash and a slot are known by the board's sizes.

    ToolError: NOT_FOUND, UNREADABLE, TOO_LARGE, NO_ARTIFACT.
    """
    if path.is_dir():
        return _artifact(path)
    data = files.read(path)
    if board and len(data) == board.flash_size:
        return describe_flash(data, board)
    if board and len(data) == board.regions["slot_a"].size:
        return describe_slot(data, board)
    return describe(data)


def _artifact(folder: Path) -> Facts:
    """An artifact's folder in a store: its index against its blocks."""
    index, blocks = _part(folder, "index.bin"), _part(folder, "blocks.bin")
    count = len(index) // protocol.ENTRY_BYTES
    facts: Facts = {"what": "artifact", "code": "", "detail": "", "authenticated": False}
    facts |= {"id": protocol.artifact_id(artifact.page_hashes(index)).hex(), "blocks": count}
    at, good, encodings = 0, 0, dict.fromkeys(protocol.ENCODING_NAMES, 0)
    for number in range(count):
        size, encoding, _, encoded_sha16, _ = protocol.parse_entry(index, number)
        good += protocol.sha16(blocks[at : at + size]) == encoded_sha16
        at += size
        name = dict(enumerate(protocol.ENCODING_NAMES)).get(encoding, f"unknown ({encoding})")
        encodings[name] = encodings.get(name, 0) + 1
    facts |= {"encodings": {name: n for name, n in encodings.items() if n}}
    facts |= {"bytes": len(blocks), "indexed_bytes": at, "blocks_that_fit": good}
    if good != count or at != len(blocks) or len(index) % protocol.ENTRY_BYTES or not count:
        facts |= {"code": "DAMAGED", "detail": "the blocks are not those of the index"}
    return facts


def _part(folder: Path, name: str) -> bytes:
    try:
        return files.read(folder / name)
    except ToolError as error:
        text = f"{folder} is no artifact's folder: {error}"
        raise ToolError("NO_ARTIFACT", text, error.exit_code) from error


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """Facts as `name: value` lines, nested ones below their name."""
    entries = (
        value.items() if isinstance(value, dict) else ((f"[{i}]", v) for i, v in enumerate(value))
    )
    for name, inner in entries:
        if name in ("what", "authenticated") or inner == "":
            continue
        if name == "tlvs":
            yield f"{indent}tlvs:"
            yield from (f"{indent}{_INDENT}{_tlv(tlv)}" for tlv in inner)
        elif name == "files":
            yield f"{indent}files:"
            yield from (f"{indent}{_INDENT}{one['bytes']:>8}  {one['path']}" for one in inner)
        elif name == "json":
            yield from (indent + line for line in json.dumps(inner, indent=2).splitlines())
        elif isinstance(inner, dict | list) and inner:
            yield f"{indent}{name}:"
            yield from _lines(inner, indent + _INDENT)
        else:
            yield f"{indent}{name}: {_plain(inner)}"


def _tlv(tlv: Facts) -> str:
    return f"{tlv['area']:<11} {tlv['type']:<6} {tlv['name']:<12} {tlv['bytes']:>3}  {tlv['value']}"


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "unknown", True: "yes", False: "NO"}[value]
    return "none" if value in ({}, []) else str(value)


def _printable(text: str) -> str:
    """No byte of a file reaches the terminal as a control character."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
