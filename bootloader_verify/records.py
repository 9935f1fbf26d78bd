"""A value that survives power cuts: a log of records in two halves of a region. FORMATS section 3.

Record, at a write unit's boundary, padded with the erased value to the next one:
    off  size  field
      0     4  seq, from 1: one more than the record before, two more when it begins a half
      4     4  complement of seq
      8     4  payload length
     12     4  CRC32 over bytes 0..11 and the payload
     16     n  payload
The newest valid record wins. Records are appended; when a half is full the other one is erased and
used, so the newest valid record is never in a sector that is being erased. A torn record ends its
half: nothing is written behind it, because its length cannot be trusted. It may hold the next seq and
turn out to be readable later: hence the step of two, which lets the record in the other half win.
"""

import binascii
import struct

from bootloader_verify.errors import CHANGED, FLASH_RANGE, RECORD_TOO_LARGE, FlashError
from bootloader_verify.flash import align_up, is_blank, program_checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from bootloader_verify.flash import Buffer, Flash

_HEAD = "<IIII"
HEAD_BYTES = 16
_CRC_FROM = 12  # bytes of the head under the CRC
_U32 = 0xFFFFFFFF
_LOADS = 4  # tries to read one record twice alike


class Records:
    """The record log in `region` (two halves of whole sectors), payloads of at most `max_payload` bytes.

    alternate: each record goes to the other half than the one before it, so that a value saved
    twice stands in both.
    """

    def __init__(self, region: "Flash", max_payload: int, alternate: bool = False) -> None:
        self._region = region
        self._half_bytes = region.size_bytes // 2
        if self._half_bytes % region.erase_bytes or not self._half_bytes:
            raise FlashError(FLASH_RANGE, "a record log needs two halves of whole sectors")
        room = align_up(HEAD_BYTES + max_payload, region.write_bytes)
        if room > self._half_bytes:
            raise FlashError(RECORD_TOO_LARGE, "{} in {}".format(room, self._half_bytes))
        self.max_payload = max_payload
        self._alternate = alternate
        self._work = memoryview(bytearray(room))
        self._seq = 0  # of the newest valid record, 0 = none
        self._at = 0  # its offset
        self._size = 0  # its payload length
        self._ends = [0, 0]  # where each half could be appended to; half size = full or torn
        self._scan()

    @property
    def seq(self) -> int:
        """Number of the newest valid record, 0 if there is none."""
        return self._seq

    def load(self, buf: "bytearray | memoryview") -> int:
        """Copy the newest payload into `buf`, which must hold it; returns its length, 0 if none.

        FlashError CHANGED if the flash gives other bytes on every read.
        """
        for _ in range(_LOADS):
            if not self._seq or self._read_newest(buf):
                return self._size
            self._scan()  # a cell that was torn and reads now so, now so: look again
        raise FlashError(CHANGED, "record {}".format(self._seq))

    def save(self, *parts: "Buffer") -> None:
        """Append one record made of `parts`; it counts once it has been read back."""
        size = sum([len(part) for part in parts])
        if size > self.max_payload:
            raise FlashError(RECORD_TOO_LARGE, "{} of {}".format(size, self.max_payload))
        total = align_up(HEAD_BYTES + size, self._region.write_bytes)
        half = self._place(total)
        seq = self._seq + (1 if half == self._newest_half() else 2)
        self._fill(seq, size, parts)
        start = half * self._half_bytes + self._ends[half]
        self._ends[half] = self._half_bytes  # closed, should the write fail in the middle
        program_checked(self._region, start, self._work[:total])
        self._ends[half] = start - half * self._half_bytes + total
        self._seq, self._at, self._size = seq, start, size

    def copies(self, payload: bytes) -> int:
        """In how many of the two halves the newest valid record holds just this payload."""
        return sum([self._newest_of(half) == payload for half in (0, 1)])

    def _newest_of(self, half: int) -> "Optional[bytes]":
        """Payload of the last valid record of a half."""
        found = None
        at = 0
        while at + HEAD_BYTES <= self._half_bytes:
            size = self._valid_at(half * self._half_bytes + at)
            if size < 0:
                break
            found = bytes(self._work[HEAD_BYTES : HEAD_BYTES + size])
            at += align_up(HEAD_BYTES + size, self._region.write_bytes)
        return found

    def _read_newest(self, buf: "bytearray | memoryview") -> bool:
        """Read it anew and check it anew; False if it is no longer what the scan saw."""
        payload = memoryview(buf)[: self._size]
        head = self._work[:HEAD_BYTES]
        self._region.read(self._at, head)
        if self._size:
            self._region.read(self._at + HEAD_BYTES, payload)
        seq, _, size, crc = struct.unpack_from(_HEAD, head, 0)
        found = binascii.crc32(payload, binascii.crc32(head[:_CRC_FROM]))
        return bool(seq == self._seq and size == self._size and found == crc)

    def _newest_half(self) -> int:
        return 0 if self._at < self._half_bytes else 1

    def _fill(self, seq: int, size: int, parts: "tuple[Buffer, ...]") -> None:
        struct.pack_into(_HEAD, self._work, 0, seq, seq ^ _U32, size, 0)
        at = HEAD_BYTES
        for part in parts:
            self._work[at : at + len(part)] = part
            at += len(part)
        struct.pack_into("<I", self._work, _CRC_FROM, self._crc(size))
        for i in range(at, align_up(at, self._region.write_bytes)):
            self._work[i] = self._region.erased

    def _crc(self, size: int) -> int:
        crc = binascii.crc32(self._work[:_CRC_FROM])
        return binascii.crc32(self._work[HEAD_BYTES : HEAD_BYTES + size], crc)

    def _place(self, total: int) -> int:
        """The half to append to, erased before if it has no room; never that of the newest record."""
        newest = self._newest_half()
        half = 1 - newest if self._alternate and self._seq else newest
        if self._ends[half] + total <= self._half_bytes:
            return half
        if self._seq:
            half = 1 - newest
        self._ends[half] = self._half_bytes
        self._region.erase(half * self._half_bytes, self._half_bytes)
        self._ends[half] = 0
        return half

    def _scan(self) -> None:
        self._seq = self._at = self._size = 0
        for half in (0, 1):
            at = 0
            while at + HEAD_BYTES <= self._half_bytes:
                size = self._valid_at(half * self._half_bytes + at)
                if size < 0:
                    break
                at += align_up(HEAD_BYTES + size, self._region.write_bytes)
            start, end = half * self._half_bytes + at, (half + 1) * self._half_bytes
            blank = is_blank(self._region.read, start, end, self._region.erased)
            self._ends[half] = at if blank else self._half_bytes

    def _valid_at(self, offset: int) -> int:
        """Payload length of a valid record at `offset`, which it takes note of; -1 if there is none."""
        self._region.read(offset, self._work[:HEAD_BYTES])
        seq, inverse, size, crc = struct.unpack_from(_HEAD, self._work, 0)
        end = offset % self._half_bytes + HEAD_BYTES + size
        if seq ^ inverse != _U32 or size > self.max_payload or end > self._half_bytes:
            return -1
        self._region.read(offset + HEAD_BYTES, self._work[HEAD_BYTES : HEAD_BYTES + size])
        if self._crc(size) != crc:
            return -1
        if seq > self._seq:
            self._seq, self._at, self._size = seq, offset, size
        return int(size)
