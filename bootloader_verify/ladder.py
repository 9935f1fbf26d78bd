"""The ladder: ten named checks, in order, that a container must climb. It starts at "no".

    1 magic      2 bounds     3 walk       4 types      5 digest
    6 keys       7 signatures 8 claims     9 erased    10 recheck (right before the mount or jump)

Header and TLV areas are read once, into RAM; the payload is read in steps of one small buffer, so
memory does not grow with the image. `climb` pauses between pieces, for a device that has other work
to do meanwhile. SPEC.md documents every argument and code.
"""

import hashlib
import struct

from bootloader_verify import container, p256, rsa_pss
from bootloader_verify.errors import (
    ALG_MISMATCH,
    BAD_EPOCH,
    BAD_HASH,
    BAD_SIGNATURE,
    BAD_SIZE,
    CHANGED,
    DEPENDENCY,
    EPOCH_JUMP,
    NOT_ERASED,
    REVOKED,
    ROLLBACK,
    THRESHOLD,
    UNKNOWN_KEY,
    UNSIGNED,
    WRONG_HW,
    WRONG_KIND,
    WRONG_ROLE,
    VerifyError,
)
from bootloader_verify.flash import is_blank
from bootloader_verify.keyset import ALL_CLASSES, ECDSA_P256, RELEASE, ROLLOUT, ROOT, RSA_EXPONENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generator, Optional

    from bootloader_verify.container import Header, Read, Tlvs
    from bootloader_verify.keyset import Key, Keyset

    Version = tuple[int, ...]
    Climb = Generator[None, None, "Verified"]

BUFFER_BYTES = 1024
PIECE_BYTES = 16 * BUFFER_BYTES  # of the payload, between two pauses of `climb`
ROLE_OF_KIND = {
    container.KIND_IMAGE: RELEASE,
    container.KIND_MANIFEST: ROLLOUT,
    container.KIND_KEYSET: ROOT,
    container.KIND_TICKET: ROLLOUT,
}
_ANY_VERSION = (0, 0, 0, 0)


class Expect:
    """What the caller accepts. None = not asked (host tools); a device asks everything.

    kind: container.KIND_*. vid, cid: 16 bytes each. revision: this board's hardware revision.
    min_epoch, max_epoch: inclusive bounds of the security counter; 0 and None = any.
    agent_version: of the running agent and boot verifier. slot_offset: where the slot stands in
    flash, for ROM_FIXED images. erased: value of an erased byte behind the container.
    """

    def __init__(
        self,
        kind: int,
        vid: "Optional[bytes]" = None,
        cid: "Optional[bytes]" = None,
        revision: "Optional[str]" = None,
        min_epoch: int = 0,
        max_epoch: "Optional[int]" = None,
        agent_version: "Optional[Version]" = None,
        slot_offset: int = 0,
        erased: int = 0xFF,
    ) -> None:
        self.kind = kind
        self.vid = vid
        self.cid = cid
        self.revision = revision
        self.min_epoch = min_epoch
        self.max_epoch = max_epoch
        self.agent_version = agent_version
        self.slot_offset = slot_offset
        self.erased = erased


class Verified:
    """A container that climbed rungs 1 to 9. Offsets and sizes in bytes from its start."""

    def __init__(self, header: "Header", tlvs: "Tlvs", kind: int, epoch: int) -> None:
        self.header = header
        self.version = header.version
        self.kind = kind
        self.epoch = epoch
        self.digest = tlvs.sha256
        self.vid = tlvs.protected.get(container.TLV_VID)
        self.cid = tlvs.protected.get(container.TLV_CID)
        self.tlvs = tlvs.protected
        self.key_ids = [pair[0] for pair in tlvs.pairs]
        self.payload_offset = header.hdr_size
        self.payload_size = header.img_size
        self.end = tlvs.end


def check(read: "Read", size: int, keyset: "Keyset", expect: Expect) -> Verified:
    """Climb rungs 1 to 9 over the `size` bytes that `read(offset, buf)` shows, or VerifyError.

    `size` is the room of the container: a file's length, or a slot without its trailer.
    """
    return finish(climb(read, size, keyset, expect))


def climb(read: "Read", size: int, keyset: "Keyset", expect: Expect) -> "Climb":
    """`check`, a piece at a time: PIECE_BYTES of the payload, or all signatures, between two yields.

    A generator that returns the Verified. One that raised is used up: begin with a new one.
    """
    head, header = _rung_1_magic(read, size)
    _rung_2_bounds(header, size)
    tlvs = _rungs_3_4_walk(read, header, size)
    yield from _rung_5_digest(read, head, header, tlvs)
    _rung_6_keys(header, tlvs, keyset, expect)
    _rung_7_signatures(tlvs, keyset, expect)
    yield
    verified = _rung_8_claims(header, tlvs, keyset, expect)
    _rung_9_erased(read, tlvs.end, size, expect.erased)
    return verified


