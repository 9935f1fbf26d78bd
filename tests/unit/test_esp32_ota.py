"""A new base firmware on the ESP32, from its first block to its selection, against the model."""

from bootloader_verify.errors import (
    BAD_EPOCH,
    BAD_HASH,
    BAD_HEADER,
    BAD_MAGIC,
    BAD_SIZE,
    BASE_REFUSED,
    CHANGED,
    FLASH_FAILED,
    FLASH_RANGE,
    FLASH_READBACK,
    FLASH_UNSUPPORTED,
    UNKNOWN_KEY,
    WRONG_HW,
    FlashError,
    VerifyError,
)
from bootloader_verify.ports.esp32_base import Bases
from bootloader_verify.ports.esp32_ota import BLOCK_BYTES, BaseUpdate
from tests.unit.base_offers import FRESH, OLD, Board, Offer, factory, finish, updated, words
from tests.unit.containers import expect, header, keyset
from tests.unit.esp32_chip import PENDING, SECTOR, UNDEFINED, VALID, Chip
from tests.unit.esp32_image import app_image, merged_image
from tests.unit.expect import raises


# --- a good update ----------------------------------------------------------------------------------
def test_a_base_comes_up_on_trial_and_is_confirmed():
    with factory() as chip:
        assert words() == "runs 0, boots 0, valid/none"
        verified = updated(chip)
        assert verified.version == (1, 2, 3, 4)
        assert bytes(chip.place("ota_1").bytes[: len(FRESH)]) == FRESH
        assert words() == "runs 0, boots 1, valid/new"
        assert chip.boot() == "ota_1"
        bases = Bases()
        assert bases.state().on_trial and not bases.state().settled
        bases.confirm()
        assert words() == "runs 1, boots 1, valid/valid"
        before = chip.operations
        bases.confirm()
        assert chip.operations == before
        for _ in range(3):
            assert chip.boot() == "ota_1"
        updated(chip, Offer(OLD))
        assert chip.boot() == "ota_0"


def test_the_first_block_comes_last_and_nothing_is_an_app_before():
    with factory() as chip:
        chip.place("ota_1").put(0, app_image(9))
        Offer().write(order=[2, 1])
        places = [(one[0], one[2]) for one in chip.trace if one[1] == "ota_1"]
        assert places == [
            ("erase", 0),
            ("erase", 2 * SECTOR),
            ("program", 2 * SECTOR),
            ("erase", SECTOR),
            ("program", SECTOR),
        ]
        raises(OSError, None, chip.set_boot, chip.place("ota_1"))
        del chip.trace[:]
        finish(Offer().open())
        assert [(one[0], one[1], one[2]) for one in chip.trace] == [
            ("erase", "ota_1", 0),
            ("program", "ota_1", 0),
            ("erase", "otadata", SECTOR),
            ("program", "otadata", SECTOR),
        ]


def test_what_stands_is_not_written_again():
    with factory() as chip:
        _, written = Offer().write([1])
        assert written == [1]
        again, written = Offer().write()
        assert written == [2]
        assert again.stands(0, Offer().sha256(0)) and not again.stands(0, Offer().sha256(1))
        assert again.stands(1, Offer().sha256(1)[:16])
        assert not again.stands(1, bytes(16))
        raises(FlashError, FLASH_RANGE, again.stands, 1, b"")
        raises(FlashError, FLASH_RANGE, again.stands, 1, Offer().sha256(1)[:15])
        finish(again)
        assert chip.boot() == "ota_1"


def test_a_header_of_one_block_and_a_payload_of_whole_blocks():
    payload = app_image(3, 2 * BLOCK_BYTES - 128)
    payload = payload + bytes(-len(payload) % BLOCK_BYTES)
    with factory() as chip:
        offer = Offer(payload, bent={"hdr_size": 4096})
        assert offer.open().blocks * BLOCK_BYTES == len(payload)
        updated(chip, offer)
        assert chip.boot() == "ota_1"


