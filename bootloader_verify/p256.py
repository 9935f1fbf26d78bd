"""ECDSA verification over P-256 in plain Python, for MicroPython without a C module. FIPS 186-5.

Two ways to u1·G + u2·Q: by the tables of both points (p256_comb.py), for keys whose table is frozen
beside them, and for any other key by a width-4 NAF of u2 with G's table. A table only makes a "yes"
faster: whatever it does not accept is judged without it, so a damaged table costs time and nothing
else. The times of what was tried are in SPEC.md.
"""

from bootloader_verify import p256_comb
from bootloader_verify.p256_base import TABLE as BASE_TABLE
from bootloader_verify.p256_curve import INFINITY, N, P, add, affine, double, inverse, is_on_curve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from bootloader_verify.p256_curve import Affine, Jacobian

_DIGITS = 257  # one more than the bits of N: a NAF can carry

KEY_BYTES = 64
DIGEST_BYTES = 32
TABLE_BYTES = p256_comb.TABLE_BYTES
_INTEGER_BYTES_MAX = 33  # a leading zero and 32 bytes


def verify(
    public_key_xy: bytes, digest: bytes, der_signature: bytes, table: "Optional[bytes]" = None
) -> bool:
    """True only if `der_signature` (strict DER) is a signature of `digest` by that key.

    `public_key_xy`: 64 bytes x‖y; a point that is not on the curve gives False. `digest`: 32 bytes,
    not hashed again. `table`: the key's TABLE_BYTES (p256_comb.py), as trusted as the key itself.
    The high-S twin of a signature is a signature too (THREATS 18).
    """
    if len(public_key_xy) != KEY_BYTES or len(digest) != DIGEST_BYTES:
        return False
    rs = decode_signature(der_signature)
    q = _point(public_key_xy)
    if rs is None or q is None:
        return False
    r, s = rs
    w = inverse(s, N)
    u1 = int.from_bytes(digest, "big") * w % N
    u2 = r * w % N
    if table is not None and _x_is(p256_comb.sum_of_products(u1, u2, table), r):
        return True
    return _x_is(_sum_of_products(u1, u2, q), r)


def decode_signature(der: bytes) -> "tuple[int, int] | None":
    """(r, s) of a strict DER SEQUENCE of two INTEGERs in 1..N-1, else None.

    Short lengths only, minimal integers, no byte left over.
    """
    if len(der) < 8 or der[0] != 0x30 or der[1] >= 0x80 or der[1] != len(der) - 2:
        return None
    r, at = _integer(der, 2)
    if r is None:
        return None
    s, at = _integer(der, at)
    if s is None or at != len(der):
        return None
    return r, s


def _integer(der: bytes, at: int) -> "tuple[int | None, int]":
    """The INTEGER at `at`, in 1..N-1, and where it ends; (None, 0) if it is anything else."""
    if at + 3 > len(der) or der[at] != 0x02:
        return None, 0
    size = der[at + 1]
    at += 2
    if not 1 <= size <= _INTEGER_BYTES_MAX or at + size > len(der):
        return None, 0
    if der[at] & 0x80 or (size > 1 and der[at] == 0 and not der[at + 1] & 0x80):
        return None, 0  # negative, or a zero that is not needed
    value = int.from_bytes(der[at : at + size], "big")
    return (value, at + size) if 0 < value < N else (None, 0)


def _point(xy: bytes) -> "Affine | None":
    x = int.from_bytes(xy[:32], "big")
    y = int.from_bytes(xy[32:], "big")
    return (x, y) if is_on_curve(x, y) else None


def _x_is(point: "Jacobian", r: int) -> bool:
    """Is the affine x-coordinate, taken mod N, equal to r? Without an inversion: x == r·z²."""
    x, _, z = point
    zz = z * z % P
    if zz == 0:
        return False  # infinity
    if x == r * zz % P:
        return True
    return r + N < P and x == (r + N) * zz % P


def _sum_of_products(u1: int, u2: int, q: "Affine") -> "Jacobian":
    """u1·G + u2·q: 256 doublings for q's digits, the last 43 of which serve G's columns too."""
    multiples = _odd_multiples(q)
    digits = _naf(u2)
    columns = p256_comb.columns(u1)
    point = INFINITY
    for i in range(_DIGITS - 1, -1, -1):
        if point[2]:
            point = double(point)
        if digits[i]:
            point = _add_digit(point, multiples, digits[i])
        if i < p256_comb.COLUMNS:
            point = add(point, p256_comb.entry(BASE_TABLE, columns[i]))
    return point


def _naf(k: int) -> bytearray:
    """Width-4 NAF of k, least digit first: 0 or odd -7..7, negative ones stored as 256 + digit."""
    digits = bytearray(_DIGITS)
    i = 0
    while k:
        if k & 1:
            digit = k & 15
            if digit > 8:
                digit -= 16
            digits[i] = digit & 0xFF
            k -= digit
        k >>= 1
        i += 1
    return digits


def _add_digit(point: "Jacobian", multiples: "tuple[Affine, ...]", digit: int) -> "Jacobian":
    if digit < 128:
        return add(point, multiples[digit >> 1])
    x, y = multiples[(256 - digit) >> 1]
    return add(point, (x, P - y))


def _odd_multiples(q: "Affine") -> "tuple[Affine, ...]":
    """(q, 3q, 5q, 7q)."""
    two = double((q[0], q[1], 1))
    step = affine(two, inverse(two[2], P))
    found = [q]
    point = (q[0], q[1], 1)
    for _ in range(3):
        point = add(point, step)
        found.append(affine(point, inverse(point[2], P)))
    return tuple(found)
