"""ECDSA over P-256: known answers, edge values, DER, points. More in tests/properties/test_p256.py."""

import hashlib

from bootloader_verify import p256, p256_comb, p256_curve
from bootloader_verify.p256_base import TABLE as G_TABLE
from bootloader_verify.p256_curve import N, P

# RFC 6979, A.2.5
KEY = bytes.fromhex(
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
)
SAMPLE = (
    0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
    0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
)
TEST = (
    0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
    0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
)
# NIST CAVS 11.2 SigVer, P-256 with SHA-256
NIST_KEY = bytes.fromhex(
    "e424dc61d4bb3cb7ef4344a7f8957a0c5134e16f7a67c074f82e6e12f49abf3c"
    "970eed7aa2bc48651545949de1dddaf0127e5965ac85d1243d6f60e7dfaee927"
)
NIST_MESSAGE = bytes.fromhex(
    "e1130af6a38ccb412a9c8d13e15dbfc9e69a16385af3c3f1e5da954fd5e7c45fd75e2b8c36699228e92840c0562fbf37"
    "72f07e17f1add56588dd45f7450e1217ad239922dd9c32695dc71ff2424ca0dec1321aa47064a044b7fe3c2b97d03ce4"
    "70a592304c5ef21eed9f93da56bb232d1eeb0035f9bf0dfafdcc4606272b20a3"
)
NIST = (
    0xBF96B99AA49C705C910BE33142017C642FF540C76349B9DAB72F981FD9347F4F,
    0x17C55095819089C2E03B9CD415ABDF12444E323075D98F31920B9E0F57EC871C,
)
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
D = hashlib.sha256(b"sample").digest()


def integer(value):
    raw = value.to_bytes(34, "big")
    while len(raw) > 1 and raw[0] == 0 and not raw[1] & 0x80:
        raw = raw[1:]
    return b"\x02" + bytes([len(raw)]) + raw


def sequence(content):
    return b"\x30" + bytes([len(content)]) + content


def der(r, s):
    return sequence(integer(r) + integer(s))


def raw_point(x, y):
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


def affine(point):
    """(x, y) of a Jacobian point, None for infinity."""
    return p256_curve.affine(point, p256_curve.inverse(point[2], P)) if point[2] else None


def times(k, q=G):
    return affine(p256._sum_of_products(0, k % N, q))


def table_of(q):
    """The table of q, entry by entry: 2^215·q and every choice of signs below it."""
    made = b""
    for i in range(32):
        k = 1 << 215
        for row in range(5):
            k += (1 if i >> row & 1 else -1) << 43 * row
        made += raw_point(*times(k, q))
    return made


def signed(d, k, digest):
    """Textbook ECDSA: a key and a signature made with private scalar d and nonce k."""
    r = times(k)[0] % N
    s = (int.from_bytes(digest, "big") + r * d) * p256_curve.inverse(k, N) % N
    return raw_point(*times(d)), r, s


# --- known answers ----------------------------------------------------------------------------------
def test_known_answers():
    assert p256.verify(KEY, D, der(*SAMPLE)) is True
    assert p256.verify(KEY, hashlib.sha256(b"test").digest(), der(*TEST)) is True
    assert p256.verify(NIST_KEY, hashlib.sha256(NIST_MESSAGE).digest(), der(*NIST)) is True


def test_other_digest_other_key_swapped_values():
    assert p256.verify(KEY, hashlib.sha256(b"test").digest(), der(*SAMPLE)) is False
    assert p256.verify(NIST_KEY, D, der(*SAMPLE)) is False
    assert p256.verify(KEY, D, der(SAMPLE[1], SAMPLE[0])) is False


def test_t18_both_twins_verify():
    assert p256.verify(KEY, D, der(SAMPLE[0], N - SAMPLE[1])) is True


def test_table_of_the_generator():
    assert table_of(G) == G_TABLE
    assert p256._point(raw_point(*G)) == G
    assert affine(p256._sum_of_products(N - 1, 0, G)) == (G[0], P - G[1])


