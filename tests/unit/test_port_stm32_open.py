"""What the STM32 port refuses to open: firmware, parts and boards that cannot carry the map."""

import sys

from bootloader_verify.errors import FLASH_FAILED, FLASH_UNSUPPORTED, FlashError
from bootloader_verify.ports import stm32
from tests.unit.expect import raises
from tests.unit.stm32_chip import EINVAL, EIO, KIB, Board, Chip, port


def refused(kind, board, size_bytes=None, at=0, parts=1, **answers):
    """The text of the refusal; nothing was erased or programmed, and call 3 erased nothing."""
    chip = Chip(kind, size_bytes or board.FLASH_SIZE, at, parts)
    for name in answers:
        chip.answers[int(name[1:])] = answers[name]
    error = raises(FlashError, FLASH_UNSUPPORTED, port, chip, board)
    assert chip.operations == 0 and not chip.of(4)
    assert all(args == (0, 0, 0) for args in chip.of(3))
    return error.detail


def small(erase=4 * KIB, write=32, sectors=2, internal=False):
    return Board(erase, write, (("slot_a", sectors),), internal)


def test_an_old_firmware_erases_the_wrong_end():
    """What the port must never run into: the third argument is the length."""
    chip = Chip("old", 16 * KIB)
    assert chip.rom_ioctl(4, 0, 0, bytes(16 * KIB)) == 0
    assert chip.rom_ioctl(3, 0, 8 * KIB, 4 * KIB) == 4
    assert chip.image() == b"\xff" * 8 * KIB + bytes(8 * KIB)


def test_an_old_firmware_is_refused_before_any_erase():
    chip = Chip("old", 8 * KIB)
    error = raises(FlashError, FLASH_UNSUPPORTED, port, chip, small())
    assert "1.29" in error.detail
    assert not chip.of(3) and chip.operations == 0


def test_a_firmware_without_the_part_is_refused():
    assert "0 ROMFS parts" in refused("h743 qspi", small(), parts=0)
    board = small()
    for part in (1, 2, -1):
        board.STM32["rom_part"] = part
        assert "part {}".format(part) in refused("h743 qspi", board)


def test_a_part_that_is_too_small_is_refused():
    assert "4096 bytes" in refused("h743 qspi", small(), 4 * KIB)
    assert "0 bytes" in refused("h743 qspi", small(), a2=memoryview(b""))


def test_an_erase_size_that_the_chip_cannot_do_is_refused():
    assert "4096" in refused("h743 qspi", small(2 * KIB))
    assert "4096" in refused("h743 qspi", small(6 * KIB))
    # The F767 has sectors of 32, 128 and 256 KiB and answers with the largest.
    assert "262144" in refused("f767 internal", small(128 * KIB, 8, 1, True), at=128 * KIB)
    assert "1.29" in refused("h743 qspi", small(), a6=0)


def test_a_write_size_that_the_chip_cannot_do_is_refused():
    assert "4" in refused("h743 qspi", small(write=2))
    assert "4" in refused("h743 qspi", small(write=6))
    assert "write size" in refused("h743 qspi", small(write=512))
    assert "16" in refused("h743 internal", small(128 * KIB, 8, 1, True))
    assert "write size" in refused("h743 qspi", small(), a3=0)


def test_internal_flash_is_refused_unless_the_board_says_so():
    assert "internal" in refused("h743 internal", small(128 * KIB, 32, 1))
    board = small(128 * KIB, 32, 1)
    del board.STM32["internal"]
    assert "internal" in refused("h743 internal", board)
    port(Chip("h743 internal", 128 * KIB), small(128 * KIB, 32, 1, True))


def test_a_part_that_begins_inside_of_a_sector_is_refused():
    """Its first erase would take what stands before the part: the firmware."""
    board = small(256 * KIB, 16, 1, True)
    assert "inside" in refused("f767 internal", board, at=128 * KIB)
    chip = Chip("f767 internal", 256 * KIB, 128 * KIB)
    assert chip.rom_ioctl(3, 0, 128 * KIB + 4, 4) == 16
    assert chip.trace == [("erase", 128 * KIB, 128 * KIB)] and chip.collateral


def test_a_firmware_without_rom_ioctl_is_refused():
    class Empty:
        pass

    error = open_with(Empty(), None)
    assert isinstance(error, FlashError) and error.code == FLASH_UNSUPPORTED
    assert "ROMFS" in error.detail


def test_open_flash_takes_the_modules_of_the_chip():
    board = small()
    chip = Chip("h743 qspi", board.FLASH_SIZE)
    flash = open_with(chip, board)
    flash.program(0, bytes(range(64)))
    assert chip.image()[:64] == bytes(range(64))


def open_with(vfs, board):
    """`open_flash` where `vfs`, `uctypes` and `machine` are stand-ins; an error is returned."""

    class Fake:
        pass

    uctypes, machine = Fake(), Fake()
    uctypes.addressof = getattr(vfs, "address_of", None)
    machine.mem32 = vfs
    fakes = {"vfs": vfs, "uctypes": uctypes, "machine": machine}
    before = {name: sys.modules.get(name) for name in fakes}
    sys.modules.update(fakes)
    try:
        return stm32.open_flash(board)
    except FlashError as err:
        return err
    finally:
        for name in before:
            if before[name] is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before[name]


def test_an_errno_while_opening_is_an_error_with_its_number():
    for op in (1, 2, 3):
        for answer in (-EINVAL, OSError(EINVAL)):
            chip = Chip("h743 qspi", 8 * KIB)
            chip.answers[op] = answer
            error = raises(FlashError, FLASH_FAILED, port, chip, small())
            assert error.detail == "call {}: errno 22".format(op)
    chip = Chip("h743 qspi", 8 * KIB)
    chip.answers[6] = OSError(EIO)
    assert "errno 5" in raises(FlashError, FLASH_FAILED, port, chip, small()).detail
