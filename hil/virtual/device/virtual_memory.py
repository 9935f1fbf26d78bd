"""Memory that is no heap: what a chip's memory-mapped flash is to MicroPython (MicroPython).

    outside(size)           a memoryview of `size` bytes outside of the heap
    run_in_place(path)      mount a ROMFS file there and put it first on the path

On a chip, frozen bytecode and the mounted slot lie in flash and cost no heap. A stock desktop
MicroPython has no memory map; what it has is a thread's stack, which the system allocates. So a
thread is started that only sleeps, and the far end of its stack, which it never reaches, is used.
Where that cannot be found (no /proc), it is the heap after all, and `in_heap` counts those bytes.
"""

import _thread
import time

import uctypes
import vfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    Span = tuple[int, int]

BASE_PATH = "/base"
_NEAR_BYTES = 65536  # what the sleeping thread may use of its stack itself
_WAIT_S = 0.001
_WAITS = 200
in_heap = 0
_sleepers: "list[object]" = []  # locks that nobody releases


def outside(size: int) -> memoryview:
    """`size` bytes, zeroed, outside of the heap if that can be had."""
    global in_heap
    at = _stack(size)
    if at is None:
        in_heap += size
        return memoryview(bytearray(size))
    return memoryview(uctypes.bytearray_at(at, size))


def run_in_place(path: str) -> None:
    """Mount the ROMFS in the file `path` at BASE_PATH: its bytecode runs where it lies."""
    import sys

    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        view = outside(size)
        if file.readinto(view) != size:
            raise OSError("short read: " + path)
    vfs.mount(vfs.VfsRom(view), BASE_PATH)
    sys.path.insert(0, BASE_PATH)


def _stack(size: int) -> "int | None":
    """Address of the far end of a sleeping thread's stack."""
    before = _writable()
    if before is None:
        return None
    lock = _thread.allocate_lock()
    lock.acquire()
    _thread.stack_size(size + _NEAR_BYTES)
    _thread.start_new_thread(lock.acquire, ())
    _thread.stack_size()
    _sleepers.append(lock)
    for _ in range(_WAITS):
        for start, end in _writable() or ():
            if (start, end) not in before and end - start >= size + _NEAR_BYTES:
                return start
        time.sleep(_WAIT_S)
    return None


def _writable() -> "list[Span] | None":
    """All writable spans of this process; None where the system does not tell."""
    try:
        with open("/proc/self/maps") as file:
            return [_span(line) for line in file if line.split()[1].startswith("rw")]
    except OSError:
        return None


def _span(line: str) -> "Span":
    start, _, end = line.split()[0].partition("-")
    return int(start, 16), int(end, 16)
