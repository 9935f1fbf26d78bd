"""Which base runs and which boots on the ESP32: otadata, trial, confirmation, ways back.

Against the model; signed with the keys of tests.unit.containers.
"""

from bootloader_verify.errors import (
    BASE_REFUSED,
    FLASH_FAILED,
    FLASH_UNSUPPORTED,
    NOT_ARMED,
    FlashError,
)
from bootloader_verify.ports import otadata
from bootloader_verify.ports.esp32_base import Bases
from tests.power.flash_model import PowerCut
from tests.unit.base_offers import Offer, factory, updated, words
from tests.unit.esp32_chip import ABORTED, NEW, PENDING, UNDEFINED, VALID, crc_of, entry
from tests.unit.esp32_image import app_image
from tests.unit.expect import raises


# --- otadata ------------------------------------------------------------------------------------------
def test_the_crc_is_that_of_the_rom():
    """Known values: those of ESP-IDF's otatool and of dumps of real boards."""
    assert (otadata.crc(1), otadata.crc(2)) == (0x4743989A, 0x55F63774)
    for seq in (0, 1, 2, 3, 255, 256, 0x12345678, 0xFFFFFFFE, 0xFFFFFFFF):
        assert otadata.crc(seq) == crc_of(seq)


def test_entries_as_the_bootloader_reads_them():
    erased = otadata.Entry(b"\xff" * 32)
    assert (erased.erased, erased.whole, erased.selectable) == (True, False, False)
    for state, good in ((0, True), (1, True), (2, True), (3, False), (4, False), (7, True)):
        one = otadata.Entry(entry(6, state))
        assert (one.erased, one.whole, one.selectable, one.state) == (False, True, good, state)
        assert (one.slot(2), one.slot(3)) == (1, 2)
    assert otadata.Entry(entry(0, VALID)).slot(3) == 0  # 0 - 1 wraps at 32 bits
    assert not otadata.Entry(entry(0xFFFFFFFF, VALID)).whole
    torn = bytearray(entry(6, VALID))
    torn[28] ^= 1
    assert not otadata.Entry(torn).whole


def test_which_entry_is_active():
    for seq_0, seq_1, want in ((1, 2, 1), (4, 3, 0), (5, 5, 0), (0xFFFFFFFF, 3, 1), (3, None, 0)):
        raw = [entry(seq_0, VALID), entry(seq_1, VALID) if seq_1 else b"\xff" * 32]
        entries = [otadata.Entry(one) for one in raw]
        assert otadata.active(entries) is entries[want]
    bad = [otadata.Entry(entry(7, ABORTED)), otadata.Entry(b"\xff" * 32)]
    assert otadata.active(bad) is None
    bad[1] = otadata.Entry(entry(2, VALID))
    assert otadata.active(bad) is bad[1]


