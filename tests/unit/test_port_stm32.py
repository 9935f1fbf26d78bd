"""The STM32 port over a model of `vfs.rom_ioctl`: the contract, and each trap by itself."""

import gc

from agent.fetch.slot_writer import SlotWriter
from bootloader_verify import boot, decision, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import (
    FLASH_ALIGN,
    FLASH_FAILED,
    FLASH_RANGE,
    FLASH_READBACK,
    FLASH_REWRITE,
    FlashError,
)
from bootloader_verify.flash import Region
from bootloader_verify.ports import stm32
from bootloader_verify.records import Records
from bootloader_verify.slot import Slot
from bootloader_verify.trailer import SET, Layout
from tests.unit import containers
from tests.unit.expect import raises
from tests.unit.stm32_chip import EINVAL, EIO, KIB, Board, Chip, HardFault, port

# kind -> (erase, write, internal flash allowed, where the part begins)
GEOMETRIES = {
    "f767 qspi": (4 * KIB, 8, False, 0),
    "h743 qspi": (4 * KIB, 32, False, 0),
    "h743 internal": (128 * KIB, 32, True, 1024 * KIB),
    "f767 internal": (256 * KIB, 16, True, 1536 * KIB),
}
QSPI = ("f767 qspi", "h743 qspi")


class Bench:
    """A chip of a kind with `sectors` erase units, its board and its flash object."""

    def __init__(self, kind, sectors=2, write=None):
        gc.collect()  # a chip is a quarter of MicroPython's heap
        erase, usual, internal, at = GEOMETRIES[kind]
        self.board = Board(erase, write or usual, (("slot_a", sectors),), internal)
        self.chip = Chip(kind, self.board.FLASH_SIZE, at)
        self.flash = port(self.chip, self.board)


def content(flash, offset, size):
    buf = bytearray(size)
    flash.read(offset, buf)
    return bytes(buf)


