"""The device's epoch: the lowest security counter that it still accepts. FORMATS section 3.

It rises only after a confirm, never falls, and never by more than EPOCH_STEP_MAX, so that neither a
torn write nor one signed typing error can lock a device out of all of its images. It stands in both
halves of its region, so that no single bad bit takes it back to an older value.

Record payload: epoch u32.
"""

import struct

from bootloader_verify.container import EPOCH_STEP_MAX
from bootloader_verify.errors import EPOCH_JUMP, FlashError, VerifyError
from bootloader_verify.flash import align_up, is_blank
from bootloader_verify.records import HEAD_BYTES, Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from bootloader_verify.flash import Flash

_PAYLOAD = "<I"
_PAYLOAD_BYTES = 4
_COPIES = 2


class EpochCounter:
    """The epoch in its own region of two sectors."""

    def __init__(self, region: "Flash") -> None:
        self._region = region
        self._records = Records(region, _PAYLOAD_BYTES, True)
        self._buf = bytearray(_PAYLOAD_BYTES)

    def read(self) -> "Optional[int]":
        """The stored epoch; 0 on a device that never stored one; None if only damage is there."""
        try:
            size = self._records.load(self._buf)
            if size == _PAYLOAD_BYTES:
                return int(struct.unpack(_PAYLOAD, self._buf)[0])
            return 0 if self._never_stored() else None
        except FlashError:
            return None  # what cannot be read is damage, not 0

    def raise_to(self, epoch: int, adopt: bool = False) -> None:
        """Store `epoch`, that of a confirmed image, if it is higher; mend a copy that is missing.

        VerifyError EPOCH_JUMP if it is too far away, unless `adopt`: the image was confirmed by the
        factory. Where only damage is left, the confirmed image's own epoch is the best that is
        known, so it is stored whatever its distance.
        """
        stored = self.read()
        if not adopt and stored is not None and epoch > stored + EPOCH_STEP_MAX:
            raise VerifyError(EPOCH_JUMP, "from {} to {}".format(stored, epoch))
        value = epoch if stored is None else max(epoch, stored)
        payload = struct.pack(_PAYLOAD, value)
        for _ in range(_COPIES - self._records.copies(payload)):
            self._records.save(payload)

    def _never_stored(self) -> bool:
        """All erased but for the place of the very first record, which a cut may have torn."""
        first = align_up(HEAD_BYTES + _PAYLOAD_BYTES, self._region.write_bytes)
        return is_blank(self._region.read, first, self._region.size_bytes, self._region.erased)
