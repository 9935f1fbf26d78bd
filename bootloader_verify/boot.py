"""The boot stage: look at both slots, decide, mark the attempt, verify once more, hand over.

Thin: what is authentic says ladder.py, what boots says decision.py. It never erases and writes two
kinds of things only, a note how the last attempt ended and a mark for the one that begins.
"""

from bootloader_verify import decision, keyset, ladder, trailer
from bootloader_verify.container import EPOCH_STEP_MAX
from bootloader_verify.counter import EpochCounter
from bootloader_verify.decision import Facts
from bootloader_verify.errors import REVOKED, ROLLBACK, CodedError, FlashError
from bootloader_verify.slot import NAMES, Slot, region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from bootloader_verify.container import Read
    from bootloader_verify.flash import Flash
    from bootloader_verify.keyset import Keyset
    from bootloader_verify.ladder import Verified
    from bootloader_verify.trailer import TrailerState

VERSION = (0, 1, 0, 0)  # of agent and boot verifier: what TLV 0x00A2 of an image asks for


class Booted:
    """What was chosen. In recovery mode `slot`, `verified`, `state` and `payload` are None.

    mode: decision.TRIAL … RECOVERY. attempt: trial boots that count so far, this one included.
    epoch: the stored one, None if only damage is there. codes: slot name -> why it does not climb
    the ladder ("" if it does). payload: the image's payload as the memory map shows it.
    """

    def __init__(self, mode: str, epoch: "Optional[int]", codes: "dict[str, str]") -> None:
        self.mode = mode
        self.epoch = epoch
        self.codes = codes
        self.slot: "Optional[Slot]" = None
        self.verified: "Optional[Verified]" = None
        self.state: "Optional[TrailerState]" = None
        self.payload: "Optional[memoryview]" = None
        self.attempt = 0


class Boot:
    """One boot. `cause` is one of trailer.RESET_CAUSES."""

    def __init__(self, flash: "Any", board: "Any", keys: "Keyset", cause: str) -> None:
        self._flash = flash
        self._keys = keys
        self._cause = cause
        self.slots = [Slot(flash, board, name) for name in NAMES]
        self._epoch = _stored_epoch(region(flash, board, "epoch"))
        self._verified: "dict[str, Verified]" = {}
        self._facts = [self._look_at(slot) for slot in self.slots]

    def select(self) -> Booted:
        """Decide until a slot stands its last check. Each round excludes one cause: it ends."""
        while True:
            mode, facts = decision.decide(self._facts)
            codes = {one.name: one.code for one in self._facts}
            booted = Booted(mode, self._epoch, codes)
            if facts is None:
                return booted
            slot = self.slots[NAMES.index(facts.name)]
            if mode == decision.TRIAL and not self._mark(slot, facts):
                continue
            if self._hand_over(slot, facts, booted):
                return booted

    # --- looking ------------------------------------------------------------------------------
    def _look_at(self, slot: Slot) -> Facts:
        """A slot that cannot be read must not keep the other one from booting."""
        try:
            state = self._noted_state(slot)
        except FlashError as err:
            return Facts(slot.name, err.code, trailer.TrailerState())
        code, exempt = self._climb(slot, state)
        return Facts(slot.name, code, state, exempt)

    def _noted_state(self, slot: Slot) -> "TrailerState":
        """The trailer, after the end of the last attempt was noted: only power excuses it."""
        state = slot.state()
        if not state.armed or state.ended:
            return state
        try:
            trailer.note_reset(slot.region, slot.layout, state, self._cause)
        except FlashError:
            pass  # not noted: the attempt counts
        return slot.state()

    def _climb(self, slot: Slot, state: "TrailerState") -> "tuple[str, bool]":
        """(code, exempt) as in Facts."""
        least, confirmed = self._epoch or 0, state.confirmed
        most = None if confirmed or self._epoch is None else least + EPOCH_STEP_MAX
        if not least and not state.armed:
            most = None  # a factory's first image tells the epoch, though its image_ok went bad
        try:
            self._verified[slot.name] = slot.verify(self._keys, VERSION, least, most)
            return "", False
        except CodedError as err:
            code = err.code
        if not confirmed or code not in (ROLLBACK, REVOKED):
            return code, False
        return code, self._is_authentic(slot)

    def _is_authentic(self, slot: Slot) -> bool:
        """Would it climb without the epochs and revocations that came after it?"""
        as_then = keyset.Keyset(self._keys.version, self._keys.keys, self._keys.thresholds)
        try:
            self._verified[slot.name] = slot.verify(as_then, VERSION, 0, None)
            return True
        except CodedError:
            return False

    # --- handing over -------------------------------------------------------------------------
    def _mark(self, slot: Slot, facts: Facts) -> bool:
        """One attempt more; without a mark that reads back there is no trial (I8)."""
        boots = facts.state.boots
        try:
            trailer.mark_attempt(slot.region, slot.layout, facts.state)
            facts.state = slot.state()
        except FlashError:
            facts.markable = False
            return False
        facts.markable = facts.state.boots == boots + 1
        return facts.markable

    def _hand_over(self, slot: Slot, facts: Facts, booted: Booted) -> bool:
        """Rung 10, over the very bytes that will be mounted."""
        verified = self._verified[slot.name]
        try:
            view = self._flash.map(slot.region.offset, verified.end)
            ladder.recheck(_reader(view), verified)
        except CodedError as err:
            facts.code, facts.exempt = err.code, False
            return False
        start = verified.payload_offset
        booted.slot, booted.verified, booted.state = slot, verified, facts.state
        booted.payload = view[start : start + verified.payload_size]
        if booted.mode == decision.TRIAL:
            booted.attempt = facts.state.attempts_used
        return True


def _stored_epoch(place: "Flash") -> "Optional[int]":
    """None if only damage is there, or if it cannot be read."""
    try:
        return EpochCounter(place).read()
    except FlashError:
        return None


def _reader(view: memoryview) -> "Read":
    def read(offset: int, buf: "bytearray | memoryview") -> None:
        buf[:] = view[offset : offset + len(buf)]

    return read