def pattern(size):
    return bytes([(i * 7 + i // 256) & 0x7F for i in range(size)])


# --- the model --------------------------------------------------------------------------------------
def test_the_model_answers_as_the_firmware_does():
    chip = Chip("h743 qspi", 16 * KIB)
    ask = chip.rom_ioctl
    for args in ((2,), (2, 1), (3, 0), (3, 0, 12 * KIB, 4 * KIB + 1), (4, 0, 0), (5, 0), (9, 0)):
        assert ask(*args) == -EINVAL
    assert ask(4, 0, 16 * KIB - 4, bytes(8)) == -EINVAL and chip.operations == 0
    assert (ask(1), ask(6, 0), len(ask(2, 0))) == (1, 4 * KIB, 16 * KIB)
    assert ask(4, 0, 8190, b"\x0f\x0f\x0f") == 0 and ask(4, 0, 8191, b"\xf1\xf1") == 0
    assert chip.image()[8190:8193] == b"\x0f\x01\x01"
    assert ask(3, 0, 8191, 1) == 4  # the whole sector that holds the byte
    assert chip.image()[4 * KIB : 8193] == b"\xff" * 4 * KIB + b"\x01"
    chip = Chip("h743 internal", 128 * KIB)
    assert chip.rom_ioctl(4, 0, 16, bytes(32)) == -EIO and chip.rom_ioctl(6, 0) == 128 * KIB
    assert chip.rom_ioctl(4, 0, 0, bytes(63)) == 0 and chip.image()[:64] == bytes(32) + b"\xff" * 32
    assert not chip.faulty and chip.rom_ioctl(4, 0, 0, bytes(32)) == 0 and chip.faulty == {0}


# --- the contract -----------------------------------------------------------------------------------
def test_opening_writes_nothing_and_says_what_the_flash_is():
    for kind in GEOMETRIES:
        bench = Bench(kind, 1)
        flash, board = bench.flash, bench.board
        assert flash.size_bytes == board.FLASH_SIZE and flash.erased == 0xFF
        assert (flash.erase_bytes, flash.write_bytes) == (board.ERASE, board.WRITE)
        assert bench.chip.operations == 0


def test_what_is_programmed_is_read_and_mapped_in_place():
    for kind in GEOMETRIES:
        bench = Bench(kind, 1)
        before = bench.flash.map(0, 1024)
        for size in (32, 256, 512 + 32):
            bench.flash.program(size, pattern(size))
            assert content(bench.flash, size - 32, size + 64) == (
                b"\xff" * 32 + pattern(size) + b"\xff" * 32
            )
            bench.flash.erase(0, bench.board.ERASE)
        bench.flash.program(64, memoryview(pattern(96))[32:])
        assert bytes(before[32:160]) == b"\xff" * 32 + pattern(96)[32:] + b"\xff" * 32
        assert bench.chip.image()[64:128] == pattern(96)[32:] and not bench.chip.faulty


def test_an_erase_takes_its_sectors_and_no_more():
    for kind in QSPI:
        bench = Bench(kind, 4)
        erase = bench.board.ERASE
        for sector in range(4):
            bench.flash.program(sector * erase, bytes(32))
            bench.flash.program((sector + 1) * erase - 32, bytes(32))
        bench.flash.erase(erase, 2 * erase)
        for sector, kept in ((0, True), (1, False), (2, False), (3, True)):
            for at in (sector * erase, (sector + 1) * erase - 32):
                assert content(bench.flash, at, 32) == (bytes(32) if kept else b"\xff" * 32)


def test_an_erase_of_internal_flash_takes_its_sector():
    bench = Bench("h743 internal", 2)
    for at in (0, 128 * KIB - 32, 128 * KIB, 256 * KIB - 32):
        bench.flash.program(at, bytes(32))
    bench.flash.erase(128 * KIB, 128 * KIB)
    assert content(bench.flash, 128 * KIB - 32, 64) == bytes(32) + b"\xff" * 32
    assert content(bench.flash, 0, 32) == bytes(32)
    assert content(bench.flash, 256 * KIB - 32, 32) == b"\xff" * 32


def test_alignment_and_range():
    for kind in GEOMETRIES:
        bench = Bench(kind, 1)
        flash, size = bench.flash, bench.flash.size_bytes
        unit, sector = flash.write_bytes, flash.erase_bytes
        for offset, length in ((unit // 2, unit), (0, unit - 1), (0, unit + 1), (unit, 1)):
            raises(FlashError, FLASH_ALIGN, flash.program, offset, bytes(length))
        for offset, length in ((unit, sector - unit), (0, sector // 2)):
            raises(FlashError, FLASH_ALIGN, flash.erase, offset, length)
        for offset, length in ((-unit, unit), (size, unit), (size - unit, 2 * unit)):
            raises(FlashError, FLASH_RANGE, flash.program, offset, bytes(length))
            raises(FlashError, FLASH_RANGE, flash.read, offset, bytearray(length))
            raises(FlashError, FLASH_RANGE, flash.map, offset, length)
        raises(FlashError, FLASH_RANGE, flash.map, 0, -1)
        raises(FlashError, FLASH_RANGE, flash.erase, size, sector)
        raises(FlashError, FLASH_RANGE, flash.erase, -sector, sector)
        assert bench.chip.operations == 0
    bench = Bench("h743 qspi")
    for offset in (32, 2 * KIB, 4 * KIB - 32):
        raises(FlashError, FLASH_ALIGN, bench.flash.erase, offset, 4 * KIB)
    assert bench.chip.operations == 0


def test_a_part_larger_than_the_map_is_not_used_beyond_it():
    board = Board(4 * KIB, 32, (("slot_a", 1),))
    flash = port(Chip("h743 qspi", 8 * KIB), board)
    raises(FlashError, FLASH_RANGE, flash.erase, 4 * KIB, 4 * KIB)
    raises(FlashError, FLASH_RANGE, flash.map, 0, 4 * KIB + 1)


def test_a_second_write_to_a_unit_is_refused():
    """External flash would AND the two, a flash word with ECC would fault from then on."""
    for kind in GEOMETRIES:
        bench = Bench(kind, 1)
        bench.flash.program(288, bytes(32))
        begun = bench.chip.operations
        for offset, size in ((288, 32), (256, 64), (288, 64), (0, 320), (0, 1024)):
            raises(FlashError, FLASH_REWRITE, bench.flash.program, offset, b"\xff" * size)
        assert bench.chip.operations == begun and not bench.chip.faulty
        bench.flash.program(256, bytes(32))
        bench.flash.erase(0, bench.board.ERASE)
        bench.flash.program(256, bytes(64))
        assert not bench.chip.faulty


def test_long_writes_go_in_steps_of_whole_units():
    for kind in GEOMETRIES:
        bench = Bench(kind, 1)
        bench.flash.program(32, bytes(4096 - 64))
        wrote = [(offset, size) for _, offset, size in bench.chip.of(4)]
        assert max([size for _, size in wrote]) <= 256
        assert [at for at, _ in wrote] == list(range(32, 4096 - 32, 256))
        assert sum([size for _, size in wrote]) == 4096 - 64


# --- calls that say no, or say yes and lie ----------------------------------------------------------
def test_every_errno_is_an_error_with_its_number():
    for op, call in ((3, ("erase", 0, 4 * KIB)), (4, ("program", 0, bytes(32)))):
        bench = Bench("h743 qspi")
        bench.chip.answers[op] = -EIO
        error = raises(FlashError, FLASH_FAILED, getattr(bench.flash, call[0]), *call[1:])
        assert error.detail == "call {}: errno 5".format(op)


def test_an_oserror_never_escapes():
    bench = Bench("h743 qspi")
    bench.chip.answers = {3: OSError(EIO), 4: OSError(EIO)}
    raises(FlashError, FLASH_FAILED, bench.flash.erase, 0, 4 * KIB)
    raises(FlashError, FLASH_FAILED, bench.flash.program, 0, bytes(32))


def test_bytes_that_the_driver_drops_are_missed():
    """16 bytes are half of an H743 flash word: call 4 answers 0 and programs nothing."""
    bench = Bench("h743 internal", 1, write=16)
    assert bench.chip.rom_ioctl(4, 0, 0, bytes(16)) == 0 and bench.chip.operations == 0
    raises(FlashError, FLASH_READBACK, bench.flash.program, 0, bytes(16))
    raises(FlashError, FLASH_READBACK, bench.flash.program, 32, bytes(48))


def test_a_word_that_takes_no_data_is_missed():
    for kind in QSPI:
        bench = Bench(kind)
        bench.chip.answers[4] = 0
        raises(FlashError, FLASH_READBACK, bench.flash.program, 0, bytes(32))


def test_an_erase_that_does_nothing_is_missed():
    for kind in QSPI:
        bench = Bench(kind)
        bench.flash.program(4 * KIB - 32, bytes(32))
        bench.chip.answers[3] = 4
        raises(FlashError, FLASH_READBACK, bench.flash.erase, 0, 4 * KIB)


def test_the_erase_is_never_called_without_its_length():
    for kind in GEOMETRIES:
        bench = Bench(kind, 1)
        bench.flash.erase(0, bench.board.ERASE)
        assert bench.chip.of(3) == [(0, 0, 0), (0, 0, bench.board.ERASE)]
        assert not bench.chip.of(5)


def test_data_may_come_from_the_part_itself():
    """The driver of external flash switches the map off, and a read from there stops the CPU."""
    for kind in QSPI:
        bench = Bench(kind)
        bench.flash.program(0, pattern(512))
        raises(HardFault, None, bench.chip.rom_ioctl, 4, 0, 1024, bench.flash.map(0, 512))
        bench.flash.program(1024, bench.flash.map(0, 512))
        assert content(bench.flash, 1024, 512) == pattern(512)


def test_internal_flash_is_read_behind_the_data_cache():
    for kind in ("h743 internal", "f767 internal"):
        bench = Bench(kind, 1)
        assert bench.chip.rom_ioctl(4, 0, 64, bytes(64)) == 0
        assert bytes(bench.flash.map(64, 64)) == b"\xff" * 64  # what the cache still holds
        bench.flash.program(256, bytes(64))
        assert bytes(bench.flash.map(224, 128)) == b"\xff" * 32 + bytes(64) + b"\xff" * 32
        bench.flash.erase(0, bench.board.ERASE)
        assert bytes(bench.flash.map(224, 128)) == b"\xff" * 128


def test_every_line_of_a_change_is_dropped_from_the_cache():
    class Lines:
        def __init__(self):
            self.seen = []

        def __setitem__(self, register, address):
            assert register == 0xE000EF70
            self.seen.append(address)

    board = Board(256 * KIB, 16, (("slot_a", 1),), True)
    chip = Chip("f767 internal", 256 * KIB, 1536 * KIB)
    lines = Lines()
    flash = stm32.RomPart(board, chip.rom_ioctl, chip.address_of, lines)
    for offset, size, first, count in (
        (0, 16, 0, 1),
        (48, 16, 32, 1),
        (80, 48, 64, 2),
        (144, 32, 128, 2),
    ):
        lines.seen = []
        raises(FlashError, FLASH_READBACK, flash.program, offset, bytes(size))
        base = 0x08000000 + 1536 * KIB
        assert lines.seen == [base + first + 32 * i for i in range(count)]
    outside = Lines()
    board = Board(4 * KIB, 32, (("slot_a", 1),))
    chip = Chip("h743 qspi", board.FLASH_SIZE)
    flash = stm32.RomPart(board, chip.rom_ioctl, chip.address_of, outside)
    flash.program(0, bytes(32))
    flash.erase(0, 4 * KIB)
    assert not outside.seen


# --- what is built on it ----------------------------------------------------------------------------
def whole_words(chip, unit=32):
    """All that was written were whole flash words, each once, and it was something."""
    wrote = chip.of(4)
    assert wrote and not chip.faulty and not chip.collateral
    return all(offset % unit == 0 and size % unit == 0 for _, offset, size in wrote)


def test_a_trailer_lives_in_whole_words():
    for kind in ("h743 qspi", "h743 internal"):
        bench = Bench(kind)
        region = Region(bench.flash, 0, bench.board.FLASH_SIZE)
        layout = Layout(region.size_bytes, 32, region.erase_bytes)

        def state(region=region, layout=layout):
            return trailer.parse(region.read, layout)

        trailer.arm(region, layout, 7, 2)
        assert state().armed and (state().counter, state().attempts) == (7, 2)
        trailer.mark_attempt(region, layout, state())
        trailer.note_reset(region, layout, state(), trailer.POWER)
        trailer.mark_attempt(region, layout, state())
        assert (state().boots, state().attempts_used, state().copy_done) == (2, 1, SET)
        trailer.confirm(region, layout, state())
        assert state().confirmed and whole_words(bench.chip)
        trailer.erase(region, layout)
        assert state().blank


def test_records_and_the_epoch_live_in_whole_words():
    for kind in ("h743 qspi", "h743 internal"):
        bench = Bench(kind)
        region = Region(bench.flash, 0, bench.board.FLASH_SIZE)
        log = Records(region, 100)
        for size in (0, 1, 15, 16, 17, 100):
            log.save(pattern(size))
            buf = bytearray(100)
            assert Records(region, 100).load(buf) == size and buf[:size] == pattern(size)
        assert whole_words(bench.chip)
        region.erase(0, region.size_bytes)
        EpochCounter(region).raise_to(3)
        EpochCounter(region).raise_to(4)
        assert EpochCounter(region).read() == 4 and whole_words(bench.chip)


def test_the_records_go_round_their_two_halves():
    bench = Bench("h743 qspi")
    region = Region(bench.flash, 0, bench.board.FLASH_SIZE)
    log = Records(region, 1000)
    for i in range(20):
        log.save(bytes([i]) * 1000)
    buf = bytearray(1000)
    assert Records(region, 1000).load(buf) == 1000 and buf[0] == 19
    assert whole_words(bench.chip) and len(bench.chip.of(3)) > 3


def test_the_slot_writer_writes_whole_words():
    for kind, size in (("h743 qspi", 9001), ("h743 internal", 9001)):
        bench = Bench(kind, 4 if kind in QSPI else 2)
        region = Region(bench.flash, 0, bench.board.FLASH_SIZE)
        layout = Layout(region.size_bytes, 32, region.erase_bytes)
        image = memoryview(pattern(size))
        writer = SlotWriter(region, layout, memoryview(bytearray(4096)))
        writer.start(size, 4096)
        writer.erase_trailer()
        writer.erase_first()
        for block in (1, 2, 0):
            writer.write(block, image[block * 4096 : (block + 1) * 4096])
        assert bench.flash.map(0, size) == image
        assert writer.is_blank(size, region.size_bytes) and whole_words(bench.chip)


def booted(flash, board):
    return boot.Boot(flash, board, containers.keyset(), trailer.POWER).select()


def test_the_boot_stage_boots_a_slot_in_place():
    image = containers.image()
    for kind, write in (("f767 qspi", 8), ("h743 qspi", 32)):
        board = Board(4 * KIB, write, (("slot_a", 2), ("slot_b", 2), ("epoch", 2)))
        chip = Chip(kind, board.FLASH_SIZE)
        flash = port(chip, board)
        assert booted(flash, board).mode == decision.RECOVERY
        for name, counter in (("a", 1), ("b", 2)):
            slot = Slot(flash, board, name)
            slot.region.program(0, image + b"\xff" * (-len(image) % write))
            trailer.arm(slot.region, slot.layout, counter)
        slot = Slot(flash, board, "a")
        trailer.confirm(slot.region, slot.layout, slot.state())
        for attempt in (1, 2, 3):
            chip = chip.clone()
            flash = port(chip, board)
            stage = boot.Boot(flash, board, containers.keyset(), trailer.WATCHDOG)
            found = stage.select()
            assert (found.mode, found.slot.name, found.attempt) == (decision.TRIAL, "b", attempt)
            start = board.REGIONS["slot_b"][0] + found.verified.payload_offset
            assert found.payload == flash.map(start, len(containers.PAYLOAD)) == containers.PAYLOAD
        chip = chip.clone()
        found = booted(port(chip, board), board)
        assert (found.mode, found.slot.name) == (decision.TRIAL, "b")  # power excused the third
        found = boot.Boot(port(chip, board), board, containers.keyset(), trailer.SOFT).select()
        assert (found.mode, found.slot.name) == (decision.CONFIRMED, "a")
        assert whole_words(chip, write)
