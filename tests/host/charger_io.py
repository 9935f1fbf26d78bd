"""Simulated charger hardware and services for the charger application; its releases to import."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.charger_app.assemble import assemble

_PILOT_MV = {"A": 12000, "B": 9000, "C": 6000, "D": 3000, "E": 0}


class SimIo:
    """Two connectors; a test moves cars, cards and faults."""

    CONNECTORS = 2

    def __init__(self) -> None:
        self.car = ["A", "A"]
        self.card: list[str | None] = [None, None]
        self.welded = [False, False]
        self.stuck = [False, False]
        self.pilot_broken = [False, False]
        self.pwm = [1000, 1000]
        self.coil = [False, False]
        self.coil_moves = [0, 0]
        self.idle_power_w = [0, 0]
        self.pulses = [0, 0]
        self.screens: list[int] = []

    def pilot_mv(self, connector: int) -> int:
        if self.pwm[connector] == 0 and not self.pilot_broken[connector]:
            return -12000
        return _PILOT_MV[self.car[connector]]

    def set_pwm(self, connector: int, permille: int) -> None:
        self.pwm[connector] = permille

    def set_contactor(self, connector: int, on: bool) -> None:
        self.coil_moves[connector] += on != self.coil[connector]
        self.coil[connector] = on

    def contactor_feedback(self, connector: int) -> bool:
        return self.welded[connector] or (self.coil[connector] and not self.stuck[connector])

    def power_w(self, connector: int) -> int:
        return self.idle_power_w[connector]

    def energy_pulses(self, connector: int) -> int:
        return self.pulses[connector]

    def rfid(self, connector: int) -> str | None:
        card, self.card[connector] = self.card[connector], None
        return card

    def panel(self, first_row: int, rows: bytearray) -> None:
        if first_row == 0:
            self.screens.append(0)
        self.screens[-1] += sum(rows)


class MemoryStore:
    """A store that survives its application."""

    def __init__(self) -> None:
        self.record = b""

    def load(self, buf: bytearray) -> int:
        buf[: len(self.record)] = self.record
        return len(self.record)

    def save(self, *parts: bytes) -> None:
        self.record = b"".join(bytes(part) for part in parts)


class Services:
    """What the agent hands to the application."""

    def __init__(self, io: SimIo, store: Any, version: str = "1.0.0+0") -> None:
        self.io = io
        self.store = store
        self.version = version
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


class StepClock:
    """Time as the test wants it, in the place of the application's own clock."""

    def __init__(self) -> None:
        self.ms = 0

    def now_ms(self) -> int:
        return self.ms


class Bench:
    """One started application with its hardware; `run_ms` lets it work."""

    def __init__(self, module: Any, services: Services) -> None:
        self.io = services.io
        self.services = services
        self.app = module.create(services)
        self._clock = StepClock()
        self.app._clock = self._clock

    def run_ms(self, duration_ms: int) -> None:
        for _ in range(0, duration_ms, 25):
            self.app.step()
            self._clock.ms += 25


@contextmanager
def release(version: str, folder: Path) -> Iterator[Any]:
    """The module `app` of one release, imported alone and forgotten afterwards."""
    path = str(assemble(version, folder / version))
    _forget()
    sys.path.insert(0, path)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        importlib.invalidate_caches()
        yield importlib.import_module("app")
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(path)
        _forget()


def _forget() -> None:
    for name in [n for n in sys.modules if n == "app" or n.split(".")[0] == "charger"]:
        del sys.modules[name]
