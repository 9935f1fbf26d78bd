"""The device's epoch: the lowest security counter that it still accepts. FORMATS section 3.

It rises only after a confirm, never falls, and never by more than EPOCH_STEP_MAX, so that neither a
torn write nor one signed typing error can lock a device out of all of its images.
"""

import struct

from bootloader_verify.errors import EPOCH_JUMP, VerifyError
from bootloader_verify.records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from bootloader_verify.flash import Flash

EPOCH_STEP_MAX = 16
_PAYLOAD_BYTES = 4


class EpochCounter:
    """The epoch in its own region of two sectors."""

    def __init__(self, region: "Flash") -> None:
        self._region = region
        self._records = Records(region, _PAYLOAD_BYTES)
        self._buf = bytearray(_PAYLOAD_BYTES)

    def read(self) -> "Optional[int]":
        """The stored epoch; 0 on a device that never stored one; None if only damage is there."""
        if self._records.load(self._buf) == _PAYLOAD_BYTES:
            return int(struct.unpack("<I", self._buf)[0])
        return 0 if self._never_written() else None

    def raise_to(self, epoch: int) -> None:
        """Store `epoch`, that of a confirmed image, if it is higher.

        VerifyError EPOCH_JUMP if it is too far away. Where only damage is left, the confirmed
        image's own epoch is the best that is known, so it is stored whatever its distance.
        """
        stored = self.read()
        if stored is not None and epoch > stored + EPOCH_STEP_MAX:
            raise VerifyError(EPOCH_JUMP, "from {} to {}".format(stored, epoch))
        if stored is None or epoch > stored:
            self._records.save(struct.pack("<I", epoch))

    def _never_written(self) -> bool:
        part = bytearray(min(256, self._region.erase_bytes))
        blank = bytes([self._region.erased]) * len(part)
        for at in range(0, self._region.size_bytes, len(part)):
            self._region.read(at, part)
            if part != blank:
                return False
        return True
