"""The spare slot from "all blocks are there" to "armed", and a trial from "healthy" to "confirmed".

Each step may be cut and done again: the trailer's magic is the last write of arming, image_ok the
first of confirming, and the epoch rises only behind it.
"""

from bootloader_verify import boot, decision, ladder, trailer
from bootloader_verify.container import EPOCH_STEP_MAX
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import (
    ALG_MISMATCH,
    BAD_HASH,
    BAD_SIGNATURE,
    NOT_ERASED,
    REVOKED,
    THRESHOLD,
    UNKNOWN_KEY,
    UNSIGNED,
    WRONG_ROLE,
    FlashError,
    VerifyError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from agent.manifest import Manifest
    from bootloader_verify.boot import Booted
    from bootloader_verify.keyset import Keyset
    from bootloader_verify.ladder import Climb, Verified
    from bootloader_verify.slot import Slot

MISMATCH = "MISMATCH"  # authentic, but not the image that the manifest named (THREATS 30)
# The signer is at fault, in OCPP's words InvalidSignature; all else is InstallVerificationFailed.
SIGNER_CODES = (
    ALG_MISMATCH,
    BAD_SIGNATURE,
    REVOKED,
    THRESHOLD,
    UNKNOWN_KEY,
    UNSIGNED,
    WRONG_ROLE,
)
# Flash may have changed since the blocks were proved: looking again finds out which ones.
MAY_BE_DAMAGE = (BAD_HASH, NOT_ERASED)
_U32 = 0xFFFFFFFF


class Installer:
    """Of one boot. `spare`: the slot that does not run. `target`: the slot that will be armed."""

    def __init__(
        self,
        booted: "Booted",
        slots: "Sequence[Slot]",
        spare: "Slot",
        keyset: "Keyset",
        counter: EpochCounter,
    ) -> None:
        self._booted = booted
        self._slots = slots
        self.spare = self.target = spare
        self._keyset = keyset
        self._counter = counter

    @property
    def least_epoch(self) -> int:
        """The stored epoch or the running image's, whichever is higher."""
        running = self._booted.verified
        return max(self._booted.epoch or 0, running.epoch if running else 0)

    def climb(self, manifest: "Manifest") -> "Climb":
        """The ladder over the spare slot, read back from flash; the image must be the named one.

        A piece at a time (see ladder.climb). VerifyError with the ladder's codes or MISMATCH.
        """
        least, most = self.least_epoch, self.least_epoch + EPOCH_STEP_MAX
        found = yield from self.spare.climb(self._keyset, boot.VERSION, least, most)
        named = (manifest.digest, manifest.size, manifest.version, manifest.epoch)
        if (found.digest, found.end, tuple(found.version), found.epoch) != named:
            raise VerifyError(MISMATCH, "the image is not the one that the manifest names")
        return found

    def arm(self, verified: "Verified", attempts: int) -> None:
        """Make it a trial. VerifyError CHANGED if flash changed since `verify`; FlashError."""
        slot = self.target
        ladder.recheck(slot.region.read, verified)
        state = slot.state()
        if not state.blank:
            trailer.erase(slot.region, slot.layout)
        trailer.arm(slot.region, slot.layout, self._next_counter(), attempts)

    def _next_counter(self) -> int:
        """Higher than that of every slot, also of one that did not boot today."""
        last = 0
        for slot in self._slots:
            try:
                last = max(last, slot.state().counter or 0)
            except FlashError:
                pass  # it cannot be read: it cannot win either
        return min(last + 1, _U32)

    def arm_running_instead(self) -> "Verified":
        """The slot to arm is the running one: an image that never had its trial."""
        slot, verified = self._booted.slot, self._booted.verified
        assert slot is not None and verified is not None
        self.target = slot
        return verified

    def disarm(self) -> None:
        """What was armed is no trial any more, as far as the flash obeys."""
        try:
            trailer.erase(self.target.region, self.target.layout)
        except FlashError:
            pass  # the job has failed already

    def spoil(self) -> None:
        """What stands in the spare slot is no image any more, as far as the flash obeys."""
        try:
            self.spare.region.erase(0, self.spare.region.erase_bytes)
        except FlashError:
            pass  # its attempts are used up all the same

    @property
    def alone(self) -> bool:
        """No other slot holds a valid image."""
        return bool(self._booted.codes.get(self.spare.name))

    def run_unconfirmed(self) -> None:
        """The running image is good and its trailer is not: it boots as a last resort. FlashError."""
        slot = self._booted.slot
        assert slot is not None
        trailer.erase(slot.region, slot.layout)

    def confirm(self) -> None:
        """Make the running trial permanent. Doing it again is no harm."""
        slot = self._booted.slot
        assert slot is not None
        trailer.confirm(slot.region, slot.layout, slot.state())

    def settle_epoch(self) -> None:
        """The running, confirmed image's epoch is the device's: stored at the first boot behind the
        factory, a damaged copy mended, else nothing is written. CodedError.
        """
        verified, stored = self._booted.verified, self._booted.epoch
        if self._booted.mode == decision.CONFIRMED and verified is not None:
            self._counter.raise_to(max(verified.epoch, stored or 0), True)

    def raise_epoch(self) -> None:
        """To that of the running, confirmed image. VerifyError or FlashError: it stays as it was."""
        verified = self._booted.verified
        assert verified is not None
        self._counter.raise_to(verified.epoch)
