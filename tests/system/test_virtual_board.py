"""The virtual board keeps the rules of a chip: its flash, its power, its watchdog, its resets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootloader_verify.ports.unix import NorFile
from hil.errors import BenchError
from hil.virtual.board import VirtualBoard
from hil.virtual.plant import Outputs
from tests.system.bench import ROOT, base_with

pytestmark = pytest.mark.usefixtures("micropython")
MakeBoard = Callable[..., VirtualBoard]

_SAYS_CAUSE = """
import os, time
print("up", os.getenv("CHARGEFLASH_RESET_CAUSE"))
while True: time.sleep(1)
"""
_FLASH = """
import virtual_cut
from bootloader_verify.ports.unix import NorFile
flash = NorFile("flash.bin", 65536, 4096, 8, hook=virtual_cut.hook())
"""


@pytest.fixture
def make_board(tmp_path: Path) -> Iterator[MakeBoard]:
    boards: list[VirtualBoard] = []

    def make(main: str = _SAYS_CAUSE, **options: object) -> VirtualBoard:
        base = base_with(tmp_path / "base", main)
        board = VirtualBoard(tmp_path / "board", base=base, **options)  # type: ignore[arg-type]
        boards.append(board)
        return board.open()

    yield make
    for board in boards:
        board.stop()


def flash_of(board: VirtualBoard) -> NorFile:
    return NorFile(str(board.flash), 65536, 4096, 8)


# Power.


def test_a_power_cut_leaves_no_process_and_no_word(make_board: MakeBoard) -> None:
    board = make_board("while True: print('busy')")
    board.power_on()
    board.wait_line("busy", 5)
    pid = board.boots[0].pid
    board.power_off()
    said = board.log.mark()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    time.sleep(0.1)
    assert board.log.mark() == said
    assert not board.powered


def test_the_flash_holds_whole_units_after_a_cut_and_refuses_them_ever_after(
    make_board: MakeBoard,
) -> None:
    board = make_board(
        _FLASH
        + """
from bootloader_verify.errors import FlashError
try: flash.program(0, b"12345678")
except FlashError as e: print("refused", e.code)
else:
    print("programming")
    for offset in range(8, 65536, 8): flash.program(offset, b"12345678")
