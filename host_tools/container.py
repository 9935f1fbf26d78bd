"""Containers on the host: imgtool writes them, our own ladder has the last word.

`build` makes one without a signature, `add_signature` puts a (KEYHASH, signature) pair behind: as
often as there are signers, which imgtool cannot. Format: bootloader_verify/SPEC.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from imgtool.image import Image
from imgtool.version import SemiSemVersion

from bootloader_verify import container, keyset, ladder
from bootloader_verify.errors import VerifyError
from bootloader_verify.keyset import Key, Keyset
from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE, EXIT_VERIFICATION, ToolError
from host_tools.signer import PublicKey, Signer

IMAGE_HEADER_BYTES = 512
CONTAINER_BYTES_MAX = 64 * 1024 * 1024
KIND_NAMES = {
    container.KIND_IMAGE: "image",
    container.KIND_MANIFEST: "manifest",
    container.KIND_KEYSET: "keyset",
    container.KIND_TICKET: "ticket",
}
ROLE_OF_KIND = {
    container.KIND_IMAGE: keyset.RELEASE,
    container.KIND_MANIFEST: keyset.ROLLOUT,
    container.KIND_KEYSET: keyset.ROOT,
    container.KIND_TICKET: keyset.ROLLOUT,
}
_LIMITS = (0xFF, 0xFF, 0xFFFF, 0xFFFFFFFF)


def parse_version(text: str) -> tuple[int, int, int, int]:
    """(1, 2, 3, 4) of "1.2.3+4" or "1.2.3" (build 0); ToolError BAD_VERSION."""
    base, plus, build = text.partition("+")
    parts = [*base.split("."), build if plus else "0"]
    if len(parts) == 4 and all(part.isascii() and part.isdigit() for part in parts):
        numbers = tuple(int(part) for part in parts)
        if all(number <= most for number, most in zip(numbers, _LIMITS, strict=True)):
            return numbers[0], numbers[1], numbers[2], numbers[3]
    raise ToolError("BAD_VERSION", f"{text!r} is no version like 1.2.3 or 1.2.3+4", EXIT_USAGE)


def build(
    payload: bytes,
    kind: int,
    version: str,
    epoch: int | None = None,
    vid: bytes | None = None,
    cid: bytes | None = None,
    revisions: Sequence[str] = (),
    header_bytes: int = container.HEADER_BYTES,
) -> bytes:
    """An unsigned container. Images need epoch, vid and cid (16 bytes each)."""
    custom = {container.TLV_KIND: bytes([kind])}
    if revisions:
        custom[container.TLV_REVISIONS] = ",".join(revisions).encode()
    image = Image(
        version=SemiSemVersion(*parse_version(version)),
        header_size=header_bytes,
        security_counter=epoch,
        non_bootable=kind != container.KIND_IMAGE,
        vid=vid.hex() if vid else None,
        cid=cid.hex() if cid else None,
    )
    image.payload = bytearray(header_bytes) + payload
    image.image_size = len(payload)
    image.create(None, "hash", None, custom_tlvs=custom)
    return bytes(image.payload)


def add_signature(unsigned: bytes, signer: Signer) -> bytes:
    """The container with one more pair behind; checked by the ladder before it is returned.

    ToolError: SIGNED_ALREADY, TOO_MANY_SIGNATURES, or the ladder's code.
    """
    header, tlvs = parse(unsigned)
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
    """Rungs 1 to 4 over a file's bytes; nothing may stand behind the container."""
    try:
        if len(data) < container.HEADER_BYTES:
            raise VerifyError("BAD_SIZE", f"{len(data)} bytes")
        header = container.parse_header(data)
        container.check_bounds(header, len(data))
        tlvs = container.walk(reader(data), header, len(data))
    except VerifyError as error:
        raise refused(error) from error
    return header, tlvs


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
    return ROLE_OF_KIND[kind_of(data)]


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


def read_file(path: Path) -> bytes:
    """A container file; ToolError NOT_FOUND, UNREADABLE or TOO_LARGE."""
    try:
        if path.stat().st_size > CONTAINER_BYTES_MAX:
            raise ToolError("TOO_LARGE", f"{path} is too long for a container", EXIT_USAGE)
        return path.read_bytes()
    except FileNotFoundError:
        raise ToolError("NOT_FOUND", f"there is no file {path}", EXIT_NOT_FOUND) from None
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}"
        raise ToolError("UNREADABLE", text, EXIT_USAGE) from error
