"""`chargeflash board check`: each rule has a map that breaks it, and a map that fits serves the device."""

from __future__ import annotations

import copy
import json
import tomllib
from importlib import resources
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import app_host, manifest
from agent.update import journal
from bootloader_verify import counter, keyset_store
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import VerifyError
from bootloader_verify.ports import esp32, stm32
from bootloader_verify.records import Records
from bootloader_verify.slot import Slot, region
from host_tools import boards
from host_tools.board import fit, partitions
from host_tools.board.check import judge
from host_tools.board.facts import LOGS, Board
from host_tools.board.problem import CODES
from tests.host.published import Command
from tests.unit import esp32_chip, stm32_chip

ESP, S3, H743, F767, UNIX = (
    "esp32-4mb",
    "esp32s3-16mb",
    "stm32h743-nor",
    "stm32f767-nor",
    "virtual-esp32",
)
KIB = 1024


def fields(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("board_configs") / f"{name}.toml").read_text())


def bent(name: str, changes: dict[str, Any]) -> Board:
    """The board with other fields; a change's name is its path, a number counts in a list."""
    changed = copy.deepcopy(fields(name))
    for where, value in changes.items():
        inner: Any = changed
        *path, last = where.split(".")
        for step in path:
            inner = inner[int(step)] if step.isdigit() else inner[step]
        if value is None:
            del inner[int(last) if last.isdigit() else last]
        else:
            inner[last] = value
    return boards.parse(changed, must_fit=False)


def partition(name: str, kind: str, subtype: object, offset: int, size: int) -> dict[str, Any]:
    return {"name": name, "type": kind, "subtype": subtype, "offset": offset, "size": size}


