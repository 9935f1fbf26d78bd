"""Board files: the one that comes with the project, and every typing error with its field."""

from __future__ import annotations

import copy
import tomllib
import uuid
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from host_tools import boards
from tests.host.published import refused

SOURCE = (resources.files("board_configs") / "virtual-esp32.toml").read_text()


def fields() -> dict[str, Any]:
    return copy.deepcopy(tomllib.loads(SOURCE))


def test_the_virtual_board() -> None:
    board = boards.load("virtual-esp32")
    assert board.vid == uuid.uuid5(uuid.NAMESPACE_DNS, "chargeflash.example").bytes
    assert board.cid == uuid.uuid5(uuid.UUID(bytes=board.vid), "wallbox-comms").bytes
    assert board.regions["slot_b"] == boards.Region(0x40000, 0x40000)
    assert board.image_limit == 0x40000 - 4096  # the trailer has a sector of its own
    assert "virtual-esp32" in boards.names()


def test_the_device_gets_the_same_facts() -> None:
    board = boards.load("virtual-esp32")
    module: dict[str, Any] = {}
    exec(boards.board_module(board), module)
    assert module["VID"] == board.vid and module["CID"] == board.cid
    assert module["REGIONS"] == {n: (r.offset, r.size) for n, r in board.regions.items()}
    assert (module["FLASH_SIZE"], module["ERASE"], module["WRITE"]) == (0x100000, 4096, 8)
    assert (module["ERASED"], module["PORT"], module["REVISION"]) == (0xFF, "unix", "A")
    assert module["BLOCK_BYTES_MAX"] == 4096 and module["NAME"] == "virtual-esp32"


def test_a_board_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(SOURCE.replace('"virtual-esp32"', '"other"'))
    assert boards.load(str(path)).name == "other"


@pytest.mark.parametrize("name", ["virtual-esp23", "", "../virtual-esp32", "no/such.toml"])
def test_a_board_that_is_not_there(name: str) -> None:
    with refused("UNKNOWN_BOARD", 3) as caught:
        boards.load(name)
    assert "virtual-esp32" in str(caught.value)


@pytest.mark.parametrize("data", [b"name = ", b"\xff\xfe", b'name = "x"\nname = "y"\n'])
def test_no_toml(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    with refused("BAD_BOARD", 2) as caught:
        boards.load(str(path))
    assert "bad.toml" in str(caught.value)


def test_toml_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a=" + "[" * 50_000)
    with refused("BAD_BOARD", 2) as caught:
        boards.load(str(path))
    assert "deep.toml" in str(caught.value)
    path.write_text("#" * 100_000)
    with refused("TOO_LARGE", 2):
        boards.load(str(path))
    path.unlink()
    path.symlink_to("/dev/zero")
    with refused("UNREADABLE", 2):
        boards.load(str(path))


# (where, value or None to leave it out, what the error has to name)
WRONG = [
    (("name",), None, "name"),
    (("name",), "two words", "name"),
    (("chip", "port"), "esp99", "chip.port"),
    (("chip", "cores"), 2, "chip.cores"),
    (("hardware",), None, "hardware"),
    (("hardware",), "wallbox", "hardware"),
    (("hardware", "class"), 7, "hardware.class"),
    (("hardware", "revision"), "A,B", "hardware.revision"),
    (("flash", "size"), "1M", "flash.size"),
    (("flash", "size"), True, "flash.size"),
    (("flash", "size"), 0x96000 + 100, "flash.size"),
    (("flash", "size"), 0x95000, "regions.app_data"),  # ends behind the flash
    (("flash", "erase"), 4095, "flash.erase"),
    (("flash", "write"), 0, "flash.write"),
    (("flash", "write"), 8192, "flash.write"),
    (("flash", "erased"), 0x5A, "flash.erased"),
    (("regions", "journal"), None, "regions.journal"),
    (("regions", "slot_c"), {"offset": 0, "size": 4096}, "regions.slot_c"),
    (("regions", "slot_a", "offset"), -4096, "regions.slot_a.offset"),
    (("regions", "slot_a", "offset"), 100, "regions.slot_a"),
    (("regions", "slot_a", "end"), 100, "regions.slot_a.end"),
    (("regions", "slot_b", "size"), None, "regions.slot_b.size"),
    (("regions", "slot_b", "size"), 0x3F000, "regions.slot_b"),
    (("regions", "slot_b", "offset"), 0x3F000, "regions.slot_b"),  # overlaps slot_a
    (("regions", "epoch", "size"), 0x1000, "regions.epoch"),  # one half only
    (("serial", "baud"), 0, "serial.baud"),
    (("version",), 1, "version"),
]


@pytest.mark.parametrize(("where", "value", "named"), WRONG)
def test_an_error_names_its_field(where: tuple[str, ...], value: Any, named: str) -> None:
    bent = fields()
    inner = bent
    for name in where[:-1]:
        inner = inner[name]
    if value is None:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    with refused("BAD_BOARD", 2) as caught:
        boards.parse(bent)
    assert named in str(caught.value)


def test_a_slot_without_room_for_its_trailer() -> None:
    bent = fields()
    for name in ("slot_a", "slot_b"):
        bent["regions"][name]["size"] = 4096
    with refused("BAD_BOARD", 2) as caught:
        boards.parse(bent)
    assert "slot" in str(caught.value)
