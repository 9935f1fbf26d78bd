"""What MicroPython itself gives on every board: clock, sleep, random numbers, trace, heap, mount.

The ports hand these on under the names listed in unix.py. The imports stand at the top in all of
ports/: the slot of the application comes first on the path later, and may hold a module of the same
name.
"""

import asyncio
import gc
import os
import sys
import time

try:
    import vfs
except ImportError:  # CPython
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE_BYTES_MAX = 4096  # a certificate or key in DER has about 1,000
ON_MICROPYTHON = sys.implementation.name == "micropython"


def read_bounded(path: str) -> bytes:
    """The file at `path`; OSError if it is not there or has more than FILE_BYTES_MAX."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        if size > FILE_BYTES_MAX:
            raise OSError("more than {} bytes: {}".format(FILE_BYTES_MAX, path))
        file.seek(0)
        return file.read(size)  # not more: MicroPython allots what is asked for


class Clock:
    """Counts on where the tick counter of the chip wraps; asked at least once in half of its range.

    ticks_ms, ticks_diff: those of MicroPython's `time`. ESP32 and STM32 wrap after 12.4 days.
    """

    def __init__(self, ticks_ms: "Any", ticks_diff: "Any") -> None:
        self._ticks_ms, self._ticks_diff = ticks_ms, ticks_diff
        self._last = ticks_ms()
        self._now_ms = 0

    def now_ms(self) -> int:
        ticks = self._ticks_ms()
        self._now_ms += self._ticks_diff(ticks, self._last)
        self._last = ticks
        return self._now_ms


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000  # type: ignore[attr-defined,unused-ignore]


def _clock() -> "Any":
    if ON_MICROPYTHON:
        return Clock(time.ticks_ms, time.ticks_diff).now_ms  # type: ignore[attr-defined,unused-ignore]
    return _monotonic_ms


now_ms: "Any" = _clock()


async def _sleep_cpython(duration_ms: int) -> None:
    await asyncio.sleep(duration_ms / 1000)


sleep_ms: "Any" = getattr(asyncio, "sleep_ms", _sleep_cpython)


def random_below(n: int) -> int:
    """A number of 0..n, from the system's random source."""
    return int.from_bytes(os.urandom(4), "little") % (n + 1)


def mount(view: memoryview, path: str) -> None:
    """Mount the ROMFS that lies in `view`."""
    vfs.mount(vfs.VfsRom(view), path)  # type: ignore[abstract,unused-ignore]


def show_error(err: Exception) -> None:
    """Print the trace of `err`."""
    show: "Any" = getattr(sys, "print_exception", None)
    if show is not None:
        show(err)
    else:  # CPython
        print("{}: {}".format(type(err).__name__, err))


def heap() -> "tuple[int, int]":
    """(used, free) bytes of the heap after a collection; (0, 0) where there is no such heap."""
    gc.collect()
    if not ON_MICROPYTHON:
        return 0, 0
    return gc.mem_alloc(), gc.mem_free()  # type: ignore[attr-defined,unused-ignore]
