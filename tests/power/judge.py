"""The ten invariants of THREATS.md, watched over all lives of a charger, cuts in between.

A Witness sees every boot and every flash operation. It looks at the flash's bytes itself and knows the
images by their bytes; of the code under test it uses the trailer's offsets only. What is wrong goes to
`violations`, as "I4 …"; the campaign asks for none.
"""

from __future__ import annotations

import copy
from typing import Any

from agent.protocol import INSTALLATION_FAILED
from agent.states import J_CLOSED
from bootloader_verify import decision
from bootloader_verify.trailer import MAX_BOOTS, Layout
from tests.power.chip import Chip
from tests.power.flash_model import ERASE

SLOTS = ("slot_a", "slot_b")
_SET, _ATTEMPTS = 0x01, 3
# Where an operation falls -> the act that it belongs to.
DOWNLOAD, DISARM, ARM, TRIAL, CONFIRM = "download", "disarm", "arm", "trial", "confirm"
EPOCH, KEYSET, JOURNAL = "epoch", "keyset", "journal"
STATE_ACTS = (DISARM, ARM, TRIAL, CONFIRM, EPOCH, KEYSET, JOURNAL)


class Place:
    """What stands where in a board's flash."""

    def __init__(self, board: Any) -> None:
        self.board = board
        self.start = {name: board.REGIONS[name][0] for name in board.REGIONS}
        size = board.REGIONS["slot_a"][1]
        self.layout = Layout(size, board.WRITE, board.ERASE, board.ERASED)

    def region(self, offset: int) -> str:
        for name, (start, size) in self.board.REGIONS.items():
            if start <= offset < start + size:
                return str(name)
        raise AssertionError(f"{offset} is in no region")

    def act(self, kind: str, offset: int, size: int) -> str:
        """The act of an operation."""
        name = self.region(offset)
        if name not in SLOTS:
            return name
        at = offset - self.start[name]
        if at < self.layout.image_limit:
            return DOWNLOAD
        if kind == ERASE:
            return DISARM
        if at <= self.layout.image_ok < at + size and at + size < self.layout.slot_size:
            return CONFIRM
        return TRIAL if self.layout.notes <= at < self.layout.image_ok else ARM


