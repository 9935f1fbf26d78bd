"""Containers on the host: imgtool writes them, our own ladder has the last word.

`build` makes one without a signature, `add_signature` puts a (KEYHASH, signature) pair behind: as
often as there are signers, which imgtool cannot. Format: bootloader_verify/SPEC.md.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from imgtool.image import Image
from imgtool.version import SemiSemVersion

from agent import protocol
from bootloader_verify import container, keyset, ladder
from bootloader_verify.errors import BAD_HASH, BAD_SIZE, NOT_ERASED, VerifyError
from bootloader_verify.keyset import Key, Keyset
from host_tools.errors import EXIT_USAGE, EXIT_VERIFICATION, ToolError
from host_tools.signer import PublicKey, Signer

IMAGE_HEADER_BYTES = 512
REVISIONS_BYTES_MAX = container.PROTECTED_LENGTHS[container.TLV_REVISIONS][1]
REVISIONS_MAX = 8  # a manifest takes no more
KIND_NAMES = {
    container.KIND_IMAGE: "image",
    container.KIND_MANIFEST: "manifest",
    container.KIND_KEYSET: "keyset",
    container.KIND_TICKET: "ticket",
}
_U32 = 0xFFFFFFFF
_DIGITS_MAX = 10
_LIMITS = (0xFF, 0xFF, 0xFFFF, _U32)


def parse_version(text: str) -> tuple[int, int, int, int]:
    """(1, 2, 3, 4) of "1.2.3+4" or "1.2.3" (build 0); ToolError BAD_VERSION."""
    base, plus, build = text.partition("+")
    parts = [*base.split("."), build if plus else "0"]
    if len(parts) == 4 and all(_is_number(part) for part in parts):
        numbers = tuple(int(part) for part in parts)
        if all(number <= most for number, most in zip(numbers, _LIMITS, strict=True)):
            return numbers[0], numbers[1], numbers[2], numbers[3]
    raise ToolError("BAD_VERSION", f"{text!r} is no version like 1.2.3 or 1.2.3+4", EXIT_USAGE)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def version_text(version: Sequence[int]) -> str:
    """(1, 2, 3, 4) -> "1.2.3+4"."""
    return "{}.{}.{}+{}".format(*version)


def build(
    payload: bytes,
    kind: int,
    version: str,
    epoch: int | None = None,
    vid: bytes | None = None,
    cid: bytes | None = None,
    revisions: Sequence[str] = (),
    header_bytes: int | None = None,
) -> bytes:
    """An unsigned container. Images need epoch, vid and cid (16 bytes each).

    `header_bytes` is 512 for images and 32 for the others unless it is given.
    ToolError BAD_CLAIM for what no container can say; BAD_VERSION.
    """
    bootable = kind == container.KIND_IMAGE
    if bootable and (epoch is None or vid is None or cid is None):
        raise ToolError("BAD_CLAIM", "an image needs an epoch, a vendor and a class", EXIT_USAGE)
    if epoch is not None and not 0 <= epoch <= _U32:
        raise ToolError("BAD_CLAIM", f"epoch {epoch} is not in 0..{_U32}", EXIT_USAGE)
    numbers = parse_version(version)
    custom = _custom(kind, revisions)
    image = Image(
        version=SemiSemVersion(*numbers),
        header_size=header_bytes or (IMAGE_HEADER_BYTES if bootable else container.HEADER_BYTES),
        pad_header=True,
        security_counter=epoch,
        non_bootable=not bootable,
        vid=vid.hex() if vid else None,
        cid=cid.hex() if cid else None,
    )
    image.load_compressed(payload, b"")  # "load from memory": puts the padded header in front
    image.create(None, "hash", None, custom_tlvs=custom)
    made = bytes(image.payload)
    claims = custom | _claims(epoch, vid, cid)
    _check_built(made, payload, numbers, claims)
    return made


def _custom(kind: int, revisions: Sequence[str]) -> dict[int, bytes]:
    custom = {container.TLV_KIND: bytes([kind])}
    if revisions:
        custom[container.TLV_REVISIONS] = _revisions(revisions)
    return custom


def _revisions(names: Sequence[str]) -> bytes:
    if not all(protocol.is_name(name) for name in names):
        raise ToolError("BAD_CLAIM", f"revisions {', '.join(names)}: no names", EXIT_USAGE)
    listed = ",".join(names).encode()
    if len(names) > REVISIONS_MAX or len(listed) > REVISIONS_BYTES_MAX:
        limits = f"an image takes up to {REVISIONS_MAX}, of {REVISIONS_BYTES_MAX} characters in all"
        text = f"{len(names)} revisions of {len(listed)} characters: {limits}"
        raise ToolError("BAD_CLAIM", text, EXIT_USAGE)
    return listed


def _claims(epoch: int | None, vid: bytes | None, cid: bytes | None) -> dict[int, bytes]:
    counter = None if epoch is None else struct.pack("<I", epoch)
    claims = {container.TLV_SEC_CNT: counter, container.TLV_VID: vid, container.TLV_CID: cid}
    return {tlv: value for tlv, value in claims.items() if value}


def _check_built(
    made: bytes, payload: bytes, version: tuple[int, ...], claims: dict[int, bytes]
) -> None:
    """What imgtool wrote is what was asked for, by our own reading of it."""
    header, tlvs = parse(made)
    check_digest(made, header, tlvs)
    found = (made[header.hdr_size : header.tlv_offset], header.version, tlvs.protected)
    if found != (payload, version, claims) or tlvs.pairs or tlvs.end != len(made):
        raise ToolError("BAD_CLAIM", "imgtool wrote another container than it was asked for")


def add_signature(unsigned: bytes, signer: Signer) -> bytes:
    """The container with one more pair behind; checked by the ladder before it is returned.

    ToolError: SIGNED_ALREADY, TOO_MANY_SIGNATURES, or the ladder's code. Nothing is signed whose
    digest is not that of its bytes, and no erased padding stays behind the container.
    """
    header, tlvs = parse(unsigned)
    check_digest(unsigned, header, tlvs)
    if signer.key_id in [pair[0] for pair in tlvs.pairs]:
        text = f"key {ladder.short(signer.key_id)} has signed this container already"
        raise ToolError("SIGNED_ALREADY", text)
    if len(tlvs.pairs) >= container.SIGNATURES_MAX:
        text = f"a container takes {container.SIGNATURES_MAX} signatures"
        raise ToolError("TOO_MANY_SIGNATURES", text)
    tlv = container.TLV_ECDSA if signer.alg == keyset.ECDSA_P256 else container.TLV_RSA3072_PSS
    signature = signer.sign_digest(tlvs.sha256)
    pair = b"".join(
        struct.pack(container.AREA, kind, len(value)) + value
        for kind, value in ((container.TLV_KEYHASH, signer.key_id), (tlv, signature))
    )
    start = header.tlv_offset + header.protect_tlv_size
    area = unsigned[start + container.AREA_BYTES : tlvs.end] + pair
    head = struct.pack(
        container.AREA, container.UNPROTECTED_MAGIC, container.AREA_BYTES + len(area)
    )
    signed = unsigned[:start] + head + area
    verify(signed, keyset_of([signer], role_of(signed)), ladder.Expect(kind_of(signed)))
    return signed


def parse(data: bytes) -> tuple[container.Header, container.Tlvs]:
    """Rungs 1 to 4 over a file's bytes; behind the container only 0xFF, as imgtool pads."""
    try:
        header, tlvs = rungs_1_to_4(data)
        if data[tlvs.end :].strip(b"\xff"):
            raise VerifyError(NOT_ERASED, f"bytes behind {tlvs.end}")
    except VerifyError as error:
        raise refused(error) from error
    return header, tlvs


