"""ECDSA verification over P-256 in plain Python, for MicroPython without a C module. FIPS 186-5.

u1·G + u2·Q by interleaved width-4 NAF: both scalars share 256 doublings and need about 51 additions
each. Points of the running sum are Jacobian (X, Y, Z), table points affine (x, y); the curve has
a = -3. Only public values are handled, so nothing here has to run in constant time.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Affine = tuple[int, int]
    Jacobian = tuple[int, int, int]

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
# G, 3G, 5G, 7G
_G_TABLE = (
    (
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    ),
    (
        0x5ECBE4D1A6330A44C8F7EF951D4BF165E6C6B721EFADA985FB41661BC6E7FD6C,
        0x8734640C4998FF7E374B06CE1A64A2ECD82AB036384FB83D9A79B127A27D5032,
    ),
    (
        0x51590B7A515140D2D784C85608668FDFEF8C82FD1F5BE52421554A0DC3D033ED,
        0xE0C17DA8904A727D8AE1BF36BF8A79260D012F00D4D80888D1D0BB44FDA16DA4,
    ),
    (
        0x8E533B6FA0BF7B4625BB30667C01FB607EF9F8B8A80FEF5B300628703187B2A3,
        0x73EB1DBDE03318366D069F83A6F5900053C73633CB041B21C55E1A86C1F400B4,
    ),
)
_DIGITS = 257  # one more than the bits of N: a NAF can carry
_INFINITY = (1, 1, 0)

KEY_BYTES = 64
DIGEST_BYTES = 32
_INTEGER_BYTES_MAX = 33  # a leading zero and 32 bytes


def verify(public_key_xy: bytes, digest: bytes, der_signature: bytes) -> bool:
    """True only if `der_signature` (strict DER) is a signature of `digest` by that key.

    `public_key_xy`: 64 bytes x‖y; a point that is not on the curve gives False. `digest`: 32 bytes,
    not hashed again. The high-S twin of a signature is a signature too (THREATS 18).
    """
    if len(public_key_xy) != KEY_BYTES or len(digest) != DIGEST_BYTES:
        return False
    rs = decode_signature(der_signature)
    q = _point(public_key_xy)
    if rs is None or q is None:
        return False
    r, s = rs
    w = _inverse(s, N)
    u1 = int.from_bytes(digest, "big") * w % N
    u2 = r * w % N
    x, _, z = _sum_of_products(u1, u2, q)
    return z != 0 and _x_is(x, z, r)


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
    if x >= P or y >= P or (y * y - x * (x * x - 3) - B) % P:
        return None
    return x, y


def _inverse(a: int, modulus: int) -> int:
    """By Fermat. (MicroPython's pow(a, -1, m) answers 0 without a word.)"""
    return pow(a, modulus - 2, modulus)


def _x_is(x: int, z: int, r: int) -> bool:
    """Is the affine x-coordinate, taken mod N, equal to r? Without an inversion: x == r·z²."""
    zz = z * z % P
    if x == r * zz % P:
        return True
    return r + N < P and x == (r + N) * zz % P


def _sum_of_products(u1: int, u2: int, q: "Affine") -> "Jacobian":
    """u1·G + u2·q."""
    q_table = _odd_multiples(q)
    d1 = _naf(u1)
    d2 = _naf(u2)
    point = _INFINITY
    for i in range(_DIGITS - 1, -1, -1):
        if point[2]:
            point = _double(point)
        if d1[i]:
            point = _add_digit(point, _G_TABLE, d1[i])
        if d2[i]:
            point = _add_digit(point, q_table, d2[i])
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


def _add_digit(point: "Jacobian", table: "tuple[Affine, ...]", digit: int) -> "Jacobian":
    if digit < 128:
        return _add(point, table[digit >> 1])
    x, y = table[(256 - digit) >> 1]
    return _add(point, (x, P - y))


def _odd_multiples(q: "Affine") -> "tuple[Affine, ...]":
    """(q, 3q, 5q, 7q), with one inversion for 2q and one for the three others."""
    x, y, z = _double((q[0], q[1], 1))
    two = _affine(x, y, _inverse(z, P))
    p3 = _add((q[0], q[1], 1), two)
    p5 = _add(p3, two)
    p7 = _add(p5, two)
    z35 = p3[2] * p5[2] % P
    inverse = _inverse(z35 * p7[2], P)  # of all three; peel them off one by one
    z7i = inverse * z35 % P
    inverse = inverse * p7[2] % P
    z5i = inverse * p3[2] % P
    z3i = inverse * p5[2] % P
    a3 = _affine(p3[0], p3[1], z3i)
    a5 = _affine(p5[0], p5[1], z5i)
    return q, a3, a5, _affine(p7[0], p7[1], z7i)


def _affine(x: int, y: int, z_inverse: int) -> "Affine":
    zz = z_inverse * z_inverse % P
    return x * zz % P, y * zz * z_inverse % P


def _double(point: "Jacobian") -> "Jacobian":
    """dbl-2001-b: 3 multiplications, 5 squarings, for a = -3."""
    x, y, z = point
    delta = z * z % P
    gamma = y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    x3 = (alpha * alpha - 8 * beta) % P
    z3 = 2 * y * z % P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % P, z3


def _add(point: "Jacobian", q: "Affine") -> "Jacobian":
    """Mixed addition, with the cases that the formula does not cover."""
    x1, y1, z1 = point
    if z1 == 0:
        return q[0], q[1], 1
    zz = z1 * z1 % P
    h = (q[0] * zz - x1) % P
    r = (q[1] * zz * z1 - y1) % P
    if h == 0:
        return _INFINITY if r else _double(point)
    hh = h * h % P
    hhh = h * hh % P
    v = x1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - y1 * hhh) % P, z1 * h % P