# --- refused before anything is erased ------------------------------------------------------------------
def refused(kind, code, word, *parts):
    with factory() as chip:
        chip.place("ota_1").put(0, app_image(9))
        before = chip.operations
        err = raises(kind, code, BaseUpdate, Board, *parts)
        assert word in err.detail, err.detail
        assert chip.operations == before


def refused_image(word, payload):
    """As signed by the release key: the signature is not even looked at."""
    head = header(len(payload), 0)
    refused(FlashError, BASE_REFUSED, word, head, bytes(payload[:BLOCK_BYTES]), bytes(64))


def test_images_that_are_none_for_this_chip():
    refused_image("starts with 0x00", bytes(1) + FRESH[1:])
    refused_image("starts with 0xff", merged_image(0x1000, 0x8000))
    refused_image("made for chip 9", app_image(2, chip_id=9))
    refused_image("35 bytes", FRESH[:35])
    refused_image("no SHA-256", app_image(2, hashed=0))
    refused_image("for a slot of", FRESH[:-1])
    refused_image("for a slot of", app_image(2, 32 * 1024))


def test_a_merged_firmware_which_the_chip_would_have_taken():
    merged = merged_image()
    refused_image("merged", merged[: 28 * 1024])
    refused_image("merged", app_image(1, 8192, description=0x50))
    chip = Chip()
    chip.place("ota_0").put(0, OLD)
    chip.place("ota_1").put(0, merged[: 28 * 1024])
    chip.boot()
    chip.set_boot(chip.place("ota_1"))  # the chip sees a sound structure
    assert chip.boot() == "ota_1"


def test_parts_that_are_no_container():
    good = Offer().parts
    refused(VerifyError, BAD_MAGIC, "", bytes(32), good[1], good[2])
    refused(VerifyError, BAD_SIZE, "first block", good[0], good[1][:-1], good[2])
    refused(VerifyError, BAD_SIZE, "first block", good[0] + bytes(4), good[1], good[2])
    refused(VerifyError, BAD_SIZE, "", good[0], good[1], b"")
    long = header(len(FRESH), 0, hdr_size=5000)
    refused(VerifyError, BAD_HEADER, "", long, good[1], good[2])


def test_no_update_while_the_running_base_is_on_trial_or_another_one_boots():
    with factory() as chip:
        updated(chip)
        err = raises(FlashError, BASE_REFUSED, Offer(app_image(3)).open)
        assert "boots 1" in err.detail
        chip.boot()
        err = raises(FlashError, BASE_REFUSED, Offer(OLD).open)
        assert "pending" in err.detail


def test_a_trial_that_began_behind_the_updates_back():
    with factory() as chip:
        update = Offer().open()
        chip.put_entry(0, 1, PENDING)
        before = chip.operations
        raises(FlashError, BASE_REFUSED, update.write, 1, Offer().block(1))
        raises(FlashError, BASE_REFUSED, finish, update)
        assert chip.operations == before


def test_blocks_that_are_none():
    with factory():
        update = Offer().open()
        raises(FlashError, FLASH_RANGE, update.write, 0, Offer().block(0))
        raises(FlashError, FLASH_RANGE, update.write, 3, Offer().block(2))
        raises(FlashError, FLASH_RANGE, update.write, -1, Offer().block(1))
        raises(FlashError, FLASH_RANGE, update.write, 1, Offer().block(2))
        raises(FlashError, FLASH_RANGE, update.stands, 3, Offer().sha256(1))


# --- refused at the end -----------------------------------------------------------------------------------
def not_finished(kind, code, chip, update, keys=None, **asked):
    """Refused, nothing selected, no app in the spare slot."""
    raises(kind, code, update.finish, keys or keyset(), expect(**asked))
    assert Bases().state().settled
    raises(OSError, None, chip.set_boot, chip.place("ota_1"))
    assert chip.boot() == "ota_0"


def test_a_container_that_does_not_climb_the_ladder():
    with factory() as chip:
        not_finished(VerifyError, UNKNOWN_KEY, chip, Offer(names=("stranger",)).write()[0])
        not_finished(VerifyError, BAD_EPOCH, chip, Offer(epoch=None).write()[0])
        update, _ = Offer().write()
        chip.place("ota_1").bytes[SECTOR + 5] ^= 1
        not_finished(VerifyError, BAD_HASH, chip, update)
        not_finished(VerifyError, BAD_HASH, chip, Offer().open())  # nothing written at all
        update, _ = Offer().write()
        not_finished(VerifyError, WRONG_HW, chip, update, cid=bytes(16))


