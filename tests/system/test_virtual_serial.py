"""The virtual board's serial port is one that the tools of MicroPython's users take for real."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from hil.errors import NotSeenError
from hil.virtual.board import VirtualBoard
from tests.system.bench import base_with, mpremote

pytestmark = pytest.mark.usefixtures("micropython")
_MAIN = """
import time
print("main runs")
while True:
    time.sleep(0.05)
    print("tick")
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    with VirtualBoard(tmp_path / "board", base=base_with(tmp_path / "base", _MAIN)) as board:
        board.power_on()
        board.wait_line("main runs", 5)
        yield board


def test_mpremote_executes_and_main_does_not_run_after_its_soft_reset(board: VirtualBoard) -> None:
    done = mpremote(board.tty, "exec", "print(6 * 7)")
    assert (done.stdout, done.returncode) == ("42\n", 0)
    assert [boot.cause for boot in board.boots] == ["power", "soft"]
    time.sleep(0.2)
    said = board.log.lines()
    assert not [line for line in said if line.boot == 2 and line.text in ("main runs", "tick")]


def test_after_a_reset_main_runs_again(board: VirtualBoard) -> None:
    assert mpremote(board.tty, "exec", "print(1)").returncode == 0
    assert mpremote(board.tty, "reset").returncode == 0
    board.wait_line("main runs", 5)
    assert board.boots[-1].cause == "hard"


def test_mpremote_resumes_lists_and_copies_files(board: VirtualBoard, tmp_path: Path) -> None:
    there, back = tmp_path / "there.bin", tmp_path / "back.bin"
    there.write_bytes(bytes(range(256)) * 8)
    assert mpremote(board.tty, "resume", "exec", "print('x')").stdout == "x\n"
    assert mpremote(board.tty, "fs", "cp", str(there), ":copy.bin").returncode == 0
    assert "copy.bin" in mpremote(board.tty, "fs", "ls").stdout
    assert mpremote(board.tty, "fs", "cp", ":copy.bin", str(back)).returncode == 0
    assert back.read_bytes() == there.read_bytes()


def test_an_error_on_the_device_is_the_tools_error(board: VirtualBoard) -> None:
    done = mpremote(board.tty, "exec", "1/0")
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stdout + done.stderr


def test_a_second_user_of_the_port_hears_that_it_is_busy(board: VirtualBoard) -> None:
    with serial.Serial(str(board.tty), exclusive=True):
        done = mpremote(board.tty, "exec", "print(1)")
    assert done.returncode != 0
    assert "in use by another program" in done.stdout + done.stderr
    assert mpremote(board.tty, "exec", "print(1)").stdout == "1\n"


def test_a_terminal_sees_carriage_returns_and_ctrl_c_ends_in_the_repl(board: VirtualBoard) -> None:
    with serial.Serial(str(board.tty), timeout=3) as port:
        seen = port.read_until(b"tick\r\ntick\r\n")
        assert b"tick\r\ntick\r\n" in seen
        port.write(b"\x03")
        assert b"KeyboardInterrupt" in port.read_until(b">>> ")
        port.write(b"6*7\r\n")
        assert b"42\r\n>>> " in port.read_until(b"42\r\n>>> ")
        port.write(b"\x04")
        assert b"MPY: soft reboot\r\nmain runs\r\n" in port.read_until(b"main runs\r\n")


def test_a_user_who_sets_nothing_gets_no_echo(board: VirtualBoard) -> None:
    port = os.open(board.tty, os.O_RDWR | os.O_NOCTTY)
    try:
        time.sleep(0.1)
        os.write(port, b"\x03")
        said = b""
        while b">>> " not in said:
            said += os.read(port, 4096)
        os.write(port, b"'an' + 'swer'\r")
        while b"'answer'" not in said:
            said += os.read(port, 4096)
    finally:
        os.close(port)
    assert said.count(b"'an' + 'swer'") == 1  # MicroPython's own echo, not the terminal's


def test_what_was_said_to_nobody_is_gone(board: VirtualBoard) -> None:
    board.wait_line("tick", 2)
    with serial.Serial(str(board.tty), timeout=3) as port:
        assert b"main runs" not in port.read_until(b"tick\r\n")


def test_the_log_file_has_times_and_what_the_bench_did(board: VirtualBoard) -> None:
    board.power_off()
    lines = (board.folder / "serial.log").read_text().splitlines()
    assert lines[0].endswith("Z boot 1 # boot 1, reset cause power")
    assert lines[1].endswith("Z boot 1 | main runs")
    assert lines[-1].endswith("# power off")


def test_a_wait_goes_on_where_the_last_one_ended(board: VirtualBoard) -> None:
    first = board.wait_line("tick", 2)
    assert board.wait_line("tick", 2).index > first.index
    with pytest.raises(NotSeenError, match="no line with /main runs/"):
        board.wait_line("main runs", 0.1)
    assert board.wait_line("main (runs)", 1, since=0).group(1) == "runs"
