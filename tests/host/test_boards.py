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
    refuse(fields(), where, value, named)


def refuse(bent: dict[str, Any], where: tuple[Any, ...], value: Any, named: str) -> None:
    inner: Any = bent
    for name in where[:-1]:
        inner = inner[name]
    if value is None:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    with refused("BAD_BOARD", 2) as caught:
        boards.parse(bent)
    assert named in str(caught.value)


ROM = {"rom_part": 0, "external": True, "sectors": [[256, 4096]]}
# Of the tables that one port only has: (board, where, value, what the error has to name).
WRONG_OF_PORT = [
    ("virtual-esp32", ("stm32",), ROM, "stm32 is unknown"),
    ("esp32-4mb", ("stm32",), ROM, "stm32 is unknown"),
    ("esp32-4mb", ("esp32",), None, "esp32 is missing"),
    ("esp32-4mb", ("esp32",), "all", "esp32.partitions is missing"),
    ("esp32-4mb", ("chip", "port"), "unix", "esp32 is unknown"),
    ("esp32-4mb", ("esp32", "cores"), 2, "esp32.cores is unknown"),
    ("esp32-4mb", ("esp32", "chip_id"), "ESP32", "esp32.chip_id"),
    ("esp32-4mb", ("esp32", "chip_id"), 0x10000, "esp32.chip_id"),
    ("esp32-4mb", ("esp32", "flash_size"), None, "esp32.flash_size"),
    ("esp32-4mb", ("esp32", "partitions"), [], "esp32.partitions"),
    ("esp32-4mb", ("esp32", "partitions"), {"nvs": 1}, "esp32.partitions"),
    ("esp32-4mb", ("esp32", "partitions", 0), "nvs", "esp32.partitions[0]"),
    ("esp32-4mb", ("esp32", "partitions", 3, "flags"), "encrypted", "esp32.partitions[3].flags"),
    ("esp32-4mb", ("esp32", "partitions", 3, "size"), None, "esp32.partitions[3]: size"),
    ("esp32-4mb", ("esp32", "partitions", 3, "offset"), "64K", "esp32.partitions[3]: offset"),
    ("esp32-4mb", ("esp32", "partitions", 3, "name"), "a,b", "esp32.partitions[3]: name"),
    ("esp32-4mb", ("esp32", "partitions", 3, "type"), "code", "esp32.partitions[3]: type code"),
    ("esp32-4mb", ("esp32", "partitions", 3, "subtype"), "nvs", "esp32.partitions[3]: subtype"),
    ("esp32-4mb", ("esp32", "partitions", 5, "subtype"), 0xFF, "esp32.partitions[5]: subtype"),
    ("stm32h743-nor", ("esp32",), {}, "esp32 is unknown"),
    ("stm32h743-nor", ("stm32", "rom_part"), 2, "stm32.rom_part"),
    ("stm32h743-nor", ("stm32", "external"), 1, "stm32.external"),
    ("stm32h743-nor", ("stm32", "external"), None, "stm32.external is missing"),
    ("stm32h743-nor", ("stm32", "sectors"), [], "stm32.sectors"),
    ("stm32h743-nor", ("stm32", "sectors"), [2048, 4096], "stm32.sectors"),
    ("stm32h743-nor", ("stm32", "sectors"), [[2048, 4096, 1]], "stm32.sectors"),
    ("stm32h743-nor", ("stm32", "sectors"), [[0, 4096]], "stm32.sectors"),
    ("stm32h743-nor", ("stm32", "sectors"), [[2048, 4096]] * 17, "stm32.sectors"),
    ("stm32h743-nor", ("stm32", "size"), 1, "stm32.size is unknown"),
]


@pytest.mark.parametrize(("name", "where", "value", "named"), WRONG_OF_PORT)
def test_so_does_one_of_a_chips_own_fields(
    name: str, where: tuple[Any, ...], value: Any, named: str
) -> None:
    text = (resources.files("board_configs") / f"{name}.toml").read_text()
    refuse(tomllib.loads(text), where, value, named)


def test_a_subtype_has_one_spelling() -> None:
    text = (resources.files("board_configs") / "esp32-4mb.toml").read_text()
    for spelled in ('"nvs"', "2", "0x02"):
        board = boards.parse(tomllib.loads(text.replace('subtype = "nvs"', f"subtype = {spelled}")))
        assert board == boards.load("esp32-4mb")


def test_a_slot_without_room_for_its_trailer() -> None:
    bent = fields()
    for name in ("slot_a", "slot_b"):
        bent["regions"][name]["size"] = 4096
    with refused("BAD_BOARD", 2) as caught:
        boards.parse(bent)
    assert "slot" in str(caught.value)
