"""What the factory does to a virtual board: base firmware as bytecode, first image, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.errors import BenchError
from hil.virtual import factory
from hil.virtual.board import VirtualBoard
from host_tools.boards import load
from host_tools.errors import ToolError
from tests.system.signed import image_for, keyset_in

BOARD = load("virtual-esp32")


@pytest.fixture
def board(tmp_path: Path, micropython: str) -> Iterator[VirtualBoard]:
    with VirtualBoard(tmp_path / "board") as board:
        yield board


@pytest.mark.parametrize("source", [False, True])
def test_the_real_agent_starts_from_its_base_firmware(
    board: VirtualBoard, tmp_path: Path, source: bool
) -> None:
    board.heap = "1m" if source else board.heap  # sources are compiled in the heap
    board.provision("CP-0001", 1, keyset_in(tmp_path), source=source, keepalive_s=30)
    board.power_on()
    board.wait_line("boot: recovery, no slot boots", 10)
    board.wait_line("heap: ", 10)
    assert (board.folder / "device.json").read_text().count('"keepalive_s": 30') == 1


def test_bytecode_only_but_for_what_is_generated(board: VirtualBoard, tmp_path: Path) -> None:
    board.provision("CP-0001", 1, keyset_in(tmp_path))
    board.provision("CP-0001", 1, keyset_in(tmp_path))  # once more is no harm
    base = board.folder / "base"
    assert sorted(path.name for path in base.rglob("*.py")) == [
        "board.py",
        "factory_keyset.py",
        "main.py",
    ]
    for place in ("agent/__init__", "agent/ports/unix", "bootloader_verify/boot", "machine"):
        assert (base / f"{place}.mpy").is_file()
    assert not list(board.folder.glob("base.*"))


def test_a_board_that_was_provisioned_once_keeps_its_base(tmp_path: Path) -> None:
    with VirtualBoard(tmp_path / "board") as board:
        board.provision("CP-0001", 1, keyset_in(tmp_path))
    assert VirtualBoard(tmp_path / "board").base == tmp_path / "board" / "base"


def test_the_factory_image_boots_confirmed_from_slot_a(board: VirtualBoard, tmp_path: Path) -> None:
    board.provision("CP-0001", 1, keyset_in(tmp_path))
    board.flash.write_bytes(bytes(BOARD.flash_size))  # what was there before is gone
    image = image_for(BOARD, 5001)
    board.factory_flash(image)
    flash = board.flash.read_bytes()
    assert flash.startswith(image)
    assert set(flash[BOARD.regions["slot_b"].offset :]) == {0xFF}
    board.power_on()
    board.wait_line("boot: slot a 1.2.3[+]4 confirmed", 10)


def test_the_boot_stage_not_the_factory_looks_at_the_signature(
    board: VirtualBoard, tmp_path: Path
) -> None:
    board.provision("CP-0001", 1, keyset_in(tmp_path))
    image = bytearray(image_for(BOARD))
    image[600] ^= 1
    board.factory_flash(bytes(image))
    board.power_on()
    board.wait_line("boot: slot a refused, BAD_HASH", 10)


def refused(board: VirtualBoard, image: bytes) -> str:
    with pytest.raises(BenchError) as caught:
        board.factory_flash(image)
    return caught.value.code


def test_what_is_no_image_is_not_flashed(board: VirtualBoard, tmp_path: Path) -> None:
    good = image_for(BOARD)
    limit = BOARD.image_limit
    assert refused(board, b"") == "BAD_IMAGE"
    assert refused(board, good[:20]) == "BAD_IMAGE"
    assert refused(board, good[:-100]) == "BAD_IMAGE"
    assert refused(board, b"\x7fELF" + good[4:]) == "BAD_IMAGE"
    assert refused(board, keyset_in(tmp_path).read_bytes()) == "BAD_IMAGE"
    assert refused(board, good + bytes(limit + 1 - len(good))) == "IMAGE_TOO_LARGE"
    assert not board.flash.exists()


def test_a_factory_works_on_boards_without_power(board: VirtualBoard, tmp_path: Path) -> None:
    keyset = keyset_in(tmp_path)
    board.provision("CP-0001", 1, keyset)
    board.power_on()
    with pytest.raises(BenchError, match="switch it off") as caught:
        board.provision("CP-0001", 1, keyset)
    assert caught.value.code == "POWERED"
    assert refused(board, image_for(BOARD)) == "POWERED"


def test_keys_and_board_must_be_real(board: VirtualBoard, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        board.provision("CP-0001", 1, tmp_path / "nothing.img")
    assert (caught.value.code, caught.value.exit_code) == ("NO_KEYSET", 3)
    for junk in (b"", b"not a container, but longer than a header is", image_for(BOARD)):
        (tmp_path / "junk.img").write_bytes(junk)
        with pytest.raises(BenchError) as caught:
            board.provision("CP-0001", 1, tmp_path / "junk.img")
        assert caught.value.code == "BAD_KEYSET"
    board.board = "no-such-board"
    with pytest.raises(ToolError) as unknown:
        board.provision("CP-0001", 1, keyset_in(tmp_path))
    assert unknown.value.code == "UNKNOWN_BOARD"
    assert board.base is None


def test_source_that_does_not_compile_is_named(
    board: VirtualBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "agent"
    broken.mkdir()
    (broken / "main.py").write_text("def main(:\n")
    monkeypatch.setitem(factory._PACKAGES, "agent", broken)
    with pytest.raises(BenchError, match=r"agent/main\.py does not compile") as caught:
        board.provision("CP-0001", 1, keyset_in(tmp_path))
    assert caught.value.code == "COMPILE_FAILED"
