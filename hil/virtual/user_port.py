"""The serial port that a user opens: a pty behind the symlink `<folder>/tty`.

Behaves like a USB-UART bridge: what the device says while nobody listens is gone, a slow reader
does not stop the device, and tools that lock their port (mpremote, pyserial) find it busy when
another one holds it.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import tty
from pathlib import Path

_BACKLOG_BYTES = 262_144  # for a reader that is slower than the device; then the oldest goes
_READ_BYTES = 4096


class UserPort:
    """Non-blocking; `poll` has to be called about every 20 ms."""

    def __init__(self, link: Path) -> None:
        self.line, terminal = pty.openpty()
        os.set_blocking(self.line, False)
        self._link = link
        self._backlog = bytearray()
        self.attached = False
        name = os.ttyname(terminal)
        os.close(terminal)  # from here on a hang-up says that nobody has it open
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(name)

    def poll(self) -> None:
        """Notice that a user came or went."""
        poller = select.poll()
        poller.register(self.line, 0)
        there = not any(event & select.POLLHUP for _, event in poller.poll(0))
        if there and not self.attached:
            with contextlib.suppress(termios.error):
                tty.setraw(self.line, termios.TCSANOW)  # also for users who set nothing: no echo
        if self.attached and not there:
            self._backlog.clear()
            with contextlib.suppress(termios.error):
                termios.tcflush(self.line, termios.TCOFLUSH)  # not for the next user
        self.attached = there

    def read(self) -> bytes:
        """Keys from the user; empty if there are none."""
        try:
            return os.read(self.line, _READ_BYTES)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Show the user what the device says, if there is a user."""
        if self.attached:
            self._backlog += data
            del self._backlog[:-_BACKLOG_BYTES]
            self.flush()

    def flush(self) -> bool:
        """Write what waits; True when all is out."""
        while self._backlog:
            try:
                sent = os.write(self.line, self._backlog)
            except BlockingIOError:
                return False
            except OSError:
                self._backlog.clear()
                break
            del self._backlog[:sent]
        return True

    def close(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._link.unlink()
        os.close(self.line)