def finish(steps: "Climb") -> Verified:
    """Run a climb to its end, without pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            verified: Verified = end.value
            return verified


def recheck(read: "Read", verified: Verified) -> None:
    """Rung 10: the bytes that are about to run still have the digest that was verified."""
    end = verified.header.tlv_offset + verified.header.protect_tlv_size
    hasher = hashlib.sha256()
    for _ in _hash(hasher, read, 0, end):
        pass
    if hasher.digest() != verified.digest:
        raise VerifyError(CHANGED, "the image is not the one that was verified")


def _rung_1_magic(read: "Read", size: int) -> "tuple[bytearray, Header]":
    head = bytearray(container.HEADER_BYTES)
    if size < len(head):
        raise VerifyError(BAD_SIZE, "{} bytes".format(size))
    read(0, head)
    return head, container.parse_header(head)


def _rung_2_bounds(header: "Header", size: int) -> None:
    container.check_bounds(header, size)


def _rungs_3_4_walk(read: "Read", header: "Header", size: int) -> "Tlvs":
    return container.walk(read, header, size)


def _rung_5_digest(
    read: "Read", head: bytearray, header: "Header", tlvs: "Tlvs"
) -> "Generator[None, None, None]":
    """Over the header and TLVs that were parsed, not over a second reading of them."""
    hasher = hashlib.sha256(head)
    yield from _hash(hasher, read, len(head), header.tlv_offset)
    hasher.update(tlvs.raw)
    if hasher.digest() != tlvs.sha256:
        raise VerifyError(BAD_HASH, "the bytes are not those that were signed")


def _rung_6_keys(header: "Header", tlvs: "Tlvs", keyset: "Keyset", expect: Expect) -> None:
    """Some key is known, none of the known ones is revoked, of another role or of another algorithm."""
    if not tlvs.pairs:
        raise VerifyError(UNSIGNED, "no signature")
    known = 0
    for key_id, tlv, _ in tlvs.pairs:
        if key_id in keyset.revoked:
            raise VerifyError(REVOKED, "key {}".format(short(key_id)))
        key = keyset.find(key_id)
        if key is None:
            continue
        known += 1
        if key.signature_tlv != tlv:
            raise VerifyError(ALG_MISMATCH, "key {} is {}".format(short(key_id), key.alg))
        _check_role(key, header, tlvs, expect)
    if not known:
        raise VerifyError(UNKNOWN_KEY, "key {}".format(short(tlvs.pairs[0][0])))


def _check_role(key: "Key", header: "Header", tlvs: "Tlvs", expect: Expect) -> None:
    """Refused in any case; what it says it is only chooses the name of the mistake."""
    if key.role != ROLE_OF_KIND[expect.kind]:
        claimed = _claimed_kind(header, tlvs)
        misplaced = claimed != expect.kind and ROLE_OF_KIND.get(claimed) == key.role
        detail = "key {} is for {}".format(short(key.id), key.role)
        raise VerifyError(WRONG_KIND if misplaced else WRONG_ROLE, detail)
    cid = tlvs.protected.get(container.TLV_CID, b"")
    if key.device_class != ALL_CLASSES and bytes.fromhex(key.device_class) != cid:
        raise VerifyError(WRONG_ROLE, "key {} is for another class".format(short(key.id)))


def _rung_7_signatures(tlvs: "Tlvs", keyset: "Keyset", expect: Expect) -> None:
    """Every pair of a known key verifies, and enough distinct keys signed."""
    signers = set()
    for key_id, _, signature in tlvs.pairs:
        key = keyset.find(key_id)
        if key is None:
            continue
        if _signature_ok(key, tlvs.sha256, signature) is not True:
            raise VerifyError(BAD_SIGNATURE, "key {}".format(short(key_id)))
        signers.add(key_id)
    needed = keyset.threshold(ROLE_OF_KIND[expect.kind])
    if len(signers) < max(1, needed):
        raise VerifyError(THRESHOLD, "{} of {} keys".format(len(signers), needed))


def _signature_ok(key: "Key", digest: bytes, signature: bytes) -> bool:
    if key.alg == ECDSA_P256:
        return p256.verify(key.raw, digest, signature, key.table)
    return rsa_pss.verify(key.raw, RSA_EXPONENT, digest, signature)


def _rung_8_claims(header: "Header", tlvs: "Tlvs", keyset: "Keyset", expect: Expect) -> Verified:
    """Only now, with the bytes authentic, their meaning: kind, hardware, epoch, dependency."""
    kind = _claimed_kind(header, tlvs)
    if kind != expect.kind:
        raise VerifyError(WRONG_KIND, "kind {}, expected {}".format(kind, expect.kind))
    epoch = 0
    if kind == container.KIND_IMAGE:
        _check_hardware(tlvs, expect)
        epoch = _check_epoch(tlvs, keyset, expect)
    if header.flags == container.FLAG_ROM_FIXED and header.load_addr != expect.slot_offset:
        raise VerifyError(WRONG_HW, "made for the slot at 0x{:x}".format(header.load_addr))
    _check_agent_version(tlvs, expect)
    return Verified(header, tlvs, kind, epoch)


def _claimed_kind(header: "Header", tlvs: "Tlvs") -> int:
    """The kind TLV, which must agree with the NON_BOOTABLE flag; 0 if there is none."""
    kind = tlvs.protected.get(container.TLV_KIND, b"\0")[0]
    bootable = header.flags != container.FLAG_NON_BOOTABLE
    return kind if bootable == (kind == container.KIND_IMAGE) else 0


def _check_hardware(tlvs: "Tlvs", expect: Expect) -> None:
    vid = tlvs.protected.get(container.TLV_VID)
    cid = tlvs.protected.get(container.TLV_CID)
    if vid is None or cid is None:
        raise VerifyError(WRONG_HW, "no vendor or class id")
    if expect.vid is not None and vid != expect.vid:
        raise VerifyError(WRONG_HW, "another vendor")
    if expect.cid is not None and cid != expect.cid:
        raise VerifyError(WRONG_HW, "another hardware class")
    revisions = tlvs.protected.get(container.TLV_REVISIONS)
    if revisions is None or expect.revision is None:
        return
    if expect.revision.encode() not in revisions.split(b","):
        raise VerifyError(WRONG_HW, "not for revision {}".format(expect.revision))


def _check_epoch(tlvs: "Tlvs", keyset: "Keyset", expect: Expect) -> int:
    raw = tlvs.protected.get(container.TLV_SEC_CNT)
    if raw is None:
        raise VerifyError(BAD_EPOCH, "no security counter")
    epoch = int(struct.unpack("<I", raw)[0])
    cid = tlvs.protected[container.TLV_CID].hex()
    least = max(expect.min_epoch, keyset.min_epoch.get(cid, 0))
    if epoch < least:
        raise VerifyError(ROLLBACK, "epoch {}, at least {}".format(epoch, least))
    if expect.max_epoch is not None and epoch > expect.max_epoch:
        raise VerifyError(EPOCH_JUMP, "epoch {}, at most {}".format(epoch, expect.max_epoch))
    return epoch


def _check_agent_version(tlvs: "Tlvs", expect: Expect) -> None:
    raw = tlvs.protected.get(container.TLV_LEAST_AGENT)
    if raw is None or expect.agent_version is None:
        return
    least = struct.unpack("<BBHI", raw)
    if (tuple(expect.agent_version) + _ANY_VERSION)[:4] < least:
        raise VerifyError(DEPENDENCY, "needs agent {}.{}.{}+{}".format(*least))


def _rung_9_erased(read: "Read", start: int, size: int, erased: int) -> None:
    """Nothing hides behind the container."""
    check_erased(read, start, size, erased)


def check_erased(read: "Read", start: int, size: int, erased: int) -> None:
    """VerifyError NOT_ERASED unless every byte of [start, size) has the erased value."""
    if not is_blank(read, start, size, erased):
        raise VerifyError(NOT_ERASED, "between {} and {}".format(start, size))


def _hash(hasher: "Any", read: "Read", start: int, end: int) -> "Generator[None, None, None]":
    """A yield behind every PIECE_BYTES."""
    buf = memoryview(bytearray(BUFFER_BYTES))
    pause = start + PIECE_BYTES
    while start < end:
        part = buf[: min(BUFFER_BYTES, end - start)]
        read(start, part)
        hasher.update(part)
        start += len(part)
        if start >= pause:
            pause = start + PIECE_BYTES
            yield


def short(key_id: bytes) -> str:
    """The first four bytes of a key id in hex: what logs and messages show of a key."""
    return key_id[:4].hex()
