"""The RAM flash keeps the rules of the file port, and its cuts leave what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootloader_verify.errors import FlashError
from bootloader_verify.ports.unix import NorFile
from hil.virtual.device.virtual_cut import mix
from tests.power.flash_model import MASKS, PowerCut, RamNor, cuts

SIZE, SECTOR = 1024, 256
Step = tuple[str, int, int]


def steps(unit: int) -> st.SearchStrategy[list[Step]]:
    programs = st.tuples(
        st.just("program"), st.integers(0, SIZE // unit).map(unit.__mul__), st.integers(0, 40)
    )
    erases = st.tuples(st.just("erase"), st.sampled_from([0, 256, 512, 768, 13]), st.just(SECTOR))
    return st.lists(st.one_of(programs, erases), max_size=12)


def play(flash: RamNor | NorFile, step: Step) -> str:
    kind, offset, size = step
    try:
        if kind == "erase":
            flash.erase(offset, size)
        else:
            flash.program(offset, bytes([size + 1]) * size)
    except FlashError as error:
        return error.code
    return ""


@pytest.mark.parametrize("unit", [1, 4, 8, 32])
def test_both_flashes_answer_alike(unit: int, tmp_path: Path) -> None:
    count = 0

    @settings(max_examples=60, deadline=None)
    @given(steps(unit))
    def run(played: list[Step]) -> None:
        nonlocal count
        count += 1
        file = NorFile(str(tmp_path / f"{count}.bin"), SIZE, SECTOR, unit)
        ram = RamNor(SIZE, SECTOR, unit)
        for step in played:
            assert play(file, step) == play(ram, step)
        content = bytearray(SIZE)
        file.read(0, content)
        file.close()
        assert content == ram.image()

    run()


@given(st.binary(min_size=1, max_size=40), st.integers(0, 60), st.data())
def test_the_words_of_a_torn_operation(old: bytes, number: int, data: st.DataObject) -> None:
    size = len(old)
    wanted = data.draw(st.binary(min_size=size, max_size=size))
    part = min(number, size)
    assert mix(old, wanted, "before") == old and mix(old, wanted, "after") == wanted
    assert mix(old, wanted, f"prefix-{number}") == wanted[:part] + old[part:]
    assert mix(old, wanted, f"suffix-{number}") == old[: size - part] + wanted[size - part :]
    masked = mix(old, wanted, f"mask-{number}")
    assert masked == mix(old, wanted, f"mask-{number}")
    for before, after, torn in zip(old, wanted, masked, strict=True):
        assert (torn ^ before) & ~(before ^ after) == 0  # only bits that change may be torn


def test_masks_of_different_seeds_tear_differently() -> None:
    torn = {mix(b"\xff" * 32, bytes(32), f"mask-{seed}") for seed in range(MASKS)}
    assert len(torn) == MASKS


def test_a_cut_leaves_its_part_and_the_power_stays_off() -> None:
    flash = RamNor(SIZE, SECTOR, 4)
    flash.cut_at(1, "prefix-3")
    flash.program(0, b"abcd")
    with pytest.raises(PowerCut):
        flash.program(4, b"efgh")
    with pytest.raises(PowerCut):
        flash.read(0, bytearray(1))
    after = flash.clone()
    assert after.image()[:9] == b"abcdefg\xff\xff"
    after.erase(0, SECTOR)
    assert after.image() == b"\xff" * SIZE
    assert (after.wear, after.operations) == ([1, 0, 0, 0], 1)


def test_unstable_bits_read_differently_until_the_sector_is_erased() -> None:
    flash = RamNor(SIZE, SECTOR, 4)
    flash.cut_at(0, "unstable")
    with pytest.raises(PowerCut):
        flash.program(0, b"\x00\xff\x0f\xff")
    after = flash.clone()
    seen = set()
    for _ in range(100):
        buf = bytearray(5)
        after.read(0, buf)
        assert (buf[1], buf[2] & 0x0F, buf[3], buf[4]) == (0xFF, 0x0F, 0xFF, 0xFF)
        seen.add(bytes(buf))
    assert len(seen) > 20
    after.erase(0, SECTOR)
    after.read(0, buf)
    assert buf == b"\xff" * 5


def test_a_unit_programmed_with_erased_bytes_is_programmed() -> None:
    flash = RamNor(SIZE, SECTOR, 8)
    flash.program(0, b"\xff" * 8)
    with pytest.raises(FlashError, match="FLASH_REWRITE"):
        flash.program(0, bytes(8))


def test_cuts_name_every_prefix_of_a_short_write() -> None:
    named = list(cuts([("program", 0, 16), ("erase", 0, 256)]))
    assert {(0, f"prefix-{n}") for n in range(1, 16)} <= set(named)
    assert len([cut for cut in named if cut[0] == 0]) == 2 + 15 + 8 + 1
    assert {(1, "suffix-255"), (1, "prefix-16"), (1, "mask-7"), (1, "after")} <= set(named)
