"""The keyset in force: the base firmware's, or a later one that came in the field. FORMATS section 6.

Keyset N + 1 is taken if it is signed by the ROOT threshold of N and by that of N + 1 itself, distinct
keys each, and its version is exactly N + 1. It is stored whole, once in each half of its region, so
that no power cut and no single bad bit brings back a key that was revoked.

Record payload: the keyset container. What stands there was verified when it was taken; at boot its
CRC32 is checked, as the code of the base firmware is not verified anew either.
"""

from bootloader_verify import container, keyset, ladder
from bootloader_verify.errors import (
    BAD_SIZE,
    KEYSET_CHAIN,
    THRESHOLD,
    UNKNOWN_KEY,
    CodedError,
    FlashError,
    VerifyError,
)
from bootloader_verify.flash import is_blank
from bootloader_verify.records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from bootloader_verify.flash import Buffer, Flash
    from bootloader_verify.keyset import Keyset

    Tables = dict[bytes, bytes]

CONTAINER_BYTES_MAX = 7168  # eight P-256 keys and three signatures take half of it
_COPIES = 2


class KeysetStore:
    """`region`: the keyset region, two halves. `factory`: the container frozen in the base firmware.

    `tables`: key id -> table of a P-256 key (p256_comb.py). Attributes, read only for others:
    keyset: the one in force. damaged: both halves hold something, and none of it is a keyset; the
    factory's counts then, which may trust what was revoked since: an alarm.
    """

    def __init__(self, region: "Flash", factory: bytes, tables: "Optional[Tables]" = None) -> None:
        self._region = region
        self._tables = tables or {}
        self.damaged = False
        self.keyset = self._usable(unpack(factory))
        self._take_stored()

    def accept(self, data: "Buffer") -> "Keyset":
        """Take the next keyset: verified, stored, in force. VerifyError or FlashError: nothing changed.

        KEYSET_CHAIN if it is not the next one or not signed by both; a code of the ladder if it is no
        keyset container or a signature is bad; BAD_KEYSET for its content.
        """
        if len(data) > CONTAINER_BYTES_MAX:
            raise VerifyError(
                BAD_SIZE, "{} bytes, at most {}".format(len(data), CONTAINER_BYTES_MAX)
            )
        found = self._next(data)
        records = self._records()
        records.save(data)
        self.keyset = self._usable(found)
        self.damaged = False
        try:
            records.save(data)
        except FlashError:
            pass  # one copy counts; `mend` tries again
        return found

    def mend(self) -> None:
        """Write the copy that a cut or an error left out. Writes nothing if all is well. FlashError."""
        data = self._newest()
        if data is None:
            return
        records = self._records()
        for _ in range(_COPIES - records.copies(data)):
            records.save(data)

    def _next(self, data: "Buffer") -> "Keyset":
        """The keyset in `data` if it is the next one; the signatures of N are checked first of all."""
        verified = _signed_by(self.keyset, data)
        start = verified.payload_offset
        found = keyset.parse(memoryview(data)[start : start + verified.payload_size])
        if found.version != self.keyset.version + 1:
            detail = "version {} behind {}".format(found.version, self.keyset.version)
            raise VerifyError(KEYSET_CHAIN, detail)
        _signed_by(found, data)
        return found

    def _take_stored(self) -> None:
        """What cannot be read must not keep a charger from booting."""
        try:
            blank = self._blank_halves()
            data = None if blank == _COPIES else self._newest()
            if data is not None:
                self._prefer(unpack(data))
            elif not blank:  # one blank half: the very first keyset was cut while it was written
                self.damaged = True
        except CodedError:
            self.damaged = True

    def _prefer(self, stored: "Keyset") -> None:
        """A base firmware that was updated may be the newer one."""
        if stored.version > self.keyset.version:
            self.keyset = self._usable(stored)

    def _blank_halves(self) -> int:
        size, place = self._region.size_bytes, self._region
        edges = (0, size // 2, size)
        return sum([is_blank(place.read, edges[i], edges[i + 1], place.erased) for i in (0, 1)])

    def _records(self) -> Records:
        return Records(self._region, CONTAINER_BYTES_MAX, True)

    def _newest(self) -> "Optional[bytes]":
        buf = bytearray(CONTAINER_BYTES_MAX)
        size = self._records().load(buf)
        return bytes(buf[:size]) if size else None

    def _usable(self, found: "Keyset") -> "Keyset":
        for key_id in found.keys:
            found.keys[key_id].table = self._tables.get(key_id)
        return found


def unpack(data: "Buffer") -> "Keyset":
    """The keyset in a container that is trusted already; VerifyError if it is none."""
    if len(data) < container.HEADER_BYTES:
        raise VerifyError(BAD_SIZE, "{} bytes".format(len(data)))
    header = container.parse_header(data)
    container.check_bounds(header, len(data))
    return keyset.parse(memoryview(data)[header.hdr_size : header.tlv_offset])


def _signed_by(keys: "Keyset", data: "Buffer") -> "ladder.Verified":
    """The ladder with these keys; too few of them, or none, is a break in the chain."""

    def read(offset: int, buf: "bytearray | memoryview") -> None:
        buf[:] = data[offset : offset + len(buf)]

    try:
        return ladder.check(read, len(data), keys, ladder.Expect(container.KIND_KEYSET))
    except VerifyError as err:
        if err.code not in (UNKNOWN_KEY, THRESHOLD):
            raise
        raise VerifyError(KEYSET_CHAIN, "keyset {}: {}".format(keys.version, err))
