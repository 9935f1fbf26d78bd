"""The slot trailer: MCUboot's offsets and values, marks, notes. Cuts are in tests/power."""

import struct

from bootloader_verify import trailer
from bootloader_verify.errors import (
    FLASH_RANGE,
    FLASH_READBACK,
    FLASH_REWRITE,
    NOT_ARMED,
    FlashError,
)
from bootloader_verify.flash import Region
from bootloader_verify.trailer import BAD, ERASED, SET, Layout
from tests.power.flash_model import RamNor
from tests.unit.expect import raises

SLOT = 8192
MAGIC_8 = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
MAGIC_REST = bytes.fromhex("2de15d29410b8d77679c110f1f8a")


class Bench:
    def __init__(self, unit=8, sector=1024, erased=0xFF):
        self.flash = RamNor(SLOT, sector, unit, erased)
        self.region = Region(self.flash, 0, SLOT)
        self.layout = Layout(SLOT, unit, sector, erased)

    def state(self):
        return trailer.parse(self.region.read, self.layout)

    def armed(self, counter=9, attempts=3):
        trailer.arm(self.region, self.layout, counter, attempts)
        return self

    def mark(self):
        trailer.mark_attempt(self.region, self.layout, self.state())

    def note(self, cause):
        trailer.note_reset(self.region, self.layout, self.state(), cause)

    def confirm(self):
        trailer.confirm(self.region, self.layout, self.state())


def from_the_end(layout):
    return [
        at - layout.slot_size
        for at in (layout.magic, layout.image_ok, layout.copy_done, layout.marks, layout.notes)
    ] + [layout.install - layout.slot_size]


def test_offsets_are_mcuboots():
    assert from_the_end(Layout(SLOT, 8, 1024)) == [-16, -24, -32, -144, -240, -256]
    assert from_the_end(Layout(SLOT, 1, 1024)) == [-16, -24, -32, -144, -240, -256]
    assert from_the_end(Layout(SLOT, 16, 1024)) == [-16, -32, -48, -272, -464, -480]
    assert from_the_end(Layout(SLOT, 32, 1024)) == [-16, -64, -96, -544, -928, -960]


def test_magic_is_mcuboots():
    assert Layout(SLOT, 8, 1024).magic_value() == MAGIC_8
    assert Layout(SLOT, 4, 1024).magic_value() == MAGIC_8
    assert Layout(SLOT, 16, 1024).magic_value() == b"\x10\x00" + MAGIC_REST
    assert Layout(SLOT, 32, 1024).magic_value() == b"\x20\x00" + MAGIC_REST


def test_the_trailer_has_sectors_of_its_own():
    for unit, sector, limit in (
        (8, 256, 7936),
        (8, 4096, 4096),
        (32, 256, 7168),
        (32, 1024, 7168),
        (32, 32, 7232),
    ):
        layout = Layout(SLOT, unit, sector)
        assert layout.image_limit == limit
        assert layout.image_limit <= layout.install
    raises(FlashError, FLASH_RANGE, Layout, 4096, 8, 4096)
    raises(FlashError, FLASH_RANGE, Layout, 256, 8, 256)


def test_fields_do_not_overlap():
    for unit in (1, 8, 16, 32):
        layout = Layout(SLOT, unit, 1024)
        step = layout.unit
        places = [(layout.install, 16), (layout.magic, 16), (layout.image_ok, step)]
        places += [(layout.copy_done, step), (layout.copy_done - 2 * step, 2 * step)]
        places += [(layout.mark(i), step) for i in range(trailer.MAX_BOOTS)]
        places += [(layout.note(i), step) for i in range(trailer.MAX_BOOTS)]
        places.sort()
        for i in range(len(places) - 1):
            assert places[i][0] + places[i][1] <= places[i + 1][0]
        for at, _ in places[:-1]:
            assert at % step == 0


def test_a_blank_trailer():
    for erased in (0xFF, 0x00):
        state = Bench(erased=erased).state()
        assert (state.magic, state.image_ok, state.copy_done) == (ERASED, ERASED, ERASED)
        assert state.counter is None and state.blank
        assert not state.armed and not state.confirmed and not state.exhausted


def test_arming_writes_the_record_and_then_the_magic():
    for unit in (1, 4, 8, 16, 32):
        bench = Bench(unit).armed(0x01020304, 2)
        state = bench.state()
        assert state.armed and not state.confirmed and not state.blank and not state.exhausted
        assert (state.counter, state.attempts, state.boots) == (0x01020304, 2, 0)
        image = bench.flash.image()
        record = struct.unpack_from("<IIII", image, bench.layout.install)
        assert record == (0x01020304, 0xFEFDFCFB, 2, 0xFFFFFFFD)
        assert image[-16:] == bench.layout.magic_value()
        ends = [offset for _, offset, _ in bench.flash.trace]
        assert ends[0] == bench.layout.install and ends[-1] > ends[0]
        raises(FlashError, FLASH_REWRITE, trailer.arm, bench.region, bench.layout, 10)


def test_attempts_allowed_are_one_to_three():
    for stored, meant in ((0, 1), (1, 1), (3, 3), (4, 3), (0xFFFFFFFF, 3)):
        assert Bench().armed(1, stored).state().attempts == meant


def test_marks_are_counted_and_exhaust_a_trial():
    bench = Bench().armed(1, 3)
    for boots in (1, 2, 3):
        assert not bench.state().exhausted
        bench.mark()
        state = bench.state()
        assert (state.boots, state.attempts_used, state.ended) == (boots, boots, False)
        assert state.copy_done == SET and state.armed
    assert bench.state().exhausted


