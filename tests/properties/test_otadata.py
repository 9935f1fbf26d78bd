"""otadata: our reading of it is the bootloader's, whatever stands there, and no bytes break it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootloader_verify.errors import FlashError
from bootloader_verify.ports import otadata
from bootloader_verify.ports.esp32 import Area, partition_class
from bootloader_verify.ports.esp32_base import SLOTS, Bases
from bootloader_verify.ports.esp32_ota import BLOCK_BYTES, check_image
from tests.unit.esp32_chip import Chip, crc_of, entry
from tests.unit.esp32_image import app_image

APP = app_image(1, 4096)
SEQS = st.one_of(
    st.integers(0, 6), st.sampled_from([0xFFFFFFFE, 0xFFFFFFFF]), st.integers(0, 2**32 - 1)
)
STATES = st.one_of(st.integers(0, 5), st.just(0xFFFFFFFF), st.integers(0, 2**32 - 1))
WHOLE = st.builds(entry, SEQS, STATES)
ENTRIES = st.one_of(WHOLE, st.just(b"\xff" * 32), st.binary(min_size=32, max_size=32))


def chip_with(first: bytes, second: bytes) -> Chip:
    chip = Chip(0, 8192)
    for label in ("ota_0", "ota_1"):
        chip.place(label).put(0, APP)
    chip.place("otadata").put(0, first)
    chip.place("otadata").put(4096, second)
    return chip


@given(st.integers(0, 2**32 - 1))
def test_the_crc_is_that_of_the_rom(seq: int) -> None:
    assert otadata.crc(seq) == crc_of(seq)


@given(ENTRIES, ENTRIES)
def test_what_we_read_is_what_boots(first: bytes, second: bytes) -> None:
    """Before a reset: the slot that otadata names is the one that comes up, by the chip's own words."""
    entries = [otadata.Entry(first), otadata.Entry(second)]
    pending = any(one.state == otadata.PENDING for one in entries)
    chosen = otadata.active(entries)
    with chip_with(first, second) as chip:
        if chosen:
            assert chip.selected().label == f"ota_{chosen.slot(SLOTS)}"
        up = chip.boot()
        if chosen and not pending:
            assert up == f"ota_{chosen.slot(SLOTS)}"
        if chosen is None:
            assert up == "ota_0"


@given(ENTRIES, ENTRIES)
def test_after_a_boot_a_confirmation_or_keep_settles(first: bytes, second: bytes) -> None:
    """From any otadata at all, whatever came up can be made the one that boots again."""
    with chip_with(first, second) as chip:
        up = chip.boot()
        bases = Bases()
        assert bases.slots[bases.running].label == up
        if bases.state().selected == bases.running:
            bases.confirm()
        else:
            bases.keep()
        assert bases.state().settled
        assert chip.boot() == chip.boot() == up


@given(ENTRIES, ENTRIES)
def test_a_settled_base_comes_up_again(first: bytes, second: bytes) -> None:
    with chip_with(first, second) as chip:
        chip.boot()
        if Bases().state().settled:
            up, before = chip.running, chip.operations
            assert chip.boot() == up
            assert Bases().state().settled
            assert all(one[1] == "otadata" for one in chip.trace[before:])


@given(st.binary(max_size=64), st.integers(0, 2**20), st.integers(0, 0xFFFF))
def test_no_bytes_pass_for_an_app_but_an_app(head: bytes, size: int, chip_id: int) -> None:
    with pytest.raises(FlashError, match="BASE_REFUSED"):
        check_image(head, size, chip_id, 2**20)
    check_image(APP[:BLOCK_BYTES], len(APP), 0, len(APP))


@given(st.integers(-9000, 9000), st.integers(0, 9000))
def test_an_area_gives_what_is_there_or_an_error(offset: int, size: int) -> None:
    with chip_with(b"", b""):
        area = Area(partition_class()("ota_0"))
        buf = bytearray(size)
        if offset >= 0 and offset + size <= 8192:
            area.read(offset, buf)
            assert buf == (APP + b"\xff" * 8192)[offset : offset + size]
        else:
            with pytest.raises(FlashError, match="FLASH_RANGE"):
                area.read(offset, buf)
