# ruff: noqa: N999
"""The private halves of the test keys, in the open. CPython only.

P-256 keys come from a hash of their names, signatures are those of RFC 6979, the salt of PSS is a
hash: the same bytes come out on every run.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from bootloader_verify import p256_curve

RSA_PEM = Path(__file__).parent / "release_rsa-DO_NOT_USE.pem"
RSA_BYTES = 384
_PREHASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)


@cache
def private_key(name: str) -> ec.EllipticCurvePrivateKey:
    seed = hashlib.sha256(b"chargeflash DO_NOT_USE " + name.encode()).digest()
    return ec.derive_private_key(
        int.from_bytes(seed, "big") % (p256_curve.N - 1) + 1, ec.SECP256R1()
    )


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(RSA_PEM.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def public_raw(name: str) -> bytes:
    """x‖y, or the modulus."""
    if name.endswith("_rsa"):
        return rsa_key().public_key().public_numbers().n.to_bytes(RSA_BYTES, "big")
    numbers = private_key(name).public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def sign(name: str, digest: bytes) -> bytes:
    if name.endswith("_rsa"):
        return pss(digest)
    return private_key(name).sign(digest, _PREHASHED)


def pss(digest: bytes, salt_bytes: int = 32) -> bytes:
    """RFC 8017, 9.1.1 with a fixed salt, so that the vectors can be made again."""
    salt = hashlib.sha256(b"salt" + digest).digest()[:salt_bytes]
    h = hashlib.sha256(bytes(8) + digest + salt).digest()
    size = RSA_BYTES - 33
    db = bytes(size - salt_bytes - 1) + b"\x01" + salt
    blocks = range((size + 31) // 32)
    mask = b"".join(hashlib.sha256(h + i.to_bytes(4, "big")).digest() for i in blocks)
    masked = bytearray(a ^ b for a, b in zip(db, mask, strict=False))
    masked[0] &= 0x7F
    encoded = int.from_bytes(bytes(masked) + h + b"\xbc", "big")
    return rsa_raw(encoded)


def rsa_raw(value: int) -> bytes:
    """value ** d mod n, by the Chinese remainders."""
    k = rsa_key().private_numbers()
    at_p, at_q = pow(value, k.dmp1, k.p), pow(value, k.dmq1, k.q)
    return (at_q + (at_p - at_q) * k.iqmp % k.p * k.q).to_bytes(RSA_BYTES, "big")