def table(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return fields(ESP)["esp32"]["partitions"] + list(more)


# --- the boards that come with the project ----------------------------------------------------------
def test_every_board_fits() -> None:
    assert {ESP, S3, H743, F767, UNIX} <= set(boards.names())
    for name in boards.names():
        assert fit.problems(boards.load(name)) == []


def test_where_the_numbers_of_records_come_from() -> None:
    sizes = {name: log.payload_max for name, log in fit.RECORDS.items()}
    assert sizes["epoch"] == counter._PAYLOAD_BYTES
    assert sizes["keyset"] == keyset_store.CONTAINER_BYTES_MAX
    assert sizes["journal"] == journal.record_bytes(manifest.CONTAINER_BYTES_MAX)
    assert sizes["app_data"] == app_host.APP_RECORD_BYTES_MAX
    assert fit.RECORDS["epoch"].copies == counter._COPIES == keyset_store._COPIES
    assert set(fit.RECORDS) == set(LOGS)


# --- one broken map a rule ----------------------------------------------------------------------------
# (board, changes, code, what the line names). Other problems may come with it.
BROKEN = [
    (UNIX, {"flash.write": 8192}, "FLASH_UNITS", "flash.erase"),
    (UNIX, {"flash.write": 64}, "FLASH_UNITS", "32"),
    (UNIX, {"flash.size": 0x96800}, "FLASH_UNITS", "flash.size"),
    (ESP, {"flash.erase": 2048}, "FLASH_UNITS", "esp32.Partition"),
    (ESP, {"flash.erased": 0}, "FLASH_UNITS", "flash.erased"),
    (UNIX, {"regions.epoch.offset": 0x98100}, "MAP_ALIGN", "regions.epoch"),
    (UNIX, {"regions.epoch.size": 0x1F00}, "MAP_ALIGN", "regions.epoch"),
    (UNIX, {"regions.epoch.offset": 0x84000}, "MAP_OVERLAP", "regions.epoch"),
    (UNIX, {"regions.slot_a.offset": 0x20000}, "MAP_OVERLAP", "regions.slot_b"),
    (UNIX, {"regions.app_data.offset": 0xFE000}, "MAP_OUTSIDE", "regions.app_data"),
    (UNIX, {"flash.erase": 0x20000}, "MAP_COARSE", "8 erase sectors of 131072"),
    (UNIX, {"regions.slot_b.size": 0x3F000}, "SLOTS_DIFFER", "regions.slot_b"),
    (UNIX, {"regions.slot_b.size": 0x1000}, "SLOT_SMALL", "regions.slot_b"),
    (UNIX, {"regions.events.size": 0x3000}, "LOG_HALVES", "regions.events"),
    (UNIX, {"regions.keyset.size": 0x2000}, "LOG_SMALL", "7184"),
    (UNIX, {"regions.journal.size": 0x2000}, "LOG_SMALL", "6168"),
    (ESP, {"esp32.partitions.0": None}, "PART_MISSING", "(data, nvs)"),
    (ESP, {"esp32.partitions.1": None}, "PART_MISSING", "(data, ota)"),
    (ESP, {"esp32.partitions.5": None}, "PART_MISSING", "romfs"),
    (ESP, {"esp32.partitions.5.subtype": 0x8E}, "PART_MISSING", "0x8f"),
    (ESP, {"esp32.partitions.6.name": "files"}, "PART_MISSING", "vfs"),
    (ESP, {"esp32.partitions.2.name": "nvs"}, "PART_TWICE", "2 partitions are named nvs"),
    (ESP, {"esp32.partitions.2.subtype": "ota"}, "PART_TWICE", "(data, ota)"),
    (ESP, {"esp32.partitions.2.name": "x" * 16}, "PART_NAME", "x" * 16),
    (ESP, {"esp32.partitions.0.offset": 0x8000}, "PART_EARLY", "nvs"),
    (ESP, {"esp32.partitions.6.size": 0x11000}, "PART_OUTSIDE", "vfs"),
    (ESP, {"esp32.flash_size": 0x200000}, "PART_OUTSIDE", "ota_1"),
    (ESP, {"esp32.partitions.4.offset": 0x180000}, "PART_OVERLAP", "ota_1"),
    (ESP, {"esp32.partitions.4.offset": 0x191000}, "PART_ALIGN", "ota_1"),
    (ESP, {"esp32.partitions.0.size": 0x3800}, "PART_ALIGN", "nvs"),
    (ESP, {"esp32.partitions.5.offset": 0x310800}, "PART_ALIGN", "romfs"),
    (ESP, {"esp32.partitions.1.size": 0x1000}, "PART_SIZE", "otadata"),
    (ESP, {"esp32.partitions.0.size": 0x2000}, "PART_SIZE", "nvs"),
    (ESP, {"esp32.partitions.6.size": 0x8000}, "PART_SIZE", "vfs"),
    (ESP, {"esp32.partitions.4": None}, "OTA_SLOTS", "ota_1"),
    (ESP, {"esp32.partitions.4.subtype": "ota_2"}, "OTA_SLOTS", "ota_1"),
    (ESP, {"esp32.partitions.4.subtype": "ota_0"}, "OTA_SLOTS", "ota_1"),
    (ESP, {"esp32.partitions.4.size": 0x170000}, "OTA_SLOTS", "size"),
    (ESP, {"esp32.partitions.5.size": 0xDF000}, "ROMFS_SIZE", "0xdf000"),
    (F767, {"stm32.sectors": [[256, 4096]]}, "SECTORS_SUM", "0x100000"),
    (F767, {"stm32.sectors": [[448, 4096], [32, 8192]]}, "SECTOR_ERASE", "8192"),
    (F767, {"stm32.sectors": [[496, 4096], [2, 32768]]}, "SECTOR_ERASE", "32768"),
    (F767, {"stm32.sectors": [[445, 4096], [34, 8192]]}, "SECTOR_BORDER", "0x1c0000"),
    (F767, {"stm32.sectors": [[489, 4096], [12, 8192]]}, "SECTOR_BORDER", "0x1ea000"),
    (H743, {"flash.write": 2}, "WRITE_STEP", "4 bytes"),
    (F767, {"stm32.external": False}, "WRITE_STEP", "16 bytes"),
    (H743, {"stm32.external": False, "flash.write": 32}, "INTERNAL_ECC", "stm32h7"),
]


def ids(case: tuple[str, dict[str, Any], str, str]) -> str:
    return f"{case[2]}-{'-'.join(case[1])}"


@pytest.mark.parametrize("case", BROKEN, ids=ids)
def test_a_broken_map_is_named(case: tuple[str, dict[str, Any], str, str]) -> None:
    name, changes, code, named = case
    found = fit.problems(bent(name, changes))
    lines = [problem.text for problem in found if problem.code == code]
    assert any(named in line for line in lines), found
    assert all(":" in line or "needs" in line for line in lines)  # says what to do


def test_no_rule_without_a_broken_map() -> None:
    assert {code for _, _, code, _ in BROKEN} == set(CODES)


def test_all_that_is_wrong_is_told_at_once() -> None:
    changes = {
        "regions.slot_b.size": 0x64000,
        "regions.keyset.size": 0x2000,
        "esp32.partitions.1.size": 0x1000,
    }
    codes = [problem.code for problem in fit.problems(bent(ESP, changes))]
    assert codes == ["SLOTS_DIFFER", "LOG_SMALL", "PART_SIZE"]


def test_a_region_inside_of_another_hides_no_overlap() -> None:
    """slot_a reaches over epoch into keyset."""
    changes = {"regions.slot_b.offset": 0xC0000, "regions.slot_a.size": 0x83000}
    found = [one.text for one in fit.problems(bent(UNIX, changes)) if one.code == "MAP_OVERLAP"]
    assert len(found) == 2 and all("overlaps slot_a: 0x83000" in text for text in found)


def test_partitions_in_any_order_and_more_of_them() -> None:
    coredump = partition("coredump", "data", "coredump", 0x400000, 0x10000)
    more = {"esp32.partitions": table(coredump)[::-1], "esp32.flash_size": 0x800000}
    assert fit.problems(bent(ESP, more)) == []


# --- the chips' own flash -----------------------------------------------------------------------------
def internal(name: str, family: str, sectors: list[list[int]], erase: int, write: int) -> Board:
    """The smallest map there is: every region as few sectors as the rules ask for."""
    changes: dict[str, Any] = {
        "chip.family": family,
        "flash.size": sum(count * size for count, size in sectors),
        "flash.erase": erase,
        "flash.write": write,
        "stm32.sectors": sectors,
        "stm32.external": False,
    }
    for i, region_name in enumerate(("slot_a", "slot_b", *LOGS)):
        changes[f"regions.{region_name}.offset"] = 2 * erase * i
        changes[f"regions.{region_name}.size"] = 2 * erase
    return bent(name, changes)


def test_the_f767s_own_flash_holds_no_map() -> None:
    """Single bank: behind 4 x 32 and 128 KiB of firmware there are 7 sectors of 256 KiB."""
    for sectors, count in (
        ([[7, 256 * KIB]], 7),
        ([[4, 32 * KIB], [1, 128 * KIB], [7, 256 * KIB]], 8),
    ):
        found = fit.problems(internal(F767, "stm32f7", sectors, 256 * KIB, 16))
        coarse = [problem.text for problem in found if problem.code == "MAP_COARSE"]
        assert len(coarse) == 1 and f"no map fits {count} erase sectors" in coarse[0]
        assert "2 slots take 2 each at least, 5 logs 2 each, which makes 14" in coarse[0]
        assert {problem.code for problem in found} == {"MAP_COARSE", "MAP_OUTSIDE"}


def test_the_h743s_own_flash_holds_one_that_a_cut_can_spoil() -> None:
    found = fit.problems(internal(H743, "stm32h7", [[16, 128 * KIB]], 128 * KIB, 32))
    assert [problem.code for problem in found] == ["INTERNAL_ECC"]


def test_mixed_sectors_are_counted_from_the_start() -> None:
    mixed = internal(
        F767, "stm32f7", [[4, 32 * KIB], [1, 128 * KIB], [63, 256 * KIB]], 256 * KIB, 16
    )
    assert fit.problems(mixed) == []
    stm32 = mixed.stm32
    assert stm32 is not None
    borders = [k for k in range(0, 1024 * KIB + 1, 16 * KIB) if stm32.is_border(k)]
    assert borders == [k * KIB for k in (0, 32, 64, 96, 128, 256, 512, 768, 1024)]
    assert stm32.is_border(stm32.size) and not stm32.is_border(stm32.size + 256 * KIB)


# --- what fits, works ---------------------------------------------------------------------------------
class Blank:
    """A flash that was never written."""

    def __init__(self, board: Board) -> None:
        self.size_bytes, self.erased = board.flash_size, board.erased
        self.erase_bytes, self.write_bytes = board.erase_bytes, board.write_bytes

    def read(self, offset: int, buf: bytearray | memoryview) -> None:
        assert offset + len(buf) <= self.size_bytes
        buf[:] = bytes([self.erased]) * len(buf)


def board_module(board: Board) -> Any:
    facts: dict[str, Any] = {}
    exec(boards.board_module(board), facts)
    return SimpleNamespace(**facts)


def use(board: Board, flash: Any = None) -> None:
    """Everything that the device makes of a map; raises FlashError if it cannot."""
    module = board_module(board)
    flash = flash or Blank(board)
    assert EpochCounter(region(flash, module, "epoch")).read() == 0
    for name, log in fit.RECORDS.items():
        assert Records(region(flash, module, name), log.payload_max).seq == 0
    keys = SimpleNamespace(find=lambda _id: None)
    for name in ("a", "b"):
        with pytest.raises(VerifyError, match="BAD_MAGIC"):
            Slot(flash, module, name).verify(keys, (0, 1, 0, 0), 0, None)
    assert board.image_limit > 0


def test_the_device_can_use_every_map() -> None:
    for name in (ESP, F767, UNIX):  # the other two are as these, and larger
        use(boards.load(name))


def test_the_ports_take_the_generated_facts() -> None:
    """On the models of the chips; without them a board file and its port could differ unseen."""
    esp, f767 = boards.load(ESP), boards.load(F767)
    with esp32_chip.Chip(esp.flash_size):
        use(esp, esp32.open_flash(board_module(esp)))
    chip = stm32_chip.Chip("f767 qspi", f767.flash_size)
    use(f767, stm32.RomPart(board_module(f767), chip.rom_ioctl, chip.address_of, chip))


sector_counts = st.integers(0, 40)
some_map = st.fixed_dictionaries(
    {f"regions.{name}.offset": sector_counts for name in ("slot_a", "slot_b", *LOGS)}
    | {f"regions.{name}.size": st.integers(1, 8) for name in ("slot_a", "slot_b", *LOGS)}
)


@given(some_map, st.sampled_from([256, 4096, 8192]), st.sampled_from([1, 8, 32, 64]))
@settings(max_examples=150, deadline=None)
def test_a_map_either_fits_and_works_or_says_why(
    counts: dict[str, int], erase: int, write: int
) -> None:
    changes: dict[str, Any] = {where: count * erase for where, count in counts.items()}
    check_one(bent(UNIX, changes | {"flash.erase": erase, "flash.write": write}))


@given(st.permutations(["slot_a", "slot_b", *LOGS]), st.integers(2, 8), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_a_map_without_gaps(order: list[str], slot_sectors: int, pairs: int) -> None:
    """Mostly ones that fit."""
    changes, at = {}, 0
    for name in order:
        size = (slot_sectors if name.startswith("slot") else 2 * pairs) * 4096
        changes |= {f"regions.{name}.offset": at, f"regions.{name}.size": size}
        at += size
    check_one(bent(UNIX, changes))


def check_one(board: Board) -> None:
    found = fit.problems(board)
    if found:
        assert {problem.code for problem in found} <= set(CODES)
        return
    use(board)
    places = sorted((one.offset, one.end) for one in board.regions.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(places))


# --- the command --------------------------------------------------------------------------------------
@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def test_all_boards_without_a_name(command: Command) -> None:
    code, out, err = command("board", "check")
    assert (code, err) == (0, "")
    for name in boards.names():
        assert f"{name}: ok" in out.splitlines()


def test_the_picture(command: Command) -> None:
    code, out, _ = command("board", "check", ESP)
    lines = out.splitlines()
    assert code == 0 and lines[-1] == f"{ESP}: ok"
    assert "  0x0310000     896 KiB  romfs     data, 0x8f" in lines
    slot = "an image of up to 409600 bytes; trailer 4096, in units of 8"
    assert f"  0x0065000     404 KiB  slot_b    {slot}" in lines
    assert any(
        "2 x 170 records of 4 bytes; each half is erased every 170 saves" in x for x in lines
    )


def test_problems_one_a_line(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "tight.toml"
    source = (resources.files("board_configs") / f"{F767}.toml").read_text()
    path.write_text(source.replace("size = 0x200000", "size = 0x1D0000").replace("512,", "464,"))
    code, out, err = command("board", "check", path)
    told = [line for line in out.splitlines() if line.startswith(f"{path}: MAP_")]
    assert (code, err) == (1, "") and f"{path}: ok" not in out
    assert len(told) == 3 and all("MAP_OUTSIDE" in line for line in told)
    code, out, _ = command("board", "check", UNIX, path)
    assert code == 1 and f"{UNIX}: ok" in out


def test_no_board(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    path.write_text('name = "none"\n')
    code, out, _ = command("board", "check", path, UNIX)
    assert code == 2 and f"{path}: BAD_BOARD chip.port is missing" in out and f"{UNIX}: ok" in out
    code, out, _ = command("board", "check", "no-such-board")
    assert code == 3 and "no-such-board: UNKNOWN_BOARD" in out


def test_json(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("board", "check", ESP, tmp_path / "none.toml", "--json")
    answer = json.loads(out)
    assert (code, answer["schema"]) == (3, 1)
    good, missing = answer["boards"]
    assert good == judge(ESP) and good["fits"] and not good["problems"]
    assert [one["what"] for one in good["map"]][:2] == ["slot_a", "slot_b"]
    assert good["map"][0]["image_bytes"] == boards.load(ESP).image_limit
    assert sum(one["size"] for one in good["map"]) == good["flash"]["size"]
    assert sum(one["size"] for one in good["chip"]) == 0x400000
    assert not missing["fits"] and missing["problems"][0]["code"] == "UNKNOWN_BOARD"


def test_gaps_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "gaps.toml"
    source = (resources.files("board_configs") / f"{UNIX}.toml").read_text()
    path.write_text(source.replace("offset = 0x80000", "offset = 0x98000"))
    places = judge(str(path))["map"]
    free = [(one["offset"], one["size"]) for one in places if one["what"] == "free"]
    assert free == [(0x80000, 0x2000), (0x96000, 0x2000), (0x9A000, 0x66000)]


def test_a_map_that_does_not_fit_is_no_board_for_others(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "tight.toml"
    source = (resources.files("board_configs") / f"{UNIX}.toml").read_text()
    path.write_text(source.replace("size = 0x100000", "size = 0x90000"))
    said = command.fails("BAD_BOARD", 2, "show", path, "--board", path)
    assert "regions.events" in said and "(and 1 more)" in said and "board check" in said


def test_the_picture_of_a_map_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    source = (resources.files("board_configs") / f"{ESP}.toml").read_text()
    path.write_text(source.replace("size = 0x65000", "size = 0x1000").replace("0x8F", "0x90"))
    answer = judge(str(path))
    assert answer["flash"]["where"] == f"partition {partitions.ROMFS}"
    assert answer["map"][0]["holds"] == "no image"
