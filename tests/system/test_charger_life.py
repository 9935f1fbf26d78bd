"""Applications that misbehave, on the real MicroPython: the agent stays, and a hang leaves it time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hil.virtual.board import VirtualBoard
from host_tools import container, romfs
from host_tools.boards import load
from host_tools.build import make
from tests.power.rig import RELEASE
from tests.system.bench import ROOT
from tests.system.signed import keyset_in

pytestmark = pytest.mark.usefixtures("micropython")
BOARD = load("virtual-esp32")
_WATCHDOG_S = 10
_SOON = {"retry_back_off_wait_minimum_s": 1, "retry_back_off_random_range_s": 0}


def board_with(folder: Path, run: str) -> VirtualBoard:
    """A board whose confirmed application has this body of `async def run`."""
    app = folder / "app"
    shutil.copytree(ROOT / "tests/system/small_app", app)
    source = (app / "app.py").read_text()
    begin = source.index("        while True:")
    end = source.index("    def connectors")
    (app / "app.py").write_text(f"{source[:begin]}        {run}\n\n{source[end:]}")
    image = container.add_signature(make(romfs.build(app), BOARD, "1.0.0"), RELEASE)
    board = VirtualBoard(folder / "board")
    board.provision("CP-0001", 1, keyset_in(folder), keepalive_s=30, back_off=_SOON)
    board.factory_flash(image)
    return board


@pytest.mark.parametrize(
    "run, said",
    [
        ("raise SystemExit(3)", "application stopped: SystemExit: 3"),
        ("raise asyncio.CancelledError()", "application stopped: CancelledError:"),
        ("1 / 0", "application stopped: ZeroDivisionError: divide by zero"),
        ("await asyncio.sleep(0)", r"application stopped: run\(\) ended"),
    ],
)
def test_an_application_that_ends_leaves_the_agent_running(
    tmp_path: Path, run: str, said: str
) -> None:
    with board_with(tmp_path, run) as board:
        board.power_on()
        board.wait_line("boot: slot a 1.0.0[+]0 confirmed", 10)
        board.wait_line(said, 10)
        board.wait_line("link down", 10)  # there is no broker: the agent goes on trying
        board.wait_line("link down", 10)
        assert len(board.boots) == 1


def test_behind_a_hang_the_agent_comes_first(tmp_path: Path) -> None:
    with board_with(tmp_path, "while True: pass") as board:
        board.power_on()
        board.wait_line("small app 1.0.0[+]0", 10)
        board.wait_line("the application hung: the agent runs alone", _WATCHDOG_S + 10)
        since = board.log.mark()
        board.wait_line("link down", 10)
        assert "small app" not in board.log.text(since)
        assert board.boots[-1].cause == "watchdog"
