"""Output files appear whole or not at all; inputs have a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from host_tools import files
from tests.host.published import refused


def test_a_file_and_its_replacement(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x"
    files.write_new(path, b"one")
    files.write_new(path, b"two", 0o600)
    assert path.read_bytes() == b"two" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["x"]


def test_not_over_a_file_or_a_broken_link(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("x", "link"):
        with refused("EXISTS", 2):
            files.write_new(tmp_path / name, b"two", replace=False)
    assert (tmp_path / "x").read_bytes() == b"mine" and not (tmp_path / "nowhere").exists()


def test_nobody_is_written_over_who_was_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"faster")
    monkeypatch.setattr(os.path, "lexists", lambda _: False)  # it was not there a moment ago
    with refused("UNWRITABLE"):
        files.write_new(tmp_path / "x", b"two", replace=False)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"faster")]


def test_a_leftover_of_an_interrupted_run_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".x.new").write_bytes(b"half")
    files.write_new(tmp_path / "x", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_failed_write_leaves_the_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with refused("UNWRITABLE", 2) as caught:
        files.write_new(tmp_path / "x", b"new")
    assert "No space left" in str(caught.value)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"old")]


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    files.write_new(path, b"through")
    assert os.read(reader, 100) == b"through" and path.is_fifo()
    os.close(reader)


# --- reading ----------------------------------------------------------------------------------------
def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert files.read(tmp_path / "x", 5) == b"12345"
    with refused("TOO_LARGE", 2) as caught:
        files.read(tmp_path / "x", 4, "key file")
    assert "4 bytes of a key file" in str(caught.value)
    with refused("NOT_FOUND", 3) as caught:
        files.read(tmp_path / "none", 5, "key file")
    assert "there is no key file" in str(caught.value)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), Path("/dev/tty")):
        with refused("UNREADABLE", 2):
            files.read(path, 5)


def test_a_link_to_a_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "link").symlink_to("x")
    assert files.read(tmp_path / "link") == b"1"
