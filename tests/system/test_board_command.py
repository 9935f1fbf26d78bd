"""`chargeflash board`: a board by hand, and one clear line for each mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil.errors import BenchError
from hil.virtual.board import VirtualBoard
from hil.virtual.plant import Plant
from host_tools.boards import load
from tests.system.bench import ROOT, mpremote
from tests.system.signed import image_for, keyset_in

BOARD = [sys.executable, "-m", "host_tools", "board"]


def chargeflash_board(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*BOARD, *map(str, words)],
        **{"capture_output": True, "text": True, "timeout": 20, "cwd": ROOT} | options,
    )


def refusal(*words: object, **options: object) -> tuple[int, str]:
    """(exit code, code of the one line on stderr)."""
    done = chargeflash_board(*words, **options)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr.rsplit("[", 1)[1].rstrip("]\n")


@contextmanager
def running(folder: Path, *words: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*BOARD, "run", "--folder", str(folder), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read_to(process: subprocess.Popen[str], words: str) -> str:
    """What it prints until a line holds `words`; fails at the end of its output."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} did not come: {seen}")


def test_a_board_by_hand(tmp_path: Path, micropython: str) -> None:
    folder, image = tmp_path / "board", tmp_path / "image.img"
    image.write_bytes(image_for(load("virtual-esp32")))
    words = ["--keyset", keyset_in(tmp_path), "--image", image, "--broker-port", 1]
    with running(folder, *words) as process:
        said = read_to(process, "boot: slot a 1.2.3+4 confirmed")
        assert f"mpremote connect {folder}/tty resume" in said
        assert refusal("run", "--folder", folder) == (5, "BOARD_BUSY")
        assert mpremote(folder / "tty", "resume", "exec", "print(6*7)").stdout.endswith("42\n")
        assert chargeflash_board("car", "charge", "--folder", folder).returncode == 0
        assert chargeflash_board("car", "card", "--folder", folder).returncode == 0
        plant = (folder / "plant.in").read_text()
        assert "cp0=C\npower0=7000\n" in plant
        assert "auth0=1:04A1B2C3" in plant
        process.send_signal(signal.SIGINT)
        assert "switched off" in read_to(process, "bench closed")
        assert process.wait(10) == 0
    assert not (folder / "tty").exists()
    with running(folder) as process:  # the folder is the board
        read_to(process, "boot: slot a 1.2.3+4 confirmed")
        process.terminate()
        assert process.wait(10) == 0


def test_mistakes_are_one_line_with_an_exit_code(tmp_path: Path) -> None:
    keyset, folder = keyset_in(tmp_path), tmp_path / "board"
    keys = ("--folder", folder, "--keyset", keyset)
    junk = tmp_path / "junk.img"
    junk.write_bytes(b"junk")
    assert refusal("run", "--folder", folder, "--board", "toaster") == (3, "UNKNOWN_BOARD")
    assert refusal("run", "--folder", folder) == (3, "NO_BASE")
    assert refusal("run", "--folder", junk) == (3, "NO_FOLDER")
    assert refusal("run", *keys, "--image", tmp_path / "none.img") == (3, "NO_IMAGE")
    assert refusal("run", *keys, "--image", junk) == (2, "BAD_IMAGE")
    assert refusal("run", "--folder", folder, "--keyset", tmp_path / "no") == (3, "NO_KEYSET")
    assert refusal("run", "--folder", folder, "--keyset", junk) == (2, "BAD_KEYSET")
    assert refusal("car", "plug", "--folder", tmp_path / "none") == (3, "NO_BOARD")
    assert chargeflash_board("car", "fly", "--folder", folder).returncode == 2


