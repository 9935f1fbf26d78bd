"""The energy register of the charger application over any mix of sessions, power cuts and restarts.

The store is the real record log on the real NOR rules; a cut leaves a torn write or erase behind.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bootloader_verify.flash import Region
from bootloader_verify.ports.unix import NorFile
from bootloader_verify.records import Records

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples/charger_app/base"))

from charger import meter as rules
from charger.meter import Meter

CONNECTORS = 2
FLASH_BYTES = 16384  # the region of the virtual board
SECTOR_BYTES = 4096
TIGHT_BYTES = 1024  # five records a half: a cut often meets the erase
TIGHT_SECTOR_BYTES = 512
STEP_S = 10
POWER_MAX_W = 22_000
# What may be lost: the threshold, and what two cars draw in a minute and one step.
LOSS_MAX_WH = rules.STORE_EVERY_WH + CONNECTORS * POWER_MAX_W * (60 + STEP_S) // 3600


class PowerCut(BaseException):
    """Nothing in the application may catch it."""


class MeterLife(RuleBasedStateMachine):
    """`true_wh` is what really flowed; `floor_wh` what the application ever knew to be stored."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self.folder.name) / "flash.bin")
        self.flash: NorFile | None = None
        self.true_wh = [0] * CONNECTORS
        self.floor_wh = [0] * CONNECTORS
        self.lowest_session = [0] * CONNECTORS
        self.writes_allowed = 0.0
        self.writes = 0
        self.start()

    def teardown(self) -> None:
        if self.flash:
            self.flash.close()
        self.folder.cleanup()

    def start(self) -> None:
        if self.flash:
            self.flash.close()
        self.flash = NorFile(self.path, TIGHT_BYTES, TIGHT_SECTOR_BYTES, 8)
        region = Region(self.flash, 0, TIGHT_BYTES)
        self.meter = Meter(Records(region, rules.RECORD_BYTES_MAX), CONNECTORS)
        self.now_ms = 0
        self.pulses = [0] * CONNECTORS
        self.writes_allowed += rules.BURST
        for i, register in enumerate(self.meter.registers):
            assert not self.meter.fault
            assert self.floor_wh[i] <= register.wh <= self.true_wh[i]
            assert register.session >= self.lowest_session[i]
            self.true_wh[i] = register.wh  # what a cut took was never stored: it is bounded below

    def poll(self) -> None:
        before = [register.wh for register in self.meter.registers]
        self.meter.poll(self.now_ms)
        assert [register.wh for register in self.meter.registers] == before
        for i, register in enumerate(self.meter.registers):
            stored_wh = self.meter.stored_wh(i)
            assert self.floor_wh[i] <= stored_wh <= register.wh
            self.floor_wh[i] = stored_wh
            if stored_wh == register.wh and not self.meter._urgent:
                self.lowest_session[i] = register.session

    @rule(
        power_w=st.integers(0, POWER_MAX_W), connector=st.integers(0, 1), steps=st.integers(1, 60)
    )
    def energy_flows(self, power_w: int, connector: int, steps: int) -> None:
        for _ in range(steps):
            self.now_ms += STEP_S * 1000
            self.writes_allowed += STEP_S * 1000 / rules.REFILL_MS
            wh = power_w * STEP_S // 3600
            self.pulses[connector] += wh
            self.true_wh[connector] += wh
            self.meter.registers[connector].count(self.pulses[connector])
            self.poll()

    @rule(connector=st.integers(0, 1), times=st.integers(1, 20))
    def play_with_the_card(self, connector: int, times: int) -> None:
        for _ in range(times):
            self.session_begins_or_ends(connector)

    def session_begins_or_ends(self, connector: int) -> None:
        if self.meter.registers[connector].open:
            self.meter.end(connector, "Local")
        else:
            self.meter.begin(connector, 1)
        self.poll()

    @rule()
    def update(self) -> None:
        self.meter.store_soon()
        self.poll()
        self.restart()

    @rule()
    def restart(self) -> None:
        self.writes += self.meter.writes
        self.start()

    @precondition(lambda self: self.flash is not None)
    @rule(operation=st.integers(0, 2), part=st.integers(0, 96), connector=st.integers(0, 1))
    def cut_while_storing(self, operation: int, part: int, connector: int) -> None:
        """The power goes in one of the next flash operations, torn after `part` write units."""
        assert self.flash
        at = self.flash.operations + operation

        def hook(kind: str, index: int, offset: int, what: object) -> None:
            if index == at:
                self.tear(offset, what, part * 8)
                raise PowerCut

        self.flash.hook = hook
        try:
            for _ in range(operation + 1):
                self.session_begins_or_ends(connector)
        except PowerCut:
            self.writes += 1
        self.restart()

    def tear(self, offset: int, what: object, part: int) -> None:
        wanted = b"\xff" * what if isinstance(what, int) else bytes(what)  # type: ignore[call-overload]
        with open(self.path, "r+b") as f:
            f.seek(offset)
            f.write(wanted[: min(part, len(wanted))])

    @invariant()
    def loss_and_wear_are_bounded(self) -> None:
        unstored = sum(r.wh for r in self.meter.registers) - sum(self.floor_wh)
        assert unstored <= LOSS_MAX_WH
        assert self.writes + self.meter.writes <= self.writes_allowed


MeterLife.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMeterLife = MeterLife.TestCase


def test_fifteen_years_of_charging_stay_within_the_life_of_the_flash() -> None:
    """Erases of one sector while two cars charge for a day and a night, times 365 times 15."""
    with tempfile.TemporaryDirectory() as folder:
        erases: list[int] = []
        flash = NorFile(str(Path(folder) / "flash.bin"), FLASH_BYTES, SECTOR_BYTES, 8)
        flash.hook = lambda kind, index, offset, what: (
            erases.append(offset) if kind == "erase" else None
        )
        meter = Meter(Records(Region(flash, 0, FLASH_BYTES), rules.RECORD_BYTES_MAX), CONNECTORS)
        for second in range(0, 86400, STEP_S):
            for register in meter.registers:
                register.count(second * POWER_MAX_W // 3600)
            meter.poll(second * 1000)
        flash.close()
        one_sector = max(erases.count(offset) for offset in erases)
        assert 1 <= one_sector * 365 * 15 <= 100_000