def test_every_flipped_bit_is_seen_but_those_without_a_crc():
    """seq and CRC: the entry counts no more. State: another state; the chip has no way to see that."""
    good = entry(6, PENDING)
    for bit in range(256):
        raw = bytearray(good)
        raw[bit // 8] ^= 1 << bit % 8
        one = otadata.Entry(raw)
        if bit < 32 or bit >= 224:
            assert not one.selectable
        elif bit < 192:
            assert one.selectable and one.state == PENDING
        else:
            assert one.whole and one.state == PENDING ^ 1 << bit - 192


def test_the_newest_entry_of_a_slot_tells_its_state():
    entries = [otadata.Entry(entry(3, VALID)), otadata.Entry(entry(5, ABORTED))]
    assert otadata.state_of(entries, 0, 2) == ABORTED
    assert otadata.state_of([entries[1], entries[0]], 0, 2) == ABORTED
    assert otadata.state_of(entries, 1, 2) is None
    entries[1] = otadata.Entry(b"\xff" * 32)
    assert otadata.state_of(entries, 0, 2) == VALID


def test_a_partition_table_without_two_slots():
    for name in ("ota_1", "otadata"):
        with factory() as chip:
            chip.places.remove(chip.place(name))
            raises(FlashError, FLASH_UNSUPPORTED, Bases)
    with factory() as chip:
        chip.place("ota_0").subtype = 0  # a factory app
        raises(FlashError, FLASH_UNSUPPORTED, Bases)


# --- ways back --------------------------------------------------------------------------------------------
def test_a_bad_base_has_one_attempt():
    with factory() as chip:
        updated(chip)
        assert chip.boot() == "ota_1"
        assert chip.boot() == "ota_0"  # it did not confirm
        assert words() == "runs 0, boots 0, valid/aborted"
        assert Bases().state().settled
        raises(FlashError, BASE_REFUSED, Bases().go_back)
        for _ in range(3):
            assert chip.boot() == "ota_0"
        updated(chip, Offer(app_image(3)))
        assert chip.boot() == "ota_1"


def test_a_manual_way_back_is_for_good():
    with factory() as chip:
        updated(chip)
        chip.boot()
        Bases().confirm()
        Bases().go_back()
        assert words() == "runs 1, boots 0, valid/valid"
        for _ in range(3):
            assert chip.boot() == "ota_0"
        assert Bases().state().settled


def test_the_chips_own_way_back_would_have_been_a_trial():
    """The trap behind go_back(): set_boot() alone, and the old base is gone again after one boot."""
    with factory() as chip:
        updated(chip)
        chip.boot()
        Bases().confirm()
        chip.set_boot(chip.place("ota_0"))
        assert chip.boot() == "ota_0"
        assert chip.boot() == "ota_1"


def test_a_way_back_that_was_changed_again():
    with factory() as chip:
        updated(chip)
        chip.boot()
        Bases().confirm()
        Bases().go_back()
        Bases().keep()
        assert words() == "runs 1, boots 1, valid/valid"
        Bases().go_back()  # keep() took nothing from the other one
        assert chip.boot() == "ota_0"


def test_on_trial_the_reset_alone_goes_back():
    with factory() as chip:
        updated(chip)
        chip.boot()
        before = chip.operations
        Bases().go_back()
        raises(FlashError, NOT_ARMED, Bases().keep)
        assert chip.operations == before
        assert chip.boot() == "ota_0"


def test_a_cut_while_a_trial_chooses_another_base_would_be_the_end():
    """The trap behind that: both entries invalid, and the untried base in slot 0 runs for ever."""
    with factory() as chip:
        updated(chip)
        chip.boot()
        Bases().confirm()
        updated(chip, Offer(app_image(1)))
        assert chip.boot() == "ota_0" and Bases().state().on_trial
        chip.cut_at(0, "after")
        raises(PowerCut, None, chip.set_boot, chip.place("ota_1"))
        after = chip.clone()
        assert [after.boot() for _ in range(3)] == ["ota_0"] * 3


def test_no_way_back_to_what_never_ran_here_or_is_being_written_over():
    with factory() as chip:
        raises(FlashError, BASE_REFUSED, Bases().go_back)
        chip.place("ota_1").put(0, app_image(9))
        raises(FlashError, BASE_REFUSED, Bases().go_back)
        updated(chip)
        chip.boot()
        Bases().confirm()
        Offer(app_image(3)).write([1])
        raises(FlashError, BASE_REFUSED, Bases().go_back)


def test_a_way_back_that_is_damaged():
    with factory() as chip:
        updated(chip)
        chip.boot()
        Bases().confirm()
        chip.place("ota_0").bytes[100] ^= 1
        raises(FlashError, FLASH_FAILED, Bases().go_back)
        assert chip.boot() == "ota_1"


def test_nothing_is_confirmed_that_does_not_run():
    with factory() as chip:
        updated(chip)
        raises(FlashError, NOT_ARMED, Bases().confirm)
        chip.mark_valid()  # the trap: the chip would have confirmed the untried one
        assert words() == "runs 0, boots 1, valid/valid"


def test_an_update_taken_back_before_its_restart():
    with factory() as chip:
        updated(chip)
        Bases().keep()
        assert words() == "runs 0, boots 0, valid/new"
        assert bytes(chip.place("ota_1").bytes[:4]) == b"\xff" * 4
        before = chip.operations
        Bases().keep()
        assert chip.operations == before
        assert chip.boot() == "ota_0"


def test_a_base_that_runs_because_the_chosen_one_does_not_load():
    with factory() as chip:
        updated(chip)
        chip.boot()
        Bases().confirm()
        chip.place("ota_1").bytes[100] ^= 1
        assert chip.boot() == "ota_0"
        bases = Bases()
        assert str(bases.state()) == "runs 0, boots 1, valid/valid"
        raises(FlashError, BASE_REFUSED, Offer().open)
        raises(FlashError, BASE_REFUSED, bases.go_back)
        raises(FlashError, NOT_ARMED, bases.confirm)
        bases.keep()
        assert bases.state().settled
        updated(chip)
        assert chip.boot() == "ota_1"


def test_otadata_that_names_nothing():
    with factory() as chip:
        chip.put_entry(0, 1, ABORTED)
        chip.put_entry(1, 4, ABORTED)
        assert chip.boot() == "ota_0"
        bases = Bases()
        assert str(bases.state()) == "runs 0, boots None, aborted/aborted"
        raises(FlashError, BASE_REFUSED, Offer().open)
        bases.keep()
        assert bases.state().settled
        updated(chip)
        assert chip.boot() == "ota_1"


def test_a_base_from_a_firmware_without_rollback_counts_as_confirmed():
    with factory() as chip:
        chip.put_entry(0, 1, UNDEFINED)
        assert Bases().state().settled and words() == "runs 0, boots 0, undefined/none"
        Bases().confirm()
        updated(chip)
        assert Bases().state().states[1] == NEW


def test_a_state_that_nobody_knows_is_no_settled_one():
    with factory() as chip:
        chip.put_entry(0, 1, 0x17)
        assert words() == "runs 0, boots 0, 23/none"
        raises(FlashError, BASE_REFUSED, Offer().open)
        Bases().confirm()
        assert Bases().state().settled


def test_a_mark_that_does_not_stick():
    with factory() as chip:
        updated(chip)
        chip.boot()
        chip.mark_valid = lambda: None
        raises(FlashError, FLASH_FAILED, Bases().confirm)