def test_a_whole_image_whose_key_is_no_longer_trusted_is_no_app():
    """As a cut right before set_boot() leaves it: the chip would boot it in need."""
    with factory() as chip:
        chip.place("ota_1").put(0, FRESH)
        chip.set_boot(chip.place("ota_1"))
        chip.put_entry(1, 0xFFFFFFFF, UNDEFINED)
        keys = keyset(["release_2", "root_1"])
        not_finished(VerifyError, UNKNOWN_KEY, chip, Offer().open(), keys)


def test_a_whole_image_is_selected_without_another_write():
    with factory() as chip:
        chip.place("ota_1").put(0, FRESH)
        finish(Offer().open())
        assert [one[1] for one in chip.trace[-2:]] == ["otadata", "otadata"]
        assert not [one for one in chip.trace if one[1] == "ota_1"]
        assert chip.boot() == "ota_1"


def test_what_otadata_says_of_the_spare_slot_goes_before_its_bytes_change():
    """Else a way back after a cut would confirm a base that never ran."""
    with factory() as chip:
        chip.put_entry(0, 3, VALID)
        chip.put_entry(1, 2, VALID)
        chip.place("ota_1").put(SECTOR, FRESH[SECTOR:])
        del chip.trace[:]
        finish(Offer().open())
        assert [(one[0], one[1]) for one in chip.trace[:3]] == [
            ("erase", "otadata"),
            ("erase", "ota_1"),
            ("program", "ota_1"),
        ]


def test_a_failed_check_leaves_an_older_base_alone():
    """Nothing was written: what stands in the spare slot is not ours to take."""
    with factory() as chip:
        updated(chip)
        chip.boot()
        Bases().confirm()
        raises(VerifyError, BAD_HASH, finish, Offer(app_image(5)).open())
        Bases().go_back()
        assert chip.boot() == "ota_0"


def test_flash_that_does_not_keep_a_block():
    with factory() as chip:
        update = Offer().open()
        chip.write = lambda place, offset, data: None
        raises(FlashError, FLASH_READBACK, update.write, 1, Offer().block(1))
        del chip.write
        update, _ = Offer().write()
        write = chip.write

        def forgetful(place, offset, data):
            write(place, offset, bytes([data[0], data[1] ^ 1]) + bytes(data[2:]))

        chip.write = forgetful
        raises(FlashError, FLASH_READBACK, finish, update)
        del chip.write
        assert Bases().state().settled
        assert bytes(chip.place("ota_1").bytes[:4]) == b"\xff" * 4


def test_bytes_that_change_before_the_last_look():
    with factory() as chip:
        update, _ = Offer().write()
        write = chip.write

        def aging(place, offset, data):
            write(place, offset, data)
            if place.label == "ota_1":
                place.bytes[SECTOR] ^= 1

        chip.write = aging
        raises(VerifyError, CHANGED, finish, update)
        del chip.write
        assert Bases().state().settled
        assert bytes(chip.place("ota_1").bytes[:4]) == b"\xff" * 4


def test_an_image_that_the_chip_itself_refuses():
    broken = FRESH[:-1] + bytes([FRESH[-1] ^ 1])  # its own SHA is wrong, and signed so
    with factory() as chip:
        not_finished(FlashError, FLASH_FAILED, chip, Offer(broken).write()[0])


def test_a_firmware_without_rollback_gets_no_base():
    with factory(rollback=False) as chip:
        not_finished(FlashError, FLASH_UNSUPPORTED, chip, Offer().write()[0])


def test_a_selection_that_does_not_stick():
    with factory() as chip:
        update, _ = Offer().write()
        chip.set_boot = lambda place: None
        raises(FlashError, FLASH_FAILED, finish, update)
        del chip.set_boot
        assert bytes(chip.place("ota_1").bytes[:4]) == b"\xff" * 4
