"""The container: MCUboot's image format in our strict profile. The byte tables are in SPEC.md.

    [0, hdr_size)                     header, 32 bytes used
    [hdr_size, T)                     payload, T = hdr_size + img_size
    [T, T + protect_tlv_size)         protected TLV area      ) together at most
    [T + protect_tlv_size, end)       unprotected TLV area    ) TLV_BYTES_MAX

This walk is the only parser that runs before anything is authenticated: it looks at lengths and
types, never at meanings.
"""

import struct

from bootloader_verify.errors import (
    BAD_EPOCH,
    BAD_HEADER,
    BAD_MAGIC,
    BAD_SIZE,
    BAD_TLV,
    UNSUPPORTED,
    VerifyError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Read = Callable[[int, "bytearray | memoryview"], None]

MAGIC = 0x96F3B83D
HEADER = "<IIHHIIBBHII"
HEADER_BYTES = 32
HEADER_BYTES_MAX = 4096
FLAG_NON_BOOTABLE = 0x10
FLAG_ROM_FIXED = 0x100
_FLAGS = (0, FLAG_NON_BOOTABLE, FLAG_ROM_FIXED)

KIND_IMAGE, KIND_MANIFEST, KIND_KEYSET, KIND_TICKET = 1, 2, 3, 4
KINDS = (KIND_IMAGE, KIND_MANIFEST, KIND_KEYSET, KIND_TICKET)

AREA = "<HH"  # magic, tlv_tot: of an area; type, length: of an entry
AREA_BYTES = 4
PROTECTED_MAGIC = 0x6908
UNPROTECTED_MAGIC = 0x6907
EPOCH_STEP_MAX = 16  # how far a security counter may rise at once
TLV_BYTES_MAX = 2048  # both areas together; more is not a container of ours
SIGNATURES_MAX = 4

TLV_KEYHASH = 0x01
TLV_SHA256 = 0x10
TLV_ECDSA = 0x22
TLV_RSA3072_PSS = 0x23
TLV_DEPENDENCY = 0x40
TLV_SEC_CNT = 0x50
TLV_VID = 0x74
TLV_CID = 0x75
TLV_KIND = 0x00A0
TLV_REVISIONS = 0x00A1
TLV_LEAST_AGENT = 0x00A2
TLV_SBOM = 0x00A3
SIGNATURE_TYPES = (TLV_ECDSA, TLV_RSA3072_PSS)
# type -> (least, most) bytes. Whatever is not here is refused.
PROTECTED_LENGTHS = {
    TLV_DEPENDENCY: (12, 12),
    TLV_SEC_CNT: (4, 4),
    TLV_VID: (16, 16),
    TLV_CID: (16, 16),
    TLV_KIND: (1, 1),
    TLV_REVISIONS: (1, 64),
    TLV_LEAST_AGENT: (8, 8),
    TLV_SBOM: (32, 32),
}
UNPROTECTED_LENGTHS = {
    TLV_KEYHASH: (32, 32),
    TLV_SHA256: (32, 32),
    TLV_ECDSA: (8, 72),
    TLV_RSA3072_PSS: (384, 384),
}


class Header:
    """The 32-byte header; `version` is (major, minor, revision, build)."""

    def __init__(self, fields: "tuple[int, ...]") -> None:
        self.load_addr = fields[1]
        self.hdr_size = fields[2]
        self.protect_tlv_size = fields[3]
        self.img_size = fields[4]
        self.flags = fields[5]
        self.version = fields[6:10]

    @property
    def tlv_offset(self) -> int:
        """T: where the payload ends and the TLV areas begin."""
        return self.hdr_size + self.img_size


class Tlvs:
    """The walked TLV areas: `protected` {type: value}, `pairs` [(key hash, type, signature)]."""

    def __init__(self) -> None:
        self.protected: "dict[int, bytes]" = {}
        self.sha256 = b""
        self.pairs: "list[tuple[bytes, int, bytes]]" = []
        self.raw = b""  # the protected area as it stands, for the digest
        self.end = 0  # offset behind the container


def parse_header(buf: "bytes | bytearray | memoryview") -> Header:
    """Rung 1 and the header's part of rungs 2 and 4. `buf` holds the first 32 bytes."""
    fields = struct.unpack_from(HEADER, buf, 0)
    if fields[0] != MAGIC:
        raise VerifyError(BAD_MAGIC, "0x{:08x}".format(fields[0]))
    header = Header(fields)
    if not HEADER_BYTES <= header.hdr_size <= HEADER_BYTES_MAX:
        raise VerifyError(BAD_HEADER, "hdr_size {}".format(header.hdr_size))
    if header.flags not in _FLAGS:
        raise VerifyError(UNSUPPORTED, "flags 0x{:x}".format(header.flags))
    if fields[10] != 0:
        raise VerifyError(UNSUPPORTED, "pad 0x{:x}".format(fields[10]))
    if header.load_addr != 0 and header.flags != FLAG_ROM_FIXED:
        raise VerifyError(UNSUPPORTED, "load_addr 0x{:x}".format(header.load_addr))
    return header


def check_bounds(header: Header, size: int) -> None:
    """Rung 2. Python's integers do not wrap: compare sums with the place, never mask them."""
    if header.hdr_size > size:
        raise VerifyError(BAD_HEADER, "hdr_size {} in {}".format(header.hdr_size, size))
    if header.img_size == 0:
        raise VerifyError(BAD_SIZE, "no payload")
    if header.tlv_offset + header.protect_tlv_size + AREA_BYTES > size:
        raise VerifyError(BAD_SIZE, "{} bytes in {}".format(header.tlv_offset, size))


def walk(read: "Read", header: Header, size: int) -> Tlvs:
    """Rungs 3 and 4: both areas, read once, every entry inside, only what the profile knows."""
    found = Tlvs()
    start = header.tlv_offset
    protected = b""
    if header.protect_tlv_size:
        protected = _read_area(read, start, PROTECTED_MAGIC, size, TLV_BYTES_MAX)
    if len(protected) != header.protect_tlv_size:
        raise VerifyError(BAD_TLV, "protected area of {}".format(len(protected)))
    room = TLV_BYTES_MAX - len(protected)
    second = start + len(protected)
    unprotected = _read_area(read, second, UNPROTECTED_MAGIC, size, room)
    _collect_protected(found, protected)
    _collect_unprotected(found, unprotected)
    found.raw = protected
    found.end = second + len(unprotected)
    return found


def _read_area(read: "Read", offset: int, magic: int, size: int, room: int) -> bytes:
    head = bytearray(AREA_BYTES)
    if offset + AREA_BYTES > size:
        raise VerifyError(BAD_TLV, "area cut off")
    read(offset, head)
    found, total = struct.unpack(AREA, head)
    if found != magic:
        raise VerifyError(BAD_TLV, "area magic 0x{:04x}".format(found))
    if not AREA_BYTES <= total <= room or offset + total > size:
        raise VerifyError(BAD_TLV, "area of {}".format(total))
    area = bytearray(total)
    read(offset, area)
    if area[:AREA_BYTES] != head:
        raise VerifyError(BAD_TLV, "area changed while it was read")
    return bytes(area)


def _entries(area: bytes, lengths: "dict[int, tuple[int, int]]") -> "list[tuple[int, bytes]]":
    """The entries in order. Bounded by TLV_BYTES_MAX / AREA_BYTES = 512 of them."""
    entries = []
    at = AREA_BYTES
    while at < len(area):
        if at + AREA_BYTES > len(area):
            raise VerifyError(BAD_TLV, "{} stray bytes".format(len(area) - at))
        kind, size = struct.unpack_from(AREA, area, at)
        at += AREA_BYTES
        if at + size > len(area):
            raise VerifyError(BAD_TLV, "0x{:02x} crosses the end".format(kind))
        least, most = lengths.get(kind, (1, 0))
        if most == 0:
            raise VerifyError(_code(kind), "0x{:02x} has no place here".format(kind))
        if not least <= size <= most:
            raise VerifyError(_code(kind), "0x{:02x} of {}".format(kind, size))
        entries.append((kind, area[at : at + size]))
        at += size
    return entries


def _code(kind: int) -> str:
    """A misplaced security counter is named as what it is: an attempt at the epoch."""
    return BAD_EPOCH if kind == TLV_SEC_CNT else BAD_TLV


def _collect_protected(found: Tlvs, area: bytes) -> None:
    for kind, value in _entries(area, PROTECTED_LENGTHS):
        if kind in found.protected:
            raise VerifyError(_code(kind), "0x{:02x} twice".format(kind))
        found.protected[kind] = value


def _collect_unprotected(found: Tlvs, area: bytes) -> None:
    """SHA256 first and once, then (KEYHASH, signature) pairs."""
    entries = _entries(area, UNPROTECTED_LENGTHS)
    if not entries or entries[0][0] != TLV_SHA256:
        raise VerifyError(BAD_TLV, "SHA256 is not first")
    found.sha256 = entries[0][1]
    rest = entries[1:]
    if len(rest) % 2 or len(rest) // 2 > SIGNATURES_MAX:
        raise VerifyError(BAD_TLV, "{} entries behind SHA256".format(len(rest)))
    for i in range(0, len(rest), 2):
        key, signature = rest[i], rest[i + 1]
        if key[0] != TLV_KEYHASH or signature[0] not in SIGNATURE_TYPES:
            raise VerifyError(BAD_TLV, "no (KEYHASH, signature) pair")
        found.pairs.append((key[1], signature[0], signature[1]))