"""
    )
    board.power_on()
    board.wait_line("programming", 5)
    time.sleep(0.02)
    board.power_off()
    kept = board.flash.read_bytes()
    units = {kept[i : i + 8] for i in range(0, len(kept), 8)}
    assert units <= {b"12345678", b"\xff" * 8}
    assert kept.startswith(b"12345678")
    board.power_on()
    board.wait_line("refused FLASH_REWRITE", 5)
    assert board.flash.read_bytes() == kept


@pytest.mark.parametrize(
    ("torn", "left"),
    [
        ("before", b"\xff" * 16),
        ("after", b"ABCDEFGHIJKLMNOP"),
        ("prefix-5", b"ABCDE" + b"\xff" * 11),
        ("suffix-3", b"\xff" * 13 + b"NOP"),
    ],
)
def test_a_cut_at_an_operation_leaves_what_it_says(
    make_board: MakeBoard, torn: str, left: bytes
) -> None:
    board = make_board(
        _FLASH + "flash.program(0, b'12345678'); flash.program(8, b'ABCDEFGHIJKLMNOP'); print('no')"
    )
    cut = board.cut_at_operation(1, torn)
    assert cut.id == f"b1-o1-{torn}"
    board.power_on()
    board.wait_off(5)
    assert board.flash.read_bytes()[:24] == b"12345678" + left
    assert "no" not in board.log.text()
    assert "power cut" in board.boots[0].end


def test_a_torn_erase_and_a_masked_write_are_repeatable(make_board: MakeBoard) -> None:
    board = make_board(_FLASH + "flash.program(0, bytes(16)); flash.erase(0, 4096)")
    board.cut_at_operation(0, "mask-7")
    board.power_on()
    board.wait_off(5)
    first = board.flash.read_bytes()[:16]
    assert first not in (bytes(16), b"\xff" * 16)
    board.flash.unlink()
    board.cut_at_operation(0, "mask-7")
    board.power_on()
    board.wait_off(5)
    assert board.flash.read_bytes()[:16] == first
    board.flash.unlink()
    board.cut_at_operation(1, "prefix-4")
    board.power_on()
    board.wait_off(5)
    assert board.flash.read_bytes()[:16] == b"\xff" * 4 + bytes(12)


def test_flash_operations_are_counted_on_wish(make_board: MakeBoard) -> None:
    board = make_board(
        _FLASH + "flash.erase(0, 8192); flash.program(8, bytes(16)); print('done')",
        trace_flash=True,
    )
    board.power_on()
    board.wait_line("done", 5)
    board.power_off()
    assert board.boots[0].operations == [
        ("erase", 0, 4096),
        ("erase", 4096, 4096),
        ("program", 8, 16),
    ]


def test_a_cut_after_a_line_happens_once(make_board: MakeBoard) -> None:
    board = make_board("print('one'); print('two')\nwhile True: pass")
    board.cut_after_line("two")
    board.power_on()
    board.wait_off(5)
    board.power_on()
    board.wait_line("two", 5)
    board.wait_line("two", 5)
    assert board.powered


def test_a_board_without_power_cannot_be_reset(make_board: MakeBoard) -> None:
    with pytest.raises(BenchError, match="switch it on") as caught:
        make_board().reset()
    assert caught.value.code == "NO_POWER"


def test_nothing_is_left_when_the_bench_is_killed(tmp_path: Path) -> None:
    base = base_with(tmp_path / "base", _SAYS_CAUSE)
    bench = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from hil.virtual.board import VirtualBoard\n"
            "board = VirtualBoard(Path(sys.argv[1]), base=Path(sys.argv[2])).start()\n"
            "board.wait_line('up', 5); print(board.boots[0].pid, flush=True); time.sleep(60)",
            str(tmp_path / "board"),
            str(base),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert bench.stdout is not None
    device = int(bench.stdout.readline())
    bench.kill()
    bench.wait()
    bench.stdout.close()
    assert gone_within(device, 3.0)


def gone_within(pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    return False


# Resets and watchdog.


def test_each_boot_knows_its_reset_cause(make_board: MakeBoard) -> None:
    board = make_board()
    board.power_on()
    board.wait_line("up power", 5)
    for cause in ("soft", "hard", "watchdog"):
        board.reset(cause)
        board.wait_line(f"up {cause}", 5)
    board.power_off()
    board.power_on()
    board.wait_line("up power", 5)
    assert [boot.cause for boot in board.boots] == ["power", "soft", "hard", "watchdog", "power"]


def test_the_device_resets_itself(make_board: MakeBoard) -> None:
    board = make_board(
        """
        import machine
        cause = machine.reset_cause()
        if cause == machine.PWRON_RESET: machine.reset()
        if cause == machine.HARD_RESET: machine.soft_reset()
        print("the end")
        """
    )
    board.power_on()
    board.wait_line("the end", 5)
    assert [boot.cause for boot in board.boots] == ["power", "hard", "soft"]


def test_the_end_of_main_by_exit_is_a_soft_reset_with_its_code(make_board: MakeBoard) -> None:
    board = make_board("import sys; print('main'); sys.exit(3)")
    board.power_on()
    board.wait_line("main", 5)
    board.wait_line("main", 5)
    assert board.boots[0].exit_code == 3
    assert board.boots[1].cause == "soft"


def test_the_watchdog_bites_a_device_that_hangs(make_board: MakeBoard) -> None:
    board = make_board(
        """
        import machine, os, time
        print("up", os.getenv("CHARGEFLASH_RESET_CAUSE"))
        dog = machine.WDT(timeout=300)
        for _ in range(10):
            time.sleep(0.05)
            dog.feed()
        print("hangs")
        while True: pass
        """
    )
    board.power_on()
    board.wait_line("hangs", 5)
    board.wait_line("up watchdog", 5)
    assert "not fed for 300 ms" in board.boots[0].end


def test_a_flood_of_junk_on_the_control_line_hurts_nobody(make_board: MakeBoard) -> None:
    board = make_board(
        """
        with open("control", "w") as f:
            f.write("wdt x\\nreset\\nop a b c d\\n" + 2000 * "junk" + "\\n\\xff\\n")
        print("still here")
        """
    )
    board.power_on()
    board.wait_line("still here", 5)
    board.wait_line("help", 5)
    assert board.powered
    assert len(board.boots) == 1


# The charger around it.


def test_the_device_sees_the_car_and_the_bench_sees_the_outputs(make_board: MakeBoard) -> None:
    board = make_board(
        """
        import virtual_io as io, time
        print("pilot", io.pilot_mv(0), io.pilot_mv(1))
        while io.pilot_mv(0) != 6000: time.sleep(0.02)
        while not (card := io.rfid(0)): time.sleep(0.02)
        print("card", card, io.rfid(0))
        io.set_pwm(0, 266)
        io.set_contactor(0, True)
        print("closed", io.contactor_feedback(0), "power", io.power_w(0))
        while io.energy_pulses(0) < 20: time.sleep(0.02)
        print("charged")
        while not io.rfid(0): time.sleep(0.02)
        io.set_contactor(0, False)
        print("after the session: closed", io.contactor_feedback(0), "power", io.power_w(0))
        """
    )
    board.plant.meter_speed(0, 60)
    board.power_on()
    board.wait_line("pilot 12000 12000", 5)
    board.plant.plug(0)
    board.plant.request_power(0, 7000)
    board.plant.authorise(0)
    board.wait_line("card 04A1B2C3 None", 5)
    board.wait_line("closed True power 7000", 5)
    assert board.plant.outputs()[0].closed
    assert board.plant.outputs()[0].pwm_permille == 266
    board.wait_line("charged", 5)
    board.plant.weld(0)
    board.plant.authorise(0, card="another")
    board.wait_line("after the session: closed True power 7000", 5)
    board.power_off()
    assert board.plant.outputs()[0] == Outputs(pwm_permille=1000, coil=False, closed=True)
    assert board.plant.meter_wh(0) >= 20


def test_a_second_user_of_a_board_is_told(make_board: MakeBoard) -> None:
    board = make_board()
    with pytest.raises(BenchError, match="another program runs the board") as caught:
        VirtualBoard(board.folder, base=board.base).open()
    assert caught.value.code == "BOARD_BUSY"
