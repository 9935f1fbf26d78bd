"""A board's TOML fields, read strictly: anything unknown, missing or of another type is refused.

Only the shape is looked at here; whether the map fits its flash says fit.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent import protocol
from host_tools.board import partitions
from host_tools.board.facts import (
    ESP32,
    PORTS,
    REGIONS,
    STM32,
    Board,
    Esp32,
    Partition,
    Region,
    Stm32,
)
from host_tools.errors import EXIT_USAGE, ToolError

_LEAST_ERASE = 256
_LEAST_BAUD = 300
_MOST = 0xFFFFFFFF
_PARTITIONS_MAX = 95  # a partition table holds no more
_RUNS_MAX = 16  # of sectors of one size
_FIELDS = {
    "": {"name", "description", "chip", "hardware", "flash", "regions", "serial"},
    "chip": {"family", "port"},
    "hardware": {"vendor_domain", "class", "revision"},
    "flash": {"size", "erase", "write", "erased"},
    "regions": set(REGIONS),
    "serial": {"baud"},
} | {f"regions.{name}": {"offset", "size"} for name in REGIONS}
# The table of one port only.
_OF_PORT = {
    ESP32: {"chip_id", "flash_size", "partitions"},
    STM32: {"rom_part", "external", "sectors"},
}
_OF_PARTITION = {"name", "type", "subtype", "offset", "size"}


def read(fields: Mapping[str, Any]) -> Board:
    """A board from its TOML fields; ToolError BAD_BOARD names the field."""
    port = _choice(fields, PORTS, "chip", "port")
    _refuse_all_unknown(fields, port)
    board = Board(
        name=_name(fields, "name"),
        description=_text(fields, "description"),
        family=_text(fields, "chip", "family"),
        port=port,
        vendor_domain=_text(fields, "hardware", "vendor_domain"),
        device_class=_text(fields, "hardware", "class"),
        revision=_name(fields, "hardware", "revision"),
        flash_size=_number(fields, 1, _MOST, "flash", "size"),
        erase_bytes=_power_of_two(fields, _LEAST_ERASE, "flash", "erase"),
        write_bytes=_power_of_two(fields, 1, "flash", "write"),
        erased=_number(fields, 0, 0xFF, "flash", "erased"),
        regions=_regions(fields),
        baud=_number(fields, _LEAST_BAUD, _MOST, "serial", "baud"),
        esp32=_esp32(fields) if port == ESP32 else None,
        stm32=_stm32(fields) if port == STM32 else None,
    )
    if board.erased not in (0x00, 0xFF):
        raise bad("flash.erased is 0x00 or 0xFF")
    return board


def bad(text: str) -> ToolError:
    """The error for what is no board."""
    return ToolError("BAD_BOARD", text, EXIT_USAGE)


def _refuse_all_unknown(fields: Mapping[str, Any], port: str) -> None:
    known = dict(_FIELDS)
    if port in _OF_PORT:
        known[""] = known[""] | {port}
        known[port] = _OF_PORT[port]
    for where, names in known.items():
        _refuse_unknown(_get(fields, *where.split(".")) if where else fields, where, names)


def _refuse_unknown(found: Any, where: str, known: set[str]) -> None:
    for name in found if isinstance(found, Mapping) else ():
        if name not in known:
            raise bad(f"{where}.{name} is unknown".lstrip("."))


# --- one field ----------------------------------------------------------------------------------
def _get(fields: Any, *names: str) -> Any:
    for name in names:
        if not isinstance(fields, Mapping) or name not in fields:
            raise bad(f"{'.'.join(names)} is missing")
        fields = fields[name]
    return fields


def _text(fields: Any, *names: str) -> str:
    value = _get(fields, *names)
    if not isinstance(value, str) or not value:
        raise bad(f"{'.'.join(names)} is no text")
    return value


def _name(fields: Any, *names: str) -> str:
    value = _text(fields, *names)
    if not protocol.is_name(value):
        raise bad(f"{'.'.join(names)} takes letters, digits, '.', '_' and '-' only")
    return value


def _choice(fields: Any, choices: tuple[str, ...], *names: str) -> str:
    value = _text(fields, *names)
    if value not in choices:
        raise bad(f"{'.'.join(names)} {value} is none of {', '.join(choices)}")
    return value


def _number(fields: Any, least: int, most: int, *names: str) -> int:
    return _in_range(_get(fields, *names), least, most, ".".join(names))


def _in_range(value: Any, least: int, most: int, where: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise bad(f"{where} is no number of {least} to {most}")
    return value


def _power_of_two(fields: Any, least: int, *names: str) -> int:
    value = _number(fields, least, _MOST, *names)
    if value & (value - 1):
        raise bad(f"{'.'.join(names)} is no power of two")
    return value


def _list(fields: Any, most: int, *names: str) -> list[Any]:
    value = _get(fields, *names)
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise bad(f"{'.'.join(names)} is no list of 1 to {most}")
    return value


# --- parts --------------------------------------------------------------------------------------
def _regions(fields: Any) -> dict[str, Region]:
    return {
        name: Region(
            _number(fields, 0, _MOST, "regions", name, "offset"),
            _number(fields, 1, _MOST, "regions", name, "size"),
        )
        for name in REGIONS
    }


def _esp32(fields: Any) -> Esp32:
    listed = _list(fields, _PARTITIONS_MAX, "esp32", "partitions")
    return Esp32(
        chip_id=_number(fields, 0, 0xFFFF, "esp32", "chip_id"),
        flash_size=_number(fields, 1, _MOST, "esp32", "flash_size"),
        partitions=tuple(
            _partition(entry, f"esp32.partitions[{i}]") for i, entry in enumerate(listed)
        ),
    )


def _partition(entry: Any, where: str) -> Partition:
    _refuse_unknown(entry, where, _OF_PARTITION)
    try:
        kind = _choice(entry, tuple(partitions.SUBTYPES), "type")
        return Partition(
            name=_name(entry, "name"),
            kind=kind,
            subtype=_subtype(_get(entry, "subtype"), kind),
            offset=_number(entry, 0, _MOST, "offset"),
            size=_number(entry, 1, _MOST, "size"),
        )
    except ToolError as error:
        raise bad(f"{where}: {error}") from error


def _subtype(value: Any, kind: str) -> str:
    """One of ESP-IDF's names; a number that has a name becomes that name, so each has one spelling."""
    known = partitions.SUBTYPES[kind]
    if isinstance(value, str) and value in known:
        return value
    number = _in_range(value, 0, 0xFE, "subtype")
    return next((name for name, one in known.items() if one == number), f"0x{number:02x}")


def _stm32(fields: Any) -> Stm32:
    external = _get(fields, "stm32", "external")
    if not isinstance(external, bool):
        raise bad("stm32.external is neither true nor false")
    return Stm32(
        rom_part=_number(fields, 0, 1, "stm32", "rom_part"),  # MicroPython has two at most
        external=external,
        sectors=tuple(_run(one) for one in _list(fields, _RUNS_MAX, "stm32", "sectors")),
    )


def _run(entry: Any) -> tuple[int, int]:
    if not isinstance(entry, list) or len(entry) != 2:
        raise bad("stm32.sectors is no list of [count, size]")
    count, size = (_in_range(value, 1, _MOST, "stm32.sectors") for value in entry)
    return count, size
