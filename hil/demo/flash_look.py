"""What stands in the charger's flash, read out of its file: not what the charger says about it.

Every byte that the device programs is in the file at once, so this holds with the power on too.
"""

from __future__ import annotations

import threading
from typing import Self

from bootloader_verify import trailer
from bootloader_verify.trailer import TrailerState
from hil.virtual.board import VirtualBoard
from host_tools.boards import load
from host_tools.container import reader

BLOCK_BYTES = 4096
_LOOK_EACH_S = 0.1


def slot_bytes(board: VirtualBoard, slot: str) -> bytes:
    """The whole slot ("a" or "b")."""
    place = load(board.board).regions[f"slot_{slot}"]
    with board.flash.open("rb") as flash:
        flash.seek(place.offset)
        return flash.read(place.size)


def trailer_of(board: VirtualBoard, slot: str) -> TrailerState:
    """What the boot stage would read there now."""
    return trailer.parse(reader(slot_bytes(board, slot)), load(board.board).layout(slot))


def is_armed(board: VirtualBoard, slot: str) -> bool:
    """Could the boot stage start it? True for a trial, a confirmed slot and half a magic."""
    return trailer_of(board, slot).magic != trailer.ERASED


def blocks_standing(board: VirtualBoard, slot: str, image: bytes) -> set[int]:
    """The numbers of the blocks of `image` that stand in the slot, byte for byte."""
    found = slot_bytes(board, slot)
    starts = range(0, len(image), BLOCK_BYTES)
    return {
        at // BLOCK_BYTES
        for at in starts
        if found[at : at + BLOCK_BYTES].startswith(image[at : at + BLOCK_BYTES])
    }


def is_blank(board: VirtualBoard, slot: str, block: int) -> bool:
    """True while nothing was written where this block belongs."""
    at = block * BLOCK_BYTES
    erased = bytes([load(board.board).erased])
    return not slot_bytes(board, slot)[at : at + BLOCK_BYTES].strip(erased)


class ArmedWatch:
    """Looks at a slot's trailer ten times a second, from the first line of the block to the last.

    `looks`: how often; `armed`: whether it was ever anything but unarmed.
    """

    def __init__(self, board: VirtualBoard, slot: str) -> None:
        self.looks, self.armed = 0, False
        self._board, self._slot = board, slot
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="armed-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.armed = is_armed(self._board, self._slot) or self.armed
            self.looks += 1
            if self._ending.wait(_LOOK_EACH_S):
                return
