"""The charger's surroundings: car, card, grid. What virtual_io reads and what it shows.

Two small files in the board's folder carry it, each replaced as a whole: `plant.in` (ours) and
`plant.out` (the device's). Names end with the number of the connector.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hil.errors import BenchError
from host_tools.errors import EXIT_DEVICE, EXIT_USAGE

DEFAULT_CARD = "04A1B2C3"
_CARD = re.compile("[0-9A-Za-z]{1,20}")
_PILOTS = ("A", "B", "C", "D", "E")
_NUMBER = re.compile("[0-9]{1,18}")
_FILE_BYTES = 4096  # more than either side writes


@dataclass(frozen=True)
class Outputs:
    """What the device does at one connector."""

    pwm_permille: int
    coil: bool
    closed: bool


@dataclass
class _Connector:
    cp: str = "A"
    power: int = 0
    weld: int = 0
    stuck: int = 0
    speed: int = 1
    auth: int = 0
    card: str = field(default=DEFAULT_CARD)

    def lines(self, index: int) -> list[str]:
        values = {name: value for name, value in asdict(self).items() if name != "card"}
        values["auth"] = f"{self.auth}:{self.card}"
        return [f"{name}{index}={value}" for name, value in values.items()]


class Plant:
    """The bench's hand on the charger. Acts at once; the device sees it within 20 ms.

    It stands before an empty charger; `join` takes over what another hand arranged.
    """

    def __init__(self, folder: Path, connectors: int = 2) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._connectors = [_Connector() for _ in range(connectors)]

    def begin(self) -> None:
        """The board was taken: what this hand holds is the charger's surroundings from now on."""
        with self._lock:
            self._keep_cards()
            self._write()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """`join`, and no other hand on this charger until the block ends."""
        lock = os.open(self._folder / "plant.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.join()
            yield
        finally:
            os.close(lock)

    def join(self) -> None:
        """Go on from what stands in the folder; BenchError BAD_PLANT if that is no charger's
        surroundings."""
        path = self._folder / "plant.in"
        values = _parse(path)
        for i, one in enumerate(self._connectors):
            for name in ("power", "weld", "stuck", "speed"):
                setattr(one, name, _number(path, values.get(f"{name}{i}", str(getattr(one, name)))))
            one.cp = values.get(f"cp{i}", one.cp)
            number, _, card = values.get(f"auth{i}", f"{one.auth}:{one.card}").partition(":")
            one.auth, one.card = _number(path, number), card
            if one.cp not in _PILOTS or not _CARD.fullmatch(one.card):
                raise _bad(path, one.cp if one.cp not in _PILOTS else one.card)

    def plug(self, connector: int) -> None:
        """A car is connected and does not want energy yet (state B)."""
        self._change(connector, cp="B")

    def request_power(self, connector: int, power_w: int) -> None:
        """The car wants `power_w` (state C); 0: it has enough (state B)."""
        self._change(connector, cp="C" if power_w else "B", power=power_w)

    def unplug(self, connector: int) -> None:
        self._change(connector, cp="A", power=0)

    def authorise(self, connector: int, card: str = DEFAULT_CARD) -> None:
        """Hold a card to the reader; the device reads it once. BenchError BAD_CARD."""
        if not _CARD.fullmatch(card):
            text = f"{card!r} is no card's id: 1 to 20 letters and digits"
            raise BenchError("BAD_CARD", text, EXIT_USAGE)
        self._change(connector, auth=self._connectors[connector].auth + 1, card=card)

    def weld(self, connector: int, welded: bool = True) -> None:
        """The contactor stays closed, whatever its coil says."""
        self._change(connector, weld=int(welded))

    def stick(self, connector: int, stuck: bool = True) -> None:
        """The contactor stays open, whatever its coil says."""
        self._change(connector, stuck=int(stuck))

    def pilot_fault(self, connector: int) -> None:
        """The pilot is shorted to earth (state E)."""
        self._change(connector, cp="E")

    def meter_speed(self, connector: int, factor: int) -> None:
        """Let the meter count `factor` times faster: much energy in a short session."""
        self._change(connector, speed=factor)

    def outputs(self) -> list[Outputs]:
        """What the device does now, for each connector; a device without power does nothing."""
        path = self._folder / "plant.out"
        values = _parse(path)
        return [
            Outputs(
                _number(path, values.get(f"pwm{i}", "1000")),
                values.get(f"coil{i}") == "1",
                values.get(f"closed{i}") == "1" or bool(one.weld),
            )
            for i, one in enumerate(self._connectors)
        ]

    def meter_wh(self, connector: int) -> int:
        """The energy that really went through this connector, Wh; at most 0.25 s old."""
        path = self._folder / "plant.out"
        return _number(path, _parse(path).get(f"wh{connector}", "0"))

    def outputs_fall(self) -> None:
        """The device was reset: coils off, pilot steady. Cards taken and energy moved stay."""
        values = _parse(self._folder / "plant.out")
        stays = [f"{n}={v}" for n, v in values.items() if n.startswith(("auth", "wh"))]
        _replace(self._folder / "plant.out", stays)

    def _change(self, connector: int, **values: int | str) -> None:
        with self._lock:
            for name, value in values.items():
                setattr(self._connectors[connector], name, value)
            self._write()

    def _write(self) -> None:
        lines = [line for i, one in enumerate(self._connectors) for line in one.lines(i)]
        _replace(self._folder / "plant.in", lines)

    def _keep_cards(self) -> None:
        """Go on counting cards where an earlier bench of this folder ended."""
        path = self._folder / "plant.out"
        values = _parse(path)
        for i, one in enumerate(self._connectors):
            one.auth += _number(path, values.get(f"auth{i}", "0"))


def _parse(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            lines = file.read(_FILE_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    pairs = [line.partition("=") for line in lines]
    return {name: value for name, found, value in pairs if found}


def _number(path: Path, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _bad(path, text)
    return int(text)


def _bad(path: Path, found: str) -> BenchError:
    text = f"{found[:20]!r} in {path}: not what the bench writes; delete the file"
    return BenchError("BAD_PLANT", text, EXIT_DEVICE)


def _replace(path: Path, lines: list[str]) -> None:
    new = path.with_name(path.name + ".bench")
    new.write_text("".join(f"{line}\n" for line in lines))
    os.replace(new, path)
