"""A new base firmware for the ESP32: a signed container whose payload is the chip's app image.

The payload goes to the spare OTA partition, block by block; header and TLVs of the container stay
in RAM, and so does block 0, which carries the magic. Order of a finished update:

    1  the ladder over header and block 0 in RAM, the other blocks as they stand in flash
    2  block 0 written: only now would the bootloader take the partition for an app
    3  the digest once more, over flash alone
    4  set_boot: one trial; see esp32_base.py

Memory: the container's header (up to 4,096 bytes), its TLV areas (2,048), block 0 and a work block
(4,096 each). A payload that starts at a multiple of 4,096 in its container (hdr_size 4096) has the
blocks of the container as its own.
"""

import hashlib
import struct

from bootloader_verify import container, ladder
from bootloader_verify.errors import (
    BAD_SIZE,
    BASE_REFUSED,
    FLASH_RANGE,
    FLASH_READBACK,
    FLASH_UNSUPPORTED,
    FlashError,
    VerifyError,
)
from bootloader_verify.ports import otadata
from bootloader_verify.ports.esp32 import SECTOR_BYTES
from bootloader_verify.ports.esp32_base import Bases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bootloader_verify.keyset import Keyset
    from bootloader_verify.ladder import Expect, Verified

    Buffer = bytes | bytearray | memoryview

BLOCK_BYTES = SECTOR_BYTES
HEAD_BYTES = 36  # image header 24, first segment's header 8, magic of the application description
_MAGIC = 0xE9
_CHIP_ID_OFFSET = 12
_HASH_FLAG_OFFSET = 23
_DESCRIPTION_OFFSET = 32
_DESCRIPTION_MAGIC = 0xABCD5432
_IMAGE_STEP = 16  # an app image is filled up to this; so are writes to an encrypted partition
_HASH_BYTES_MIN = 16


def check_image(first: "Buffer", size: int, chip_id: int, room: int) -> None:
    """FlashError BASE_REFUSED unless `first` begins an app image for this chip that fits.

    The chip's own check lets a second-stage bootloader pass, and so the merged firmware.bin that
    starts with one; only an app has a description at its fixed place. size: of the whole image.
    """
    if len(first) < HEAD_BYTES:
        raise _refused("{} bytes".format(len(first)))
    if first[0] != _MAGIC:
        raise _refused("no app image: starts with 0x{:02x}".format(first[0]))
    found = struct.unpack_from("<H", first, _CHIP_ID_OFFSET)[0]
    if found != chip_id:
        raise _refused("made for chip {}, this is {}".format(found, chip_id))
    if struct.unpack_from("<I", first, _DESCRIPTION_OFFSET)[0] != _DESCRIPTION_MAGIC:
        raise _refused("a bootloader or a merged firmware.bin: take micropython.bin, the app alone")
    if first[_HASH_FLAG_OFFSET] != 1:
        raise _refused("no SHA-256 in the image: the bootloader could not see damage")
    if size > room or size % _IMAGE_STEP:
        raise _refused("{} bytes for a slot of {}".format(size, room))


def _refused(detail: str) -> FlashError:
    return FlashError(BASE_REFUSED, detail)