class Witness:
    """`images`: digest -> (container bytes, epoch) of everything that was ever signed for this board.

    must_boot: an acceptable image existed before the fault. epoch_top: the highest epoch that was
    confirmed, by the factory or since. cuts: power cuts so far; a fault that is none sets `damaged`:
    then what was stored may be gone, and only I1, I2, I4, I7 and I8 hold.
    """

    def __init__(
        self, place: Place, images: dict[bytes, tuple[bytes, int]], must_boot: bool, epoch_top: int
    ) -> None:
        self.place = place
        self.images = images
        self.must_boot = must_boot
        self.epoch_top = epoch_top
        self.epoch = self.seq = self.keys = 0  # the highest seen
        self.cuts = self.boots = self.erases = self.fetched = 0
        self.lost = 0  # boots in a row that found nothing
        self.trials = dict.fromkeys(SLOTS, 0)  # trial boots since it was armed
        self.losses = dict.fromkeys(SLOTS, 0)  # of those, ended by a power loss
        self.costs_update = False  # a torn write may cost the update, and no more
        self.fickle = False  # some cells read now so, now so
        self.flickers = False  # and for ever
        self.given_up: set[str] = set()  # slots whose trial was told to have failed
        self.modes: set[str] = set()
        self.violations: list[str] = []
        self.last_trial = ""
        self.damaged = False
        self.aged = False  # a bit flipped: where no epoch was stored, that reads as damage

    def fork(self) -> Witness:
        """Another one with the same past."""
        new = copy.copy(self)
        new.trials, new.losses = dict(self.trials), dict(self.losses)
        new.modes, new.violations = set(self.modes), list(self.violations)
        new.given_up = set(self.given_up)
        return new

    def wrong(self, what: str) -> None:
        self.violations.append(what)

    # --- operations -------------------------------------------------------------------------------
    def operation(self, chip: Chip, kind: str, offset: int, wanted: bytes) -> None:
        """Called before it is done."""
        if kind == ERASE:
            self.erases += 1
        name = self.place.region(offset)
        if name not in SLOTS:
            return
        act = self.place.act(kind, offset, len(wanted))
        if act == DOWNLOAD and kind == ERASE:
            self._may_erase(chip, name)
        elif act == DISARM:
            self.trials[name] = self.losses[name] = 0
            self.given_up.discard(name)
        elif act == CONFIRM:
            self._confirming(chip, name)

    def _may_erase(self, chip: Chip, name: str) -> None:
        """I3: an image may go only while the other slot holds a good one, a confirmed one only while
        that is confirmed too."""
        if not self._image_in(chip, name):
            return
        other = SLOTS[1 - SLOTS.index(name)]
        if not self._image_in(chip, other):
            self.wrong(f"I3 the image in {name} is erased, {other} holds none")
        elif self._is_confirmed(chip, name) and not self._is_confirmed(chip, other):
            self.wrong(f"I3 the image in {name} is erased, {other} holds none that is confirmed")

    def _confirming(self, chip: Chip, name: str) -> None:
        found = self._image_in(chip, name)
        if found:
            self.epoch_top = max(self.epoch_top, found[1])
        self.must_boot = True

    # --- boots ------------------------------------------------------------------------------------
    def booted(self, chip: Chip, booted: Any, cause: str) -> None:
        self.boots += 1
        self.modes.add(booted.mode)
        self._count_loss(cause)
        self._check_epoch(booted.epoch)
        if booted.slot is None:
            self.lost += 1
            if self.must_boot and self.lost >= 2:
                self.wrong(f"I2 nothing boots: {booted.codes}")
            elif self.must_boot and not self.damaged and not chip._unstable:
                self.wrong(f"I2 nothing boots at once: {booted.codes}")
            return
        self.lost = 0
        name = "slot_" + booted.slot.name
        self._check_image(chip, name, booted)
        if booted.mode == decision.TRIAL:
            self._check_trial(chip, name, booted)

    def _count_loss(self, cause: str) -> None:
        if self.last_trial and cause == "power":
            self.losses[self.last_trial] += 1
        self.last_trial = ""

    def _check_epoch(self, epoch: int | None) -> None:
        """I4: never lower, never above what was confirmed; a cut never costs both copies."""
        if epoch is None:
            if not self.damaged and not (self.aged and not self.epoch):
                self.wrong("I4 no epoch can be read")
            return
        if epoch < self.epoch:
            self.wrong(f"I4 the epoch fell from {self.epoch} to {epoch}")
        if epoch > self.epoch_top:
            self.wrong(f"I4 the epoch is {epoch}, confirmed is {self.epoch_top}")
        self.epoch = max(self.epoch, epoch)

    def _check_image(self, chip: Chip, name: str, booted: Any) -> None:
        """I1 and I9: the very bytes that were signed, and nothing behind them."""
        found = self.images.get(bytes(booted.verified.digest))
        if found is None:
            self.wrong(f"I1 an image boots that nobody signed, {booted.verified.digest.hex()[:8]}")
            return
        data, epoch = found
        start = self.place.start[name]
        if chip.content(start, len(data)) != data:
            self.wrong(f"I1 {name} boots and differs from what was signed")
        end = self.place.layout.install
        if not self._blank(chip, start + len(data), end - len(data)):
            self.wrong(f"I9 {name} has bytes behind its image")
        if epoch < (booted.epoch or 0) and booted.mode != decision.LAST_CONFIRMED:
            self.wrong(f"I1 epoch {epoch} boots below the stored {booted.epoch}")

    def _check_trial(self, chip: Chip, name: str, booted: Any) -> None:
        """I7 and I8: each trial boot has its mark, and their number is bounded."""
        self.trials[name] += 1
        self.last_trial = name
        if name in self.given_up:
            self.wrong(f"I7 {name} is on trial again, after its trial was told to have failed")
        marks = self._marks(chip, name)
        if marks < self.trials[name] and not self.damaged:
            self.wrong(f"I8 {self.trials[name]} trial boots and {marks} marks in {name}")
        if not marks:
            self.wrong(f"I8 a trial without a mark in {name}")
        burned = max(self.trials[name] - self.losses[name], booted.attempt)
        if self.flickers:  # the flag that ends the trial may be what flickers: marks bound it
            burned = 0
        if burned > _ATTEMPTS or self.trials[name] > MAX_BOOTS:
            self.wrong(f"I7 trial boot {self.trials[name]}, {self.losses[name]} ended by power")

    def resumed(self, journal: Any) -> None:
        """I4: the journal as this boot found it."""
        if journal.state == J_CLOSED and journal.outcome == INSTALLATION_FAILED:
            self.given_up.update(name for name in SLOTS if self.trials[name])
        if journal.seq < self.seq and not self.damaged:
            self.wrong(f"I4 seq fell from {self.seq} to {journal.seq}")
        self.seq = max(self.seq, journal.seq)

    def said(self, statuses: list[dict[str, Any]]) -> None:
        """I4: what was said of seq before the power went, was in flash."""
        self.seq = max([self.seq, *(status["seq"] for status in statuses)])

    def trusts(self, version: int, damaged: bool) -> None:
        """I4, for the keyset: and a cut never costs both copies."""
        if damaged and not self.damaged and not self.fickle:
            self.wrong("I4 the keyset store looks damaged")
        if version < self.keys and not self.damaged:
            self.wrong(f"I4 the keyset fell from {self.keys} to {version}")
        self.keys = max(self.keys, version)

    # --- the flash, byte by byte ------------------------------------------------------------------
    def _image_in(self, chip: Chip, name: str) -> tuple[bytes, int] | None:
        start = self.place.start[name]
        for data, epoch in self.images.values():
            if chip.content(start, len(data)) == data:
                rest = self.place.layout.install - len(data)
                if self._blank(chip, start + len(data), rest) and epoch >= self.epoch:
                    return data, epoch
        return None

    def _blank(self, chip: Chip, offset: int, size: int) -> bool:
        return chip.content(offset, size) == bytes([chip.erased]) * size

    def _is_confirmed(self, chip: Chip, name: str) -> bool:
        layout = self.place.layout
        at = self.place.start[name]
        flag = bytes([_SET]) + bytes([chip.erased]) * (layout.unit - 1)
        magic = chip.content(at + layout.magic, 16) == layout.magic_value()
        return magic and chip.content(at + layout.image_ok, layout.unit) == flag

    def _marks(self, chip: Chip, name: str) -> int:
        layout = self.place.layout
        count = 0
        for index in range(MAX_BOOTS):
            at = self.place.start[name] + layout.mark(index)
            if not self._blank(chip, at, layout.unit) or chip.undecided(at, layout.unit):
                count += 1
        return count