# --- the key's table --------------------------------------------------------------------------------
def test_the_same_answers_with_the_keys_table():
    table = table_of(p256._point(KEY))
    good = der(*SAMPLE)
    assert p256.verify(KEY, D, good, table) is True
    assert p256.verify(KEY, D, der(SAMPLE[0], N - SAMPLE[1]), table) is True
    assert p256.verify(KEY, hashlib.sha256(b"test").digest(), good, table) is False
    assert p256.verify(NIST_KEY, D, good) is False
    q = p256._point(KEY)
    for u1, u2 in ((0, 1), (1, 0), (1, 1), (2, 3), (N - 1, N - 1), (N // 3, N // 5)):
        want = affine(p256._sum_of_products(u1, u2, q))
        assert affine(p256_comb.sum_of_products(u1, u2, table)) == want


def test_a_damaged_table_costs_time_and_nothing_else():
    table = table_of(p256._point(KEY))
    good, other = der(*SAMPLE), der(SAMPLE[0], SAMPLE[1] - 1)
    for broken in (bytes(2048), b"\xff" * 2048, G_TABLE, table[64:] + table[:64]):
        assert p256.verify(KEY, D, good, broken) is True
        assert p256.verify(KEY, D, other, broken) is False


def test_columns_in_which_both_points_are_the_same_or_opposite():
    """With G's own table, and with that of -G, the sum of a column may be a doubling or infinity."""
    minus = b""
    for i in range(0, 2048, 64):
        x, y = p256_comb.entry(G_TABLE[i : i + 64], 0)
        minus += raw_point(x, P - y)
    for k in (1, 2, 7, 12345, N - 1, N // 2):
        assert affine(p256_comb.sum_of_products(k, k, G_TABLE)) == times(2 * k)
        assert affine(p256_comb.sum_of_products(k, k, minus)) is None
        assert affine(p256_comb.sum_of_products(k, N - k, G_TABLE)) is None
        assert affine(p256_comb.sum_of_products(k, k + 1, minus)) == (G[0], P - G[1])


def test_columns_are_the_number():
    for k in (0, 1, 2, 3, N - 1, N - 2, N // 2, 2**255, 0x123456789ABCDEF << 180):
        total = 0
        found = p256_comb.columns(k)
        for j in range(43):
            sign = -1 if found[j] & 0x80 else 1
            value = 1 << 215
            for row in range(5):
                value += (1 if found[j] >> row & 1 else -1) << 43 * row
            total += sign * value << j
        assert total % N == k


# --- edges of the arithmetic ------------------------------------------------------------------------
def test_sums_that_meet_in_the_same_point_or_in_infinity():
    minus = (G[0], P - G[1])
    for a, b in ((1, 1), (3, 3), (7, 7), (2, 2), (1, 3), (8, 9), (N - 1, 2)):
        assert affine(p256._sum_of_products(a, b, G)) == times((a + b) % N)
    for k in (1, 2, 3, 7, 8, 15, 16, N - 1):
        assert affine(p256._sum_of_products(k, k, minus)) is None
        assert affine(p256._sum_of_products(k, N - k, G)) is None


def test_a_sum_that_is_infinity_is_no_signature():
    """digest = -r·d makes u1·G + u2·Q infinity."""
    d, r = 7, times(12345)[0] % N
    digest = ((-r * d) % N).to_bytes(32, "big")
    for s in (1, 2, r, N - 1):
        assert p256.verify(raw_point(*times(d)), digest, der(r, s)) is False


def test_digest_zero_n_and_beyond():
    for value in (0, 1, N - 1, N, N + 1, 2**256 - 1):
        digest = value.to_bytes(32, "big")
        key, r, s = signed(0xABCDEF, 0x123457, digest)
        assert p256.verify(key, digest, der(r, s)) is True
        assert p256.verify(key, digest, der(r, (s + 1) % N)) is False


def test_keys_with_tiny_scalars():
    for d in (1, 2, 3, 5, 7, 8, N - 1, N - 2):
        key, r, s = signed(d, 99, D)
        assert p256.verify(key, D, der(r, s)) is True


def test_x_of_the_sum_may_lie_above_n():
    """R.x >= N: r is R.x - N. The key is worked out backwards from such an R."""
    x, y = _point_with_x_from(N)
    r, s, e = x - N, 5, int.from_bytes(D, "big")
    q = _key_for(x, y, r, s, e)
    assert p256.verify(raw_point(*q), D, der(r, s)) is True
    assert p256.verify(raw_point(*q), D, der(r + 1, s)) is False


def test_x_of_the_sum_is_not_reduced_by_p():
    """R.x = r + N - P is R's x mod P, and not mod N: no signature."""
    x, y = _point_with_x_from(0)
    r, s, e = x + P - N, 5, int.from_bytes(D, "big")
    assert r < N
    assert p256.verify(raw_point(*_key_for(x, y, r, s, e)), D, der(r, s)) is False


def _point_with_x_from(x):
    while True:
        y2 = (x * (x * x - 3) + p256_curve.B) % P
        y = pow(y2, (P + 1) // 4, P)
        if y * y % P == y2:
            return x, y
        x += 1


def _key_for(x, y, r, s, e):
    """The key by which (r, s) leads to the point (x, y)."""
    inverse = p256_curve.inverse(r, N)
    return affine(p256._sum_of_products((-e * inverse) % N, s * inverse % N, (x, y)))


# --- refused ----------------------------------------------------------------------------------------
def test_points_that_are_not_on_the_curve():
    x, y = KEY[:32], KEY[32:]
    for key in (
        bytes(64),
        x + x,
        y + x,
        b"\xff" * 64,
        raw_point(P, 0),
        raw_point(0, P),
        raw_point(G[0], G[1] + 1),
        raw_point(G[0] + P, G[1]) if G[0] + P < 2**256 else raw_point(P, P),
        b"\x04" + KEY[:63],
    ):
        assert p256.verify(key, D, der(*SAMPLE)) is False


def test_a_coordinate_is_not_reduced():
    """x and x + P are the same residue; only one spelling is a key."""
    x, y = _point_with_x_from(0)
    assert p256._point(raw_point(x, y)) == (x, y)
    assert p256._point(raw_point(x + P, y)) is None
    x, y = 0xD7325D7646CD60D80A92738CEB345F844CFFAF35841022CAB176F692DE8DE1D7, 5
    assert p256._point(raw_point(x, y)) == (x, y)
    assert p256._point(raw_point(x, y + P)) is None


def test_values_outside_of_1_to_n():
    r, s = SAMPLE
    for wrong in ((0, s), (r, 0), (N, s), (r, N), (r + N, s), (r, s + N), (2**256, s), (0, 0)):
        assert p256.decode_signature(der(*wrong)) is None
        assert p256.verify(KEY, D, der(*wrong)) is False
    for fine in ((1, 1), (N - 1, N - 1), (127, 128), (255, 256)):
        assert p256.decode_signature(der(*fine)) == fine


def test_t17_der_spellings():
    r, s = SAMPLE
    both = integer(r) + integer(s)
    padded_r = b"\x02\x22\x00" + integer(r)[2:]
    for wrong in (
        b"\x30\x81" + bytes([len(both)]) + both,  # long form
        b"\x30\x80" + both + b"\0\0",  # indefinite
        b"\x31" + bytes([len(both)]) + both,
        sequence(both) + b"\0",
        sequence(both + b"\0"),
        sequence(both)[:-1],
        sequence(both[:-1]),
        sequence(padded_r + integer(s)),
        sequence(b"\x02\x20" + integer(r)[3:] + integer(s)),  # negative
        sequence(b"\x02\x81\x21" + integer(r)[2:] + integer(s)),
        sequence(b"\x03" + integer(r)[1:] + integer(s)),
        sequence(integer(r)),
        sequence(integer(r) + b"\x02\x00"),
        sequence(integer(r) + b"\x02"),
        sequence(integer(r) + integer(s) + integer(1)),
        b"",
        b"\x30",
        b"\x30\x00",
        bytes(72),
    ):
        assert p256.decode_signature(wrong) is None
        assert p256.verify(KEY, D, wrong) is False


def test_t17_a_zero_that_is_not_needed():
    """TEST's s begins with 0x01: within 33 bytes there is room for a zero in front of it."""
    digest = hashlib.sha256(b"test").digest()
    r, s = integer(TEST[0]), integer(TEST[1])
    assert p256.verify(KEY, digest, sequence(r + s)) is True
    padded = b"\x02\x21\x00" + s[2:]
    assert p256.decode_signature(sequence(r + padded)) is None
    assert p256.verify(KEY, digest, sequence(r + padded)) is False
    assert p256.decode_signature(sequence(b"\x02\x02\x00\x7f" + s)) is None
    assert p256.decode_signature(sequence(b"\x02\x02\x00\x80" + s))[0] == 128


def test_lengths():
    good = der(*SAMPLE)
    for key in (b"", KEY[:63], KEY + b"\0", b"\x04" + KEY):
        assert p256.verify(key, D, good) is False
    for digest in (b"", D[:31], D + b"\0", b"\0" + D, D + D):
        assert p256.verify(KEY, digest, good) is False


def test_a_key_without_its_leading_zero():
    """43·G has a y of 31 bytes: without its zero the number would be the same."""
    key, r, s = signed(43, 99, D)
    assert key[32] == 0
    assert p256.verify(key, D, der(r, s)) is True
    assert p256.verify(key[:32] + key[33:], D, der(r, s)) is False


def test_buffers_of_every_kind():
    good = der(*SAMPLE)
    assert p256.verify(memoryview(KEY), bytearray(D), memoryview(bytearray(good))) is True
