"""Power cuts at flash operations, on the device's side (MicroPython).

    hook()      what a NorFile takes as its `hook`: None, unless the bench armed a cut or traces

The bench arms by environment, before it switches the board on: CHARGEFLASH_CUT="37:prefix-5" (see
hil/virtual/cut.py for the words), CHARGEFLASH_TRACE=1 to hear of every operation. At the armed
operation the hook does the part of it that the cut leaves behind, straight in the file, says `cut`
and waits for the end.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Buffer = bytes | bytearray | memoryview
    Hook = Callable[[str, int, int, "Buffer | int"], None]

_FOLDER = os.getenv("CHARGEFLASH_FOLDER") or "."
_ERASED = 0xFF


def hook() -> "Hook | None":
    """A hook(kind, index, offset, data or size) for NorFile, or None when nothing is armed."""
    armed = os.getenv("CHARGEFLASH_CUT")
    trace = os.getenv("CHARGEFLASH_TRACE") == "1"
    if not armed and not trace:
        return None
    number, _, torn = (armed or "-1:before").partition(":")
    return _Cutter(int(number), torn, trace).look


class _Cutter:
    def __init__(self, operation: int, torn: str, trace: bool) -> None:
        self._operation = operation
        self._torn = torn
        self._trace = trace
        self._seen = 0

    def look(self, kind: str, _index: int, offset: int, what: "Buffer | int") -> None:
        """Called before each operation; does not come back from the armed one."""
        size = what if isinstance(what, int) else len(what)
        if self._trace:
            _say(f"op {self._seen} {kind} {offset} {size}")
        if self._seen == self._operation:
            wanted = bytes([_ERASED]) * size if isinstance(what, int) else bytes(what)
            _tear(offset, wanted, self._torn)
            _say("cut")
            while True:
                time.sleep(1)
        self._seen += 1


def _tear(offset: int, wanted: bytes, torn: str) -> None:
    """Do the part that the cut leaves; `wanted` is what the whole operation would leave."""
    with open(_FOLDER + "/flash.bin", "r+b") as f:
        f.seek(offset)
        old = f.read(len(wanted))
        f.seek(offset)
        f.write(mix(old, wanted, torn))


def mix(old: bytes, wanted: bytes, torn: str) -> bytes:
    """What an operation that was torn so leaves behind; the words are those of hil/virtual/cut.py."""
    how, _, number = torn.partition("-")
    size = len(wanted)
    part = min(int(number), size) if number else 0
    if how == "after":
        return wanted
    if how == "prefix":
        return wanted[:part] + old[part:]
    if how == "suffix":
        return old[: size - part] + wanted[size - part :]
    if how == "mask":
        return _masked(old, wanted, int(number))
    return old


def _masked(old: bytes, wanted: bytes, seed: int) -> bytes:
    """Each bit as it was or as it should be, by a xorshift of the seed: the same on every run."""
    state = (seed * 2654435761 + 1) & 0xFFFFFFFF
    mixed = bytearray(len(old))
    for i in range(len(old)):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        mask = (state >> 11) & 0xFF
        mixed[i] = (old[i] & ~mask & 0xFF) | (wanted[i] & mask)
    return bytes(mixed)


def _say(line: str) -> None:
    with open(_FOLDER + "/control", "w") as f:
        f.write(line + "\n")