def test_power_losses_are_excused_but_not_for_ever():
    bench = Bench().armed(1, 3)
    for boots in range(1, trailer.MAX_BOOTS + 1):
        bench.mark()
        bench.note(trailer.POWER)
        state = bench.state()
        assert (state.boots, state.attempts_used, state.ended) == (boots, 0, True)
        assert state.exhausted == (boots == trailer.MAX_BOOTS)
    raises(FlashError, FLASH_RANGE, bench.mark)


def test_other_causes_are_not_excused():
    for cause in trailer.RESET_CAUSES + ("no such cause",):
        bench = Bench().armed()
        bench.mark()
        bench.note(cause)
        assert bench.state().attempts_used == (0 if cause == trailer.POWER else 1)
        assert bench.state().ended


def test_no_torn_note_reads_as_a_power_loss():
    """Bits of a torn note are those of the note or erased ones, whatever an erased bit is."""
    power = trailer._NOTES[trailer.POWER]
    for cause in trailer.RESET_CAUSES:
        code = trailer._NOTES[cause]
        if cause != trailer.POWER:
            assert power & ~code and code & ~power


def test_confirming():
    for unit in (1, 8, 32):
        bench = Bench(unit).armed()
        bench.mark()
        bench.confirm()
        state = bench.state()
        assert state.confirmed and not state.armed
        assert bench.flash.image()[bench.layout.image_ok] == 0x01
        done = bench.flash.operations
        bench.confirm()
        assert bench.flash.operations == done


def test_t48_bad_flags_are_neither_trial_nor_confirmed():
    for field in ("image_ok", "copy_done", "magic", "install"):
        for mask in (0x02, 0xFF, 0x80):
            bench = Bench().armed()
            bench.mark()
            bench.confirm()
            bench.flash.flip(getattr(bench.layout, field), mask)
            state = bench.state()
            assert not state.armed
            assert not state.confirmed or field == "copy_done"
            assert not state.blank


def test_a_bad_flag_is_called_bad():
    bench = Bench().armed()
    bench.mark()
    bench.confirm()
    bench.flash.flip(bench.layout.image_ok + 7, 0x01)  # any byte of the unit
    bench.flash.flip(bench.layout.copy_done, 0x10)
    bench.flash.flip(bench.layout.magic + 15, 0x01)
    state = bench.state()
    assert (state.magic, state.image_ok, state.copy_done) == (BAD, BAD, BAD)
    raises(FlashError, NOT_ARMED, bench.confirm)


def test_a_torn_mark_counts():
    bench = Bench().armed()
    bench.flash.flip(bench.layout.mark(0) + 3, 0x40)
    state = bench.state()
    assert (state.boots, state.attempts_used) == (1, 1)


def test_a_mark_that_does_not_stick_is_an_error():
    bench = Bench().armed()
    plain = bench.flash.program

    def forgetful(offset, data):
        plain(offset, data)
        bench.flash.flip(offset, 0x04)

    bench.flash.program = forgetful
    raises(FlashError, FLASH_READBACK, bench.mark)


def test_disarming_leaves_the_image_alone():
    bench = Bench()
    bench.flash.program(0, bytes(bench.layout.image_limit))
    bench.armed()
    trailer.erase(bench.region, bench.layout)
    assert bench.state().blank
    assert bench.flash.image()[: bench.layout.image_limit] == bytes(bench.layout.image_limit)


def test_blank_means_all_of_its_sectors():
    bench = Bench()
    bench.flash.program(bench.layout.image_limit, bytes(8))
    assert not bench.state().blank


def test_t45_whatever_the_flash_does_not_keep_is_an_error():
    for act in (Bench.armed, Bench.mark, Bench.confirm, lambda bench: bench.note(trailer.POWER)):
        bench = Bench()
        if act is not Bench.armed:
            bench.armed()
            bench.mark()
        bench.flash.program = lambda offset, data: None
        raises(FlashError, FLASH_READBACK, act, bench)


def test_t45_arming_stops_at_what_is_not_kept():
    for field, counter in (("install", None), ("magic", 9)):
        bench = Bench()
        honest, lost = bench.flash.program, getattr(bench.layout, field)

        def forgets(offset, data, honest=honest, lost=lost):
            if offset != lost:
                honest(offset, data)

        bench.flash.program = forgets
        raises(FlashError, FLASH_READBACK, bench.armed)
        assert (bench.state().magic, bench.state().counter) == (ERASED, counter)


def test_units_are_filled_up_with_erased_bytes():
    for erased in (0xFF, 0x00):
        bench = Bench(32, erased=erased).armed()
        bench.mark()
        bench.note(trailer.SOFT)
        bench.confirm()
        image, blank, layout = bench.flash.image(), bytes([erased]), bench.layout
        assert image[-32:-16] == blank * 16
        assert image[layout.install + 16 : layout.install + 32] == blank * 16
        for at in (layout.image_ok, layout.copy_done, layout.mark(0), layout.note(0)):
            assert image[at + 1 : at + 32] == blank * 31


def test_a_mark_behind_a_gap_is_the_last_boot():
    bench = Bench().armed()
    bench.region.program(bench.layout.mark(1), b"\x01" + b"\xff" * 7)
    assert (bench.state().boots, bench.state().attempts_used) == (2, 1)
    bench.mark()
    assert (bench.state().boots, bench.state().attempts_used) == (3, 2)


def test_only_a_whole_note_excuses_an_attempt():
    for note in (b"\xa0" + b"\xff" * 6 + b"\xfe", b"\xa0" + bytes(7), b"\xa0" * 8):
        bench = Bench().armed()
        bench.mark()
        bench.region.program(bench.layout.note(0), note)
        assert (bench.state().attempts_used, bench.state().ended) == (1, True)
