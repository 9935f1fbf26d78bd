"""The record log against a plain variable, with restarts, cuts, noise in flash and spent bits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bootloader_verify.errors import FlashError
from bootloader_verify.flash import Region
from bootloader_verify.records import Records
from tests.power.flash_model import MASKS, PowerCut, RamNor

MOST, SECTOR = 40, 256
TORN = st.one_of(
    st.sampled_from(["before", "after", "unstable"]),
    st.integers(0, 60).map(lambda n: f"prefix-{n}"),
    st.integers(0, 255).map(lambda n: f"suffix-{n}"),
    st.integers(0, MASKS).map(lambda n: f"mask-{n}"),
)


def load(log: Records) -> bytes:
    buf = bytearray(MOST)
    return bytes(buf[: log.load(buf)])


class LogLife(RuleBasedStateMachine):
    """`allowed`: what a load may show. After a cut that is old or new until the next save."""

    unit = 8

    def __init__(self) -> None:
        super().__init__()
        self.flash = RamNor(4 * SECTOR, SECTOR, self.unit)
        self.allowed: set[bytes] = {b""}
        self.open()

    def open(self) -> None:
        self.log = Records(Region(self.flash, 0, 4 * SECTOR), MOST)

    @rule(value=st.binary(max_size=MOST))
    def save(self, value: bytes) -> None:
        self.log.save(value)
        self.allowed = {value}

    @rule(value=st.binary(min_size=1, max_size=MOST), operation=st.integers(0, 3), torn=TORN)
    def save_with_a_cut(self, value: bytes, operation: int, torn: str) -> None:
        self.flash.cut_at(operation, torn)
        try:
            self.log.save(value)
            self.allowed = {value}
        except PowerCut:
            self.allowed = self.allowed | {value}
        self.flash = self.flash.clone()
        self.open()

    @rule()
    def restart(self) -> None:
        self.flash = self.flash.clone()
        self.open()

    @invariant()
    def a_load_shows_what_was_saved(self) -> None:
        assert load(self.log) in self.allowed


class LogLifeUnit1(LogLife):
    unit = 1


class LogLifeUnit32(LogLife):
    unit = 32


TestLogLife = LogLife.TestCase
TestLogLifeUnit1 = LogLifeUnit1.TestCase
TestLogLifeUnit32 = LogLifeUnit32.TestCase
for _case in (TestLogLife, TestLogLifeUnit1, TestLogLifeUnit32):
    _case.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@settings(deadline=None)
@given(st.binary(min_size=4 * SECTOR, max_size=4 * SECTOR), st.booleans())
def test_a_region_full_of_noise(noise: bytes, alternate: bool) -> None:
    flash = RamNor(4 * SECTOR, SECTOR, 8)
    flash.program(0, noise)
    log = Records(Region(flash, 0, 4 * SECTOR), MOST, alternate)
    assert load(log) == b""
    log.save(b"value")
    assert load(Records(Region(flash, 0, 4 * SECTOR), MOST, alternate)) == b"value"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=MOST), min_size=1, max_size=20), st.data())
def test_damage_shows_an_older_value_or_none_never_another(
    values: list[bytes], data: st.DataObject
) -> None:
    flash = RamNor(4 * SECTOR, SECTOR, 8)
    for value in values:
        Records(Region(flash, 0, 4 * SECTOR), MOST).save(value)
    for _ in range(data.draw(st.integers(1, 4))):
        flash.flip(data.draw(st.integers(0, 4 * SECTOR - 1)), 1 << data.draw(st.integers(0, 7)))
    try:
        got = load(Records(Region(flash, 0, 4 * SECTOR), MOST))
    except FlashError:
        return
    assert got in (*values, b"")
