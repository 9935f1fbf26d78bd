"""The serial log of a board: lines with times, in memory and in a file, with waits on them."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hil.errors import NotSeenError

_KEPT_LINES = 100_000
_LINE_BYTES = 4096  # a longer one is broken: a device may print without end


@dataclass(frozen=True)
class Line:
    """One line of the console; a `note` is what the bench did (power, reset), not the device."""

    index: int
    at_s: float  # monotonic
    boot: int
    text: str
    note: bool = False
    match: re.Match[str] | None = None  # of the wait that returned it

    def group(self, number: int) -> str:
        """A group of the pattern that was waited for; empty if it took no part."""
        return (self.match and self.match.group(number)) or ""


class SerialLog:
    """Takes the device's bytes, keeps lines, writes `path` with UTC times.

    A wait goes on after the last line that a wait returned, as a person reads; `since` (an index)
    starts somewhere else. Thread-safe.
    """

    def __init__(self, path: Path) -> None:
        self.boot = 0
        self._lines: deque[Line] = deque(maxlen=_KEPT_LINES)
        self._next_index = 0
        self._read_index = 0
        self._partial = bytearray()
        self._changed = threading.Condition()
        self._watchers: list[Callable[[Line], None]] = []
        self._file = path.open("a", encoding="utf-8")

    def feed(self, data: bytes) -> None:
        """Bytes from the device."""
        self._partial += data
        while (end := self._partial.find(b"\n")) >= 0 or len(self._partial) > _LINE_BYTES:
            size = end + 1 if end >= 0 else _LINE_BYTES
            text = self._partial[:size].decode(errors="replace").rstrip("\r\n")
            del self._partial[:size]
            self._add(text, note=False)
        self._file.flush()

    def note(self, text: str) -> None:
        """Something that the bench did. Ends an unfinished line of the device."""
        if self._partial:
            self.feed(b"\n")
        self._add(text, note=True)
        self._file.flush()

    def watch(self, seen: Callable[[Line], None]) -> None:
        """Call `seen` with every new line, in the thread that reads the line."""
        self._watchers.append(seen)

    def mark(self) -> int:
        """The index that the next line will have."""
        with self._changed:
            return self._next_index

    def lines(self, since: int = 0) -> list[Line]:
        with self._changed:
            return [line for line in self._lines if line.index >= since]

    def text(self, since: int = 0) -> str:
        """What the device printed, without the bench's notes."""
        return "\n".join(line.text for line in self.lines(since) if not line.note)

    def wait(self, pattern: str, timeout_s: float, since: int | None = None) -> Line:
        """The first line of the device with `pattern` in it; NotSeenError after `timeout_s`."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        with self._changed:
            start = self._read_index if since is None else since
            at = start
            while True:
                for line in self._lines_from(at):
                    match = None if line.note else wanted.search(line.text)
                    if match:
                        self._read_index = line.index + 1
                        return replace(line, match=match)
                at = self._next_index
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise NotSeenError(self._complaint(pattern, timeout_s, start))
                self._changed.wait(left_s)

    def close(self) -> None:
        if self._partial:
            self.feed(b"\n")
        self._file.close()

    def _lines_from(self, index: int) -> list[Line]:
        behind = self._next_index - index
        if behind <= 0:
            return []
        return list(self._lines)[-behind:]

    def _add(self, text: str, note: bool) -> None:
        with self._changed:
            line = Line(self._next_index, time.monotonic(), self.boot, text, note)
            self._next_index += 1
            self._lines.append(line)
            now = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6]
            shown = "".join(c if c.isprintable() else "." for c in text)
            self._file.write(f"{now}Z boot {line.boot} {'#' if note else '|'} {shown}\n")
            self._changed.notify_all()
        for seen in self._watchers:
            seen(line)

    def _complaint(self, pattern: str, timeout_s: float, start: int) -> str:
        last = "\n  ".join(line.text for line in self._lines_from(start)[-12:])
        return f"no line with /{pattern}/ within {timeout_s:g} s; the console said:\n  {last}"
