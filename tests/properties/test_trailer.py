"""Whatever stands in a trailer, it can be read, and what it says follows from what stands there."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from bootloader_verify import trailer
from bootloader_verify.flash import Region
from bootloader_verify.trailer import BAD, ERASED, MAX_BOOTS, SET, Layout
from tests.power.flash_model import RamNor
from tests.unit.containers import reader

SLOT, SECTOR = 4096, 1024
UNITS = st.sampled_from([1, 4, 8, 16, 32])
ERASED_BYTES = st.sampled_from([0xFF, 0x00])


@st.composite
def units_of(draw: st.DrawFn, layout: Layout) -> bytes:
    """One field: erased, set, or anything."""
    blank = bytes([layout.erased]) * layout.unit
    choice = draw(st.sampled_from(["erased", "set", "note", "any"]))
    if choice == "erased":
        return blank
    if choice == "set":
        return b"\x01" + blank[1:]
    if choice == "note":
        return bytes([draw(st.sampled_from(list(trailer._NOTES.values())))]) + blank[1:]
    return draw(st.binary(min_size=layout.unit, max_size=layout.unit))


@st.composite
def slots(draw: st.DrawFn) -> tuple[Layout, bytearray]:
    layout = Layout(SLOT, draw(UNITS), SECTOR, draw(ERASED_BYTES))
    slot = bytearray(bytes([layout.erased]) * SLOT)
    offsets = [layout.image_ok, layout.copy_done]
    offsets += [at(i) for i in range(MAX_BOOTS) for at in (layout.mark, layout.note)]
    for offset in offsets:
        slot[offset : offset + layout.unit] = draw(units_of(layout))
    if draw(st.booleans()):
        slot[layout.magic :] = layout.magic_value()
    else:
        slot[layout.magic :] = draw(st.binary(min_size=16, max_size=16))
    if draw(st.booleans()):
        counter, attempts = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 5))
        whole = (counter, counter ^ 0xFFFFFFFF, attempts, attempts ^ 0xFFFFFFFF)
        struct.pack_into("<IIII", slot, layout.install, *whole)
    return layout, slot


@settings(deadline=None, max_examples=150)
@given(slots())
def test_a_state_follows_from_the_bytes(built: tuple[Layout, bytearray]) -> None:
    layout, slot = built
    state = trailer.parse(reader(bytes(slot)), layout)
    assert (state.magic == SET) == (slot[layout.magic :] == layout.magic_value())
    for name in ("image_ok", "copy_done"):
        at = getattr(layout, name)
        unit = bytes(slot[at : at + layout.unit])
        blank = bytes([layout.erased]) * layout.unit
        want = ERASED if unit == blank else SET if unit == b"\x01" + blank[1:] else BAD
        assert getattr(state, name) == want
    assert not (state.confirmed and state.armed)
    if state.confirmed or state.armed:
        assert state.magic == SET and state.counter is not None
    assert 0 <= state.attempts_used <= state.boots <= MAX_BOOTS
    assert 1 <= state.attempts <= trailer.ATTEMPTS_DEFAULT
    if state.boots == MAX_BOOTS:
        assert state.exhausted


@settings(deadline=None)
@given(st.binary(min_size=SECTOR, max_size=SECTOR), UNITS, ERASED_BYTES)
def test_any_bytes(tail: bytes, unit: int, erased: int) -> None:
    layout = Layout(SLOT, unit, SECTOR, erased)
    state = trailer.parse(reader(bytes(SLOT - SECTOR) + tail), layout)
    assert not state.confirmed and not state.armed


Steps = st.lists(st.sampled_from(["mark", "confirm", *trailer.RESET_CAUSES]), max_size=30)


@settings(deadline=None, max_examples=100)
@given(UNITS, ERASED_BYTES, st.integers(1, 3), Steps)
def test_a_life_of_a_slot(unit: int, erased: int, attempts: int, steps: list[str]) -> None:
    """As the boot stage and the agent use it: a mark a boot, a note for what ended, a confirm."""
    flash = RamNor(SLOT, SECTOR, unit, erased)
    region, layout = Region(flash, 0, SLOT), Layout(SLOT, unit, SECTOR, erased)
    trailer.arm(region, layout, 3, attempts)
    boots = used = 0
    for step in steps:
        state = trailer.parse(region.read, layout)
        assert (state.boots, state.attempts_used) == (boots, used)
        assert state.exhausted == (used >= attempts or boots == MAX_BOOTS)
        if step == "mark" and state.armed and state.ended and not state.exhausted:
            trailer.mark_attempt(region, layout, state)
            boots, used = boots + 1, used + 1
        elif step == "confirm" and not state.ended:
            trailer.confirm(region, layout, state)
        elif step in trailer.RESET_CAUSES and state.armed and not state.ended:
            trailer.note_reset(region, layout, state, step)
            used -= step == trailer.POWER
    assert used <= attempts
