"""The demo's verdict: exit code 0 only if every claim held, and no folder but its own is emptied."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hil.demo import __main__ as demo
from hil.demo.download import Stretch
from hil.demo.story import DemoFailedError, Story
from hil.errors import NotSeenError
from host_tools.errors import ToolError


def told(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Callable[[Story], None],
    claims: int = 1,
) -> Result:
    monkeypatch.setattr(demo, "tell", lambda story, *_: tell(story))
    monkeypatch.setattr(demo, "CLAIMS", claims)
    return CliRunner().invoke(demo.main, ["--folder", str(folder)])


def test_all_claims_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = told(tmp_path, monkeypatch, lambda story: story.claim("it boots", True, "slot a"))
    assert result.exit_code == 0
    assert "it boots: slot a" in result.output
    assert "1 of 1 held" in result.output


def test_one_claim_that_did_not_hold_fails_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(story: Story) -> None:
        story.claim("it boots", True, "slot a")
        story.claim("it charges", False, "no")

    result = told(tmp_path, monkeypatch, tell, claims=2)
    assert result.exit_code == 1
    assert "1 of 2 held" in result.output


def test_a_claim_that_was_not_made_fails_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = lambda story: story.claim("it boots", True, "slot a")  # noqa: E731
    result = told(tmp_path, monkeypatch, tell, claims=2)
    assert result.exit_code == 1
    assert "1 of 2 held" in result.output


@pytest.mark.parametrize(
    "error",
    [
        DemoFailedError("no [server]"),
        NotSeenError("no word"),
        ToolError("UNKNOWN_BOARD", "no toaster"),
        subprocess.TimeoutExpired("publish", 60),
    ],
)
def test_a_story_that_breaks_off_is_a_claim_that_did_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def tell(story: Story) -> None:
        story.claim("it boots", True, "slot a")
        raise error

    result = told(tmp_path, monkeypatch, tell)
    assert result.exit_code == 1
    assert str(error) in result.output


def test_nothing_claimed_is_nothing_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(tmp_path, monkeypatch, lambda story: None).exit_code == 1


def test_a_command_with_another_exit_code_ends_the_story(tmp_path: Path) -> None:
    from rich.console import Console

    story = Story(Console(quiet=True), tmp_path, 1)
    assert "Usage" in story.command("--help")
    with pytest.raises(DemoFailedError, match=r"exited 2, expected 0"):
        story.command("no-such-command")


def test_only_its_own_folder_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell = lambda story: story.claim("it boots", True, "")  # noqa: E731
    mine = tmp_path / "notes.txt"
    mine.write_text("mine")
    assert told(tmp_path, monkeypatch, tell).exit_code == 2
    assert mine.exists()
    demo_folder = tmp_path / "demo"
    assert told(demo_folder, monkeypatch, tell).exit_code == 0
    (demo_folder / "old.img").touch()
    assert told(demo_folder, monkeypatch, tell).exit_code == 0
    assert not (demo_folder / "old.img").exists()


def test_a_folder_that_is_a_file_is_a_mistake_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    result = told(tmp_path / "file", monkeypatch, lambda story: None)
    assert result.exit_code == 2
    assert "cannot be the demo's folder" in result.output


def test_a_terminal_without_our_signs_gets_the_table(tmp_path: Path) -> None:
    program = (
        "from hil.demo import __main__ as demo\n"
        "demo.CLAIMS = 1\n"
        "demo.tell = lambda story, *_: story.claim('it \u2714', True, '')\n"
        f"demo.main(['--folder', {str(tmp_path / 'demo')!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 1 held" in done.stdout


def stretch(before: str, after: str, sent: str, wrong: int = 0) -> Stretch:
    return Stretch(
        frozenset(map(int, before)), frozenset(map(int, after)), tuple(map(int, sent)), wrong
    )


def test_a_cut_may_cost_what_was_missing_and_nothing_else() -> None:
    cut = stretch("", "12", "1234567")
    assert (cut.lost, cut.lost_most(8)) == (5, 6)
    assert cut.only_missing_once()
    assert not stretch("1", "12", "12").only_missing_once()  # stood already
    assert not stretch("", "12", "122").only_missing_once()
    wrong = stretch("12", "124", "3453", wrong=1)
    assert (wrong.lost, wrong.lost_most(6)) == (2, 3)
    assert wrong.only_missing_once()
    end = stretch("124", "01234567", "35670")
    assert (end.lost, end.lost_most(8)) == (0, 0)
    assert stretch("124", "01234567", "356770").lost == 1


def test_flash_is_read_as_the_boot_stage_reads_it(tmp_path: Path) -> None:
    from hil.demo.flash_look import ArmedWatch, blocks_standing, is_armed, is_blank, trailer_of
    from hil.virtual.board import VirtualBoard
    from host_tools.boards import load
    from tests.system.signed import image_for

    image = image_for(load("virtual-esp32"), 9000)
    with VirtualBoard(tmp_path) as board:
        board.factory_flash(image)
        assert trailer_of(board, "a").confirmed
        assert is_armed(board, "a")
        assert not is_armed(board, "b")
        assert blocks_standing(board, "a", image) == {0, 1, 2}
        assert blocks_standing(board, "b", image) == set()
        wrong = image[:5000] + bytes([image[5000] ^ 1]) + image[5001:]
        assert blocks_standing(board, "a", wrong) == {0, 2}
        assert is_blank(board, "b", 0)
        assert not is_blank(board, "a", 2)
        for slot, armed in (("a", True), ("b", False)):
            with ArmedWatch(board, slot) as watch:
                pass
            assert (watch.armed, watch.looks > 0) == (armed, True)