def rungs_1_to_4(data: bytes) -> tuple[container.Header, container.Tlvs]:
    """Header and TLVs of the container at the beginning of `data`; VerifyError.

    What stands behind it (`tlvs.end`) is not looked at, nor is the digest.
    """
    if len(data) < container.HEADER_BYTES:
        raise VerifyError(BAD_SIZE, f"{len(data)} bytes")
    header = container.parse_header(data)
    container.check_bounds(header, len(data))
    return header, container.walk(reader(data), header, len(data))


def check_digest(data: bytes, header: container.Header, tlvs: container.Tlvs) -> None:
    """Rung 5; ToolError BAD_HASH."""
    if digest_of(data, header) != tlvs.sha256:
        raise refused(VerifyError(BAD_HASH, "the bytes are not those that were signed"))


def digest_of(data: bytes, header: container.Header) -> bytes:
    """SHA-256 over everything that a signature covers."""
    return hashlib.sha256(data[: header.tlv_offset + header.protect_tlv_size]).digest()


def verify(data: bytes, keys: Keyset, expect: ladder.Expect) -> ladder.Verified:
    """Climb the ladder over a file's bytes, or ToolError with the ladder's code (exit code 4)."""
    try:
        return ladder.check(reader(data), len(data), keys, expect)
    except VerifyError as error:
        raise refused(error) from error


def refused(error: VerifyError) -> ToolError:
    """The ladder's refusal as an error of the tools."""
    return ToolError(error.code, f"refused: {error.detail or error.code}", EXIT_VERIFICATION)


def kind_of(data: bytes) -> int:
    """The kind that a container claims; an image if it claims none. Not authenticated."""
    _, tlvs = parse(data)
    kind = tlvs.protected.get(container.TLV_KIND, bytes([container.KIND_IMAGE]))[0]
    return kind if kind in container.KINDS else container.KIND_IMAGE


def role_of(data: bytes) -> str:
    """Who has to sign a container of this kind."""
    return ladder.ROLE_OF_KIND[kind_of(data)]


def keyset_of(keys: Sequence[PublicKey | Signer], role: str) -> Keyset:
    """A keyset in which these keys have that role; one signature is enough."""
    trusted = {
        key.key_id: Key(key.key_id, key.alg, role, keyset.ALL_CLASSES, key.public_raw)
        for key in keys
    }
    return Keyset(1, trusted, {role: 1})


def reader(data: bytes) -> container.Read:
    """The ladder's `read` over bytes."""

    def read(offset: int, buf: bytearray | memoryview) -> None:
        buf[:] = data[offset : offset + len(buf)]

    return read
