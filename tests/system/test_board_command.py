"""`chargeflash board`: a board by hand, and one clear line for each mistake."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil.virtual.board import VirtualBoard
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


def test_without_micropython_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from hil import commands
    from hil.errors import BenchError

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
