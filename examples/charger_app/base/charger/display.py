"""The screen of the charger: 320 x 240 dots of one bit, drawn beforehand, loaded from the release.

A panel is optional hardware: `io.panel(first_row, rows)` takes ROWS rows of 40 bytes, 1 = black. On
a board without one the screens are still read, so that a release with a broken screen fails its
self-test everywhere.
"""

import binascii

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from charger.seams import Io

    Panel = Callable[[int, bytearray], None]

WIDTH = 320
HEIGHT = 240
ROWS = 8  # handed over at once: 320 bytes, all that a screen ever takes of the heap

SCREENS = ("fault", "update", "charging", "finished", "card", "idle")

_HEADER = b"P4\n320 240\n"
_ROW_BYTES = WIDTH // 8


class Display:
    """Shows screens of `folder`; `shown` names the last one, `crc` is the CRC32 of its dots."""

    def __init__(self, folder: str, io: "Io") -> None:
        self.shown = ""
        self.crc = 0
        self._folder = folder
        self._panel = getattr(io, "panel", None)
        self._rows = bytearray(ROWS * _ROW_BYTES)

    def show(self, name: str) -> bool:
        """Put one screen on the panel, if it is not there. False, once, if it cannot be read."""
        if name == self.shown:
            return True
        self.shown = name
        self.crc = 0
        try:
            self.crc = self._load(name, self._panel)
        except (OSError, ValueError):
            return False
        return True

    def missing(self) -> str:
        """Name of a screen that cannot be read, "" if all can."""
        for name in SCREENS:
            try:
                self._load(name, None)
            except (OSError, ValueError):
                return name
        return ""

    def _load(self, name: str, panel: "Panel | None") -> int:
        crc = 0
        with open(self._folder + "/" + name + ".pbm", "rb") as f:
            if f.read(len(_HEADER)) != _HEADER:
                raise ValueError(name)
            for first_row in range(0, HEIGHT, ROWS):
                if f.readinto(self._rows) != len(self._rows):
                    raise ValueError(name)
                crc = binascii.crc32(self._rows, crc)
                if panel:
                    panel(first_row, self._rows)
        return crc
