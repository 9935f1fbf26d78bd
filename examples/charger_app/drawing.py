"""Draws the charger's screens: a few words of text per shape in, a PBM (P4) file out.

A `.screen` file has one shape a line, `#` begins a comment; black on white, later lines paint over:

    text X Y SCALE WORDS...         5 x 7 letters, SCALE dots wide each, 6 * SCALE apart
    fill X Y W H                    black rectangle
    clear X Y W H                   white rectangle
    invert X Y W H                  swap black and white
    shade X Y W H LEVEL             grey 0 (white) .. 16 (black), ordered dither
    disc X Y RADIUS                 black disc
    poly X,Y X,Y X,Y ...            black polygon

The same text gives the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

WIDTH = 320
HEIGHT = 240
HEADER = b"P4\n320 240\n"

_DITHER = ((0, 8, 2, 10), (12, 4, 14, 6), (3, 11, 1, 9), (15, 7, 13, 5))
# Columns of the letters, lowest bit on top.
_FONT = {
    " ": "0000000000", "!": "00005f0000", "%": "2313086462", "+": "08083e0808",
    ",": "0050300000", "-": "0808080808", ".": "0060600000", "/": "2010080402",
    "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31",
    "4": "1814127f10", "5": "2745454539", "6": "3c4a494930", "7": "0171090503",
    "8": "3649494936", "9": "064949291e", ":": "0036360000", "?": "0201510906",
    "A": "7e1111117e", "B": "7f49494936", "C": "3e41414122", "D": "7f4141221c",
    "E": "7f49494941", "F": "7f09090901", "G": "3e4149497a", "H": "7f0808087f",
    "I": "00417f4100", "J": "2040413f01", "K": "7f08142241", "L": "7f40404040",
    "M": "7f020c027f", "N": "7f0408107f", "O": "3e4141413e", "P": "7f09090906",
    "Q": "3e4151215e", "R": "7f09192946", "S": "4649494931", "T": "01017f0101",
    "U": "3f4040403f", "V": "1f2040201f", "W": "3f4038403f", "X": "6314081463",
    "Y": "0708700807", "Z": "6151494543",
}  # fmt: skip


class DrawingError(Exception):
    """A line of a .screen file that says nothing drawable."""


class Canvas:
    """320 x 240 dots, white at first; shapes outside are cut."""

    def __init__(self) -> None:
        self._rows = [bytearray(WIDTH) for _ in range(HEIGHT)]

    def pbm(self) -> bytes:
        """The picture as a PBM file of format P4."""
        packed = bytearray()
        for row in self._rows:
            for x in range(0, WIDTH, 8):
                packed.append(int("".join(str(dot) for dot in row[x : x + 8]), 2))
        return HEADER + bytes(packed)

    def dot(self, x: int, y: int, value: int = 1) -> None:
        if 0 <= x < WIDTH and 0 <= y < HEIGHT:
            self._rows[y][x] = value

    def fill(self, x: int, y: int, w: int, h: int, value: int = 1) -> None:
        for row in range(y, y + h):
            for column in range(x, x + w):
                self.dot(column, row, value)

    def clear(self, x: int, y: int, w: int, h: int) -> None:
        self.fill(x, y, w, h, 0)

    def invert(self, x: int, y: int, w: int, h: int) -> None:
        for row in self._rows[y : y + h]:
            row[x : x + w] = bytes(1 - dot for dot in row[x : x + w])

    def shade(self, x: int, y: int, w: int, h: int, level: int) -> None:
        for row in range(y, y + h):
            for column in range(x, x + w):
                if _DITHER[row % 4][column % 4] < level:
                    self.dot(column, row)

    def disc(self, x: int, y: int, radius: int) -> None:
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if dx * dx + dy * dy <= radius * radius:
                    self.dot(x + dx, y + dy)

    def poly(self, *corners: tuple[int, int]) -> None:
        """Even-odd rule, row by row, in whole numbers."""
        pairs = list(zip(corners, corners[1:] + corners[:1]))
        for y in range(HEIGHT):
            cuts = sorted(
                x0 + (y - y0) * (x1 - x0) // (y1 - y0)
                for (x0, y0), (x1, y1) in pairs
                if min(y0, y1) <= y < max(y0, y1)
            )
            for left, right in zip(cuts[::2], cuts[1::2]):
                self.fill(left, y, right - left, 1)

    def text(self, x: int, y: int, scale: int, words: str) -> None:
        for letter in words:
            for column, bits in enumerate(bytes.fromhex(_FONT[letter])):
                for row in range(8):
                    if bits >> row & 1:
                        self.fill(x + column * scale, y + row * scale, scale, scale)
            x += 6 * scale


def render(source: str) -> bytes:
    """The PBM file of a .screen text; DrawingError names the line that cannot be drawn."""
    canvas = Canvas()
    for number, line in enumerate(source.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            try:
                _draw(canvas, words[0], words[1:])
            except (KeyError, ValueError, TypeError) as err:
                raise DrawingError(f"line {number}: {line.strip()!r}: {err}") from err
    return canvas.pbm()


def _draw(canvas: Canvas, shape: str, words: list[str]) -> None:
    if shape == "text":
        x, y, scale = (int(word) for word in words[:3])
        canvas.text(x, y, scale, " ".join(words[3:]))
    elif shape == "poly":
        corners = [word.split(",") for word in words]
        canvas.poly(*((int(x), int(y)) for x, y in corners))
    else:
        _shapes(canvas)[shape](*(int(word) for word in words))


def _shapes(canvas: Canvas) -> dict[str, Callable[..., None]]:
    return {
        "fill": canvas.fill,
        "clear": canvas.clear,
        "invert": canvas.invert,
        "shade": canvas.shade,
        "disc": canvas.disc,
    }
