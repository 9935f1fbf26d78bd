"""The epoch through restarts, cuts and single bad bits: it never falls and never invents a value."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bootloader_verify.container import EPOCH_STEP_MAX
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import EPOCH_JUMP, VerifyError
from bootloader_verify.flash import Region
from tests.power.flash_model import PowerCut, RamNor
from tests.properties.test_records import TORN

SECTOR = 256


class EpochLife(RuleBasedStateMachine):
    """`least`: what was surely stored. `most`: what somebody tried to store."""

    unit = 8

    def __init__(self) -> None:
        super().__init__()
        self.flash = RamNor(2 * SECTOR, SECTOR, self.unit)
        self.least = self.most = 0

    def counter(self) -> EpochCounter:
        return EpochCounter(Region(self.flash, 0, 2 * SECTOR))

    @rule(step=st.integers(-5, EPOCH_STEP_MAX))
    def raise_to(self, step: int) -> None:
        stored = self.counter().read()
        assert stored is not None
        epoch = max(0, stored + step)
        self.counter().raise_to(epoch)
        self.least = self.most = max(stored, epoch)

    @rule(step=st.integers(EPOCH_STEP_MAX + 1, 1000))
    def jump(self, step: int) -> None:
        # Each reading may settle differently after an unstable cut: jump from the highest.
        try:
            self.counter().raise_to(self.most + step)
            raise AssertionError("a jump was taken")
        except VerifyError as error:
            assert error.code == EPOCH_JUMP

    @rule(step=st.integers(1, EPOCH_STEP_MAX), operation=st.integers(0, 4), torn=TORN)
    def raise_with_a_cut(self, step: int, operation: int, torn: str) -> None:
        stored = self.counter().read()
        assert stored is not None
        self.flash.cut_at(operation, torn)
        epoch = stored + step
        self.most = max(self.most, epoch)
        try:
            self.counter().raise_to(epoch)
            self.least = epoch
        except PowerCut:
            pass
        self.flash = self.flash.clone()

    @rule(at=st.integers(0, 2 * SECTOR - 1), bit=st.integers(0, 7))
    def one_bad_bit_once_all_is_settled(self, at: int, bit: int) -> None:
        self.raise_to(0)
        aged = self.flash.clone()
        aged.flip(at, 1 << bit)
        got = EpochCounter(Region(aged, 0, 2 * SECTOR)).read()
        assert got == self.least or (self.least == 0 and got is None)

    @invariant()
    def it_is_within_what_was_stored(self) -> None:
        got = self.counter().read()
        assert got is not None and self.least <= got <= self.most


class EpochLifeUnit32(EpochLife):
    unit = 32


TestEpochLife = EpochLife.TestCase
TestEpochLifeUnit32 = EpochLifeUnit32.TestCase
for _case in (TestEpochLife, TestEpochLifeUnit32):
    _case.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