def test_a_mistake_touches_no_board(tmp_path: Path) -> None:
    folder, junk = tmp_path / "board", tmp_path / "junk.img"
    junk.write_bytes(b"junk")
    keys = ("--folder", folder, "--keyset", keyset_in(tmp_path))
    assert refusal("run", *keys, "--device", "bad name/+") == (2, "BAD_NAME")
    for heap in ("abc", "1k", "127k", "huge", "-1", "1g", "256k0"):
        assert refusal("run", *keys, f"--heap={heap}") == (2, "BAD_HEAP"), heap
    assert refusal("run", *keys, "--image", junk) == (2, "BAD_IMAGE")
    assert not folder.exists()


def test_files_without_an_end_are_not_read(tmp_path: Path) -> None:
    folder, pipe = tmp_path / "board", tmp_path / "pipe"
    os.mkfifo(pipe)
    for endless in (pipe, "/dev/zero", tmp_path):
        keys = ("--folder", folder, "--keyset", keyset_in(tmp_path))
        assert refusal("run", *keys, "--image", endless) == (2, "BAD_IMAGE")
        assert refusal("run", "--folder", folder, "--keyset", endless) == (2, "BAD_KEYSET")


def test_a_car_needs_a_board_that_runs(tmp_path: Path) -> None:
    with VirtualBoard(tmp_path):
        words = ("car", "card", "--folder", tmp_path, "--card")
        assert chargeflash_board(*words, "0aZ9").returncode == 0
        for card in ("", "1:2", "no card", "A" * 21, "\u00e9"):
            assert refusal(*words, card) == (2, "BAD_CARD"), card
        for garbage in (b"power0=\xff", b"auth0=1:a b", b"speed1=-1", b"cp0=Z", b"weld0="):
            (tmp_path / "plant.in").write_bytes(garbage + b"\n")
            assert refusal("car", "plug", "--folder", tmp_path) == (5, "BAD_PLANT"), garbage
    assert refusal("car", "plug", "--folder", tmp_path) == (5, "NOT_RUNNING")


def test_two_cars_at_once_both_count(tmp_path: Path) -> None:
    """The second one waits until the first has written."""
    with VirtualBoard(tmp_path):
        first = Plant(tmp_path)
        with first.joined():
            words = [*BOARD, "car", "plug", "--connector", "1", "--folder", str(tmp_path)]
            second = subprocess.Popen(words, cwd=ROOT)
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(1.0)
            first.plug(0)
        assert second.wait(10) == 0
        lines = (tmp_path / "plant.in").read_text().split()
    assert {"cp0=B", "cp1=B"} <= set(lines)


def test_a_board_that_never_comes_up_is_given_up(tmp_path: Path, micropython: str) -> None:
    with VirtualBoard(tmp_path, heap="1k") as board:
        board.provision("CP-0001", 1, keyset_in(tmp_path / "keys"))
        board.power_on()
        with pytest.raises(BenchError, match="before it ran a line") as caught:
            while not board.wait_ended(10):
                pass
        assert caught.value.code == "NO_BOOT"
        assert len(board.boots) == 5
        assert not board.powered


def test_no_color_is_honoured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hil import commands
    from hil.virtual.serial_log import Line

    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)  # a terminal
    for value, styled in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        commands._show(Line(0, 0.0, 1, "boot 1", note=True))
        assert ("\x1b" in capsys.readouterr().out) == styled


def test_without_micropython_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from hil import commands

    monkeypatch.setattr("hil.virtual.process.sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["run", "--folder", str(tmp_path / "board"), "--keyset", str(keyset_in(tmp_path))]
    result = CliRunner().invoke(commands.board, words)
    assert isinstance(result.exception, BenchError)
    assert result.exception.code == "MICROPYTHON_MISSING"
    assert result.exception.exit_code == 3


def test_a_second_hand_on_the_charger_changes_only_what_it_touches(tmp_path: Path) -> None:
    with VirtualBoard(tmp_path) as board:
        board.plant.meter_speed(0, 60)
        board.plant.request_power(1, 11000)
        assert chargeflash_board("car", "plug", "--folder", tmp_path).returncode == 0
        lines = (tmp_path / "plant.in").read_text().split()
    assert {"cp0=B", "speed0=60", "cp1=C", "power1=11000"} <= set(lines)
