"""What every command shares: a mistake is one line with a code, whoever made it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from host_tools import cli, files
from tests.host.published import Command
from tests.vectors import make_golden

IMAGE = make_golden.FOLDER / "image.img"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


# --- misuse -----------------------------------------------------------------------------------------
MISUSE = {
    "no key": (["verify", IMAGE], "--key", "chargeflash verify"),
    "no such option": (["verify", "--kex"], "--kex", "chargeflash verify"),
    "no such command": (["verfy"], "verfy", "chargeflash"),
    "no such encoding": (["publish", IMAGE, "--encoding", "zip"], "zip", "chargeflash publish"),
    "no number": (["build", ".", "--epoch", "one"], "--epoch", "chargeflash build"),
    "a command of a group": (["keys", "old"], "old", "chargeflash keys"),
    "a missing choice": (["keys", "new", "a"], "--out", "chargeflash keys new"),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_one_line_and_a_hint(command: Command, what: str) -> None:
    words, told, whose = MISUSE[what]
    code, out, err = command(*words)
    assert code == 2 and out == ""
    line, hint = err.splitlines()
    assert line.startswith("error: ") and told in line and line.endswith(" [USAGE]")
    assert hint == f"hint: {whose} --help"


def test_nothing_at_all_is_answered_by_the_help(command: Command) -> None:
    code, out, err = command()
    assert code == 2 and "Commands:" in out + err and "[USAGE]" not in out + err


# --- what the system refuses ------------------------------------------------------------------------
def test_an_error_that_nobody_foresaw(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "x"))

    monkeypatch.setattr(files, "read", locked)
    said = command.fails("OS_ERROR", 1, "show", tmp_path / "x")
    assert said == f"error: {tmp_path / 'x'}: Permission denied [OS_ERROR]\n"


def test_a_name_that_is_too_long(command: Command, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300)
    for words in (
        ["show", long],
        ["build", long, "--board", "virtual-esp32", "--version", "1.0.0", "--out", "a.img"],
    ):
        assert "File name too long [OS_ERROR]" in command.fails("OS_ERROR", 1, *words)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_stdout() -> None:
    """One line, and nothing more when Python ends."""
    with open("/dev/full", "wb") as full:
        call = [sys.executable, "-m", "host_tools", "show", str(IMAGE)]
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device [OS_ERROR]\n"


def test_a_defect_of_ours_is_shown_whole(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "chargeflash", lambda **_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        command("show")
