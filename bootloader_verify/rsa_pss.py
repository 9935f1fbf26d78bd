"""RSASSA-PSS verification with SHA-256, MGF1-SHA256 and a salt of 32 bytes. RFC 8017, 8.1.2 and 9.1.2.

Made for RSA-3072 (what ESP32 secure boot v2 and OCPP use); works for any modulus whose top bit is set.
"""

import hashlib

_HASH_BYTES = 32
_SALT_BYTES = 32
_TRAILER = 0xBC
_LEAST_BYTES = 1 + _SALT_BYTES + _HASH_BYTES + 1  # 0x01, salt, H, trailer


def verify(modulus: bytes, exponent: int, digest: bytes, signature: bytes) -> bool:
    """True only if `signature` (as long as `modulus`, big-endian) is a PSS signature of `digest`."""
    size = len(modulus)
    if size < _LEAST_BYTES or len(digest) != _HASH_BYTES or len(signature) != size:
        return False
    n = int.from_bytes(modulus, "big")
    s = int.from_bytes(signature, "big")
    if not modulus[0] & 0x80 or s >= n:
        return False
    encoded = pow(s, exponent, n).to_bytes(size, "big")
    return _consistent(encoded, digest)


def _consistent(encoded: bytes, digest: bytes) -> bool:
    """EMSA-PSS-VERIFY: masked DB ‖ H ‖ 0xBC, DB = zeros ‖ 0x01 ‖ salt."""
    split = len(encoded) - _HASH_BYTES - 1
    if encoded[-1] != _TRAILER or encoded[0] & 0x80:
        return False
    h = encoded[split:-1]
    db = _unmask(encoded[:split], h)
    zeros = split - _SALT_BYTES - 1
    if db[zeros] != 1:
        return False
    for i in range(zeros):
        if db[i]:
            return False
    return hashlib.sha256(bytes(8) + digest + bytes(db[zeros + 1 :])).digest() == h


def _unmask(masked: bytes, seed: bytes) -> bytearray:
    """DB = masked DB xor MGF1(seed); the one bit above the modulus is cleared."""
    db = bytearray(masked)
    for i in range((len(db) + _HASH_BYTES - 1) // _HASH_BYTES):
        mask = hashlib.sha256(seed + i.to_bytes(4, "big")).digest()
        for j in range(i * _HASH_BYTES, min(len(db), (i + 1) * _HASH_BYTES)):
            db[j] ^= mask[j - i * _HASH_BYTES]
    db[0] &= 0x7F
    return db
