"""The demo's verdict: exit code 0 only if every claim held, and no folder but its own is emptied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hil.demo import __main__ as demo
from hil.demo.story import DemoFailedError, Story
from hil.errors import NotSeenError


def told(folder: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[Story], None]) -> Result:
    monkeypatch.setattr(demo, "tell", lambda story, *_: tell(story))
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

    result = told(tmp_path, monkeypatch, tell)
    assert result.exit_code == 1
    assert "1 of 2 held" in result.output


@pytest.mark.parametrize("error", [DemoFailedError("no [server]"), NotSeenError("no word")])
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

    story = Story(Console(quiet=True), tmp_path)
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
