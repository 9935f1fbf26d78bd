"""What the device tells its surroundings beside the console: lines in the FIFO `<folder>/control`.

up                          MicroPython runs and takes Ctrl-C
wdt <ms>                    arm the watchdog (again: change its time)
feed                        feed it
reset soft|hard             the device resets itself
exit <code>                 its main program ended with SystemExit: a soft reset
op <index> <kind> <offset> <size>   a flash operation begins (only when traced)
cut                         the armed flash operation was reached: power off, now
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_READ_BYTES = 65536
_LINE_BYTES = 256


class Control:
    """The reading end. A device that floods it with junk costs at most one short line of memory."""

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.mkfifo(path, 0o600)
        self._path = path
        # Open both ways: a device that dies does not close it.
        self.line = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._partial = b""

    def read(self) -> list[list[str]]:
        """The lines that arrived, each split into words."""
        try:
            data = os.read(self.line, _READ_BYTES)
        except BlockingIOError:
            return []
        *lines, rest = (self._partial + data).split(b"\n")
        self._partial = rest[:_LINE_BYTES]
        return [line.decode(errors="replace").split() for line in lines if line.strip()]

    def drain(self) -> None:
        """Forget what a dead device still had to say."""
        while self.read():
            pass
        self._partial = b""

    def close(self) -> None:
        os.close(self.line)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