class BaseUpdate:
    """One new base on its way into the spare slot; made again after a reset, it goes on.

    head: the container up to its payload. first: the payload's first BLOCK_BYTES, or all of it if
    shorter. tlvs: both TLV areas. All are kept. Nothing is written here; what is wrong is told:
    VerifyError (the container), BASE_REFUSED (the image, or the running base is not confirmed).

    blocks: of the payload, BLOCK_BYTES each but the last. Block 0 is not for the caller to write.
    """

    def __init__(self, board: "Any", head: bytes, first: bytes, tlvs: bytes) -> None:
        header = container.parse_header(head)
        self.size_bytes = header.img_size
        self.blocks = (self.size_bytes + BLOCK_BYTES - 1) // BLOCK_BYTES
        self._end = header.tlv_offset + len(tlvs)
        self._head = memoryview(head)
        self._first = memoryview(first)
        self._tlvs = memoryview(tlvs)
        self._work = memoryview(bytearray(BLOCK_BYTES))
        container.check_bounds(header, self._end)
        if len(head) != header.hdr_size or len(first) != self._block_bytes(0):
            raise VerifyError(
                BAD_SIZE, "head of {}, first block of {}".format(len(head), len(first))
            )
        self._bases = Bases()
        self._spare = self._bases.slots[self._bases.spare]
        check_image(first, self.size_bytes, board.ESP32["chip_id"], self._spare.size_bytes)
        self._bases.require_settled()
        self._opened = False

    # --- blocks -------------------------------------------------------------------------------
    def stands(self, block: int, sha256: "Buffer") -> bool:
        """Is this block in flash already? sha256: of its bytes, or the first 16 or more of it."""
        size = self._block_bytes(block)
        if len(sha256) < _HASH_BYTES_MIN:
            raise FlashError(FLASH_RANGE, "hash of {} bytes".format(len(sha256)))
        part = self._first if block == 0 else self._work[:size]
        if block:
            self._spare.read(block * BLOCK_BYTES, part)
        return hashlib.sha256(part).digest()[: len(sha256)] == bytes(sha256)

    def write(self, block: int, data: "Buffer") -> None:
        """Write block 1 … blocks - 1, in any order; FLASH_READBACK if flash did not keep it."""
        if block == 0 or len(data) != self._block_bytes(block):
            raise FlashError(FLASH_RANGE, "{} bytes for block {}".format(len(data), block))
        if not self._opened:
            self._bases.forget_spare()
            self._erase_magic()
            self._opened = True
        self._put(block, memoryview(data))

    def _block_bytes(self, block: int) -> int:
        if not 0 <= block < self.blocks:
            raise FlashError(FLASH_RANGE, "block {} of {}".format(block, self.blocks))
        return min(BLOCK_BYTES, self.size_bytes - block * BLOCK_BYTES)

    def _erase_magic(self) -> None:
        """A partition that is half written must not look like an app."""
        head = self._work[:HEAD_BYTES]
        self._spare.read(0, head)
        if head != b"\xff" * HEAD_BYTES:
            self._spare.erase_sector(0)

    def _put(self, block: int, data: memoryview) -> None:
        self._spare.erase_sector(block)
        self._spare.write(block * BLOCK_BYTES, data)
        back = self._work[: len(data)]
        self._spare.read(block * BLOCK_BYTES, back)
        if back != data:
            raise FlashError(FLASH_READBACK, "block {}".format(block))

    # --- the end ------------------------------------------------------------------------------
    def finish(self, keyset: "Keyset", expect: "Expect") -> "Verified":
        """Verify, make it an app, verify again, choose it for its trial; the caller resets.

        VerifyError or FlashError: the running base stays the one that boots, and unless flash
        refused even that, the spare slot is no app.
        """
        self._bases.require_settled()
        try:
            verified = ladder.check(self._read_unborn, self._end, keyset, expect)
            if not self._first_stands():
                self._bases.forget_spare()
                self._opened = True
                self._put(0, self._first)
            ladder.recheck(self._read, verified)
            self._bases.set_boot(self._bases.spare)
            self._require_trial()
        except (FlashError, VerifyError):
            self._withdraw()
            raise
        return verified

    def _first_stands(self) -> bool:
        part = self._work[: len(self._first)]
        self._spare.read(0, part)
        return part == self._first

    def _withdraw(self) -> None:
        """Take back what makes it an app; the first error is the one to tell."""
        try:
            if self._opened or self._first_stands():
                self._spare.erase_sector(0)
            if self._bases.state().selected == self._bases.spare:
                self._bases.keep()
        except FlashError:
            pass

    def _require_trial(self) -> None:
        """A firmware built without rollback would run the new base for ever, good or bad."""
        state = self._bases.state()
        if state.states[self._bases.spare] != otadata.NEW:
            raise FlashError(
                FLASH_UNSUPPORTED, "no rollback in this base firmware: {}".format(state)
            )

    def _read_unborn(self, offset: int, buf: "bytearray | memoryview") -> None:
        self._compose(offset, memoryview(buf), len(self._head) + len(self._first))

    def _read(self, offset: int, buf: "bytearray | memoryview") -> None:
        self._compose(offset, memoryview(buf), len(self._head))

    def _compose(self, offset: int, buf: memoryview, flash_from: int) -> None:
        """The container: RAM up to `flash_from`, flash to the payload's end, then RAM."""
        hdr_size, tlv_offset = len(self._head), len(self._head) + self.size_bytes
        done = 0
        while done < len(buf):
            at = offset + done
            if at < hdr_size:
                source, start, end = self._head, 0, hdr_size
            elif at < flash_from:
                source, start, end = self._first, hdr_size, flash_from
            elif at < tlv_offset:
                source, start, end = None, hdr_size, tlv_offset
            else:
                source, start, end = self._tlvs, tlv_offset, self._end
            part = buf[done : done + min(len(buf) - done, end - at)]
            if source is None:
                self._spare.read(at - start, part)
            else:
                part[:] = source[at - start : at - start + len(part)]
            done += len(part)
