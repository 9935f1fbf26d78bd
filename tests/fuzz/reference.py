"""A second reading of SPEC.md, with OpenSSL for the signatures: may this container be accepted?

It shares with the verifier the numbers of the format and the keyset object, and no code.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from bootloader_verify.keyset import Key
from tests.fuzz.originals import Device

PROTECTED = {
    0x40: range(12, 13),
    0x50: range(4, 5),
    0x74: range(16, 17),
    0x75: range(16, 17),
    0xA0: range(1, 2),
    0xA1: range(1, 65),
    0xA2: range(8, 9),
    0xA3: range(32, 33),
}
SIGNATURES = {0x22: range(8, 73), 0x23: range(384, 385)}
SIGNED_BY = {1: "release", 2: "rollout", 3: "root", 4: "rollout"}
PREHASHED = utils.Prehashed(hashes.SHA256())
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


class RefusedError(Exception):
    """It may not be accepted; the text says by which rule."""


@dataclass
class Reading:
    """A container taken apart. `signed`: the bytes under the digest."""

    header: tuple[int, ...]
    gap: bytes
    payload: bytes
    protected: list[tuple[int, bytes]]
    unprotected: list[tuple[int, bytes]]
    signed: bytes
    end: int
    claims: dict[int, bytes] = field(default_factory=dict)


def need(true: bool, rule: str) -> None:
    if not true:
        raise RefusedError(rule)


def read(data: bytes) -> Reading:
    """Rungs 1 to 4, or RefusedError."""
    need(len(data) >= 32, "a header")
    h = struct.unpack("<IIHHIIBBHII", data[:32])
    need(h[0] == 0x96F3B83D and h[5] in (0, 0x10, 0x100) and h[10] == 0, "magic, flags, pad")
    need(h[1] == 0 or h[5] == 0x100, "load_addr")
    need(32 <= h[2] <= 4096 and h[4] > 0, "sizes")
    middle = h[2] + h[4]
    at = middle
    protected: list[tuple[int, bytes]] = []
    if h[3]:
        protected, at = area(data, middle, 0x6908)
    need(at - middle == h[3], "protect_tlv_size")
    unprotected, end = area(data, at, 0x6907)
    need(end - middle <= 2048, "2 KiB of TLVs")
    found = Reading(h, data[32 : h[2]], data[h[2] : middle], protected, unprotected, data[:at], end)
    _check_entries(found)
    return found


def area(data: bytes, at: int, magic: int) -> tuple[list[tuple[int, bytes]], int]:
    need(at + 4 <= len(data), "area inside")
    found, total = struct.unpack_from("<HH", data, at)
    end = at + total
    need(found == magic and total >= 4 and end <= len(data), "area")
    entries = []
    at += 4
    while at != end:
        need(at + 4 <= end, "entry inside")
        kind, size = struct.unpack_from("<HH", data, at)
        need(at + 4 + size <= end, "entry inside")
        entries.append((kind, data[at + 4 : at + 4 + size]))
        at += 4 + size
    return entries, end


def _check_entries(found: Reading) -> None:
    found.claims = dict(found.protected)
    need(len(found.claims) == len(found.protected), "each type once")
    need(all(len(v) in PROTECTED.get(k, ()) for k, v in found.protected), "protected types")
    entries = found.unprotected
    need(len(entries) % 2 == 1 and len(entries) <= 9, "up to four pairs")
    need(entries[0][0] == 0x10 and len(entries[0][1]) == 32, "SHA256 first")
    for i in range(1, len(entries), 2):
        need(entries[i][0] == 0x01 and len(entries[i][1]) == 32, "KEYHASH")
        need(len(entries[i + 1][1]) in SIGNATURES.get(entries[i + 1][0], ()), "signature")


def accept(data: bytes, device: Device) -> Reading:
    """All of rungs 1 to 9, or RefusedError."""
    found = read(data)
    digest = hashlib.sha256(found.signed).digest()
    need(digest == found.unprotected[0][1], "digest")
    _check_signers(found, digest, device)
    _check_claims(found, device)
    need(data[found.end :].strip(bytes([device.asked.erased])) == b"", "erased behind")
    return found


def _check_signers(found: Reading, digest: bytes, device: Device) -> None:
    role, signers = SIGNED_BY[device.asked.kind], set()
    for i in range(1, len(found.unprotected), 2):
        key_id, (kind, signature) = found.unprotected[i][1], found.unprotected[i + 1]
        need(key_id not in device.keys.revoked, "revoked")
        key = device.keys.keys.get(key_id)
        if key is None:
            continue
        need(kind == {64: 0x22, 384: 0x23}[len(key.raw)], "the key's algorithm")
        need(key.role == role, "role")
        need(key.device_class in ("all", found.claims.get(0x75, b"").hex()), "class")
        need(openssl(key, digest, signature), "signature")
        signers.add(key_id)
    need(len(signers) >= max(1, device.keys.thresholds[role]), "threshold")


def _check_claims(found: Reading, device: Device) -> None:
    asked, claims, header = device.asked, found.claims, found.header
    kind = claims.get(0xA0, b"\0")[0]
    need(kind == asked.kind and (kind == 1) == (header[5] != 0x10), "kind")
    if kind == 1:
        need({0x50, 0x74, 0x75} <= set(claims), "claims of an image")
        need(asked.vid in (None, claims[0x74]) and asked.cid in (None, claims[0x75]), "hardware")
        boards = claims.get(0xA1, (asked.revision or "").encode()).split(b",")
        need(asked.revision is None or asked.revision.encode() in boards, "revision")
        epoch = int.from_bytes(claims[0x50], "little")
        need(epoch >= device.keys.min_epoch.get(claims[0x75].hex(), 0), "epoch of the class")
        need(asked.min_epoch <= epoch, "rollback")
        need(asked.max_epoch is None or epoch <= asked.max_epoch, "jump")
    need(header[5] != 0x100 or header[1] == asked.slot_offset, "slot")
    if 0xA2 in claims and asked.agent_version is not None:
        least = struct.unpack("<BBHI", claims[0xA2])
        running = (*asked.agent_version, 0, 0, 0, 0)[:4]
        need(running >= least, "agent")


@functools.lru_cache(maxsize=200_000)
def openssl(key: Key, digest: bytes, signature: bytes) -> bool:
    try:
        if len(key.raw) == 64:
            _ec_key(key.raw).verify(signature, digest, ec.ECDSA(PREHASHED))
        else:
            _rsa_key(key.raw).verify(signature, digest, PSS, PREHASHED)
    except InvalidSignature:
        return False
    return True


@functools.cache
def _ec_key(raw: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + raw)


@functools.cache
def _rsa_key(raw: bytes) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(65537, int.from_bytes(raw, "big")).public_key()
