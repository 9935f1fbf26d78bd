"""ECDSA P-256 against `cryptography` (OpenSSL): the same answer, whatever the bytes."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bootloader_verify import p256, p256_comb, p256_curve
from bootloader_verify.p256_base import TABLE as BASE_TABLE
from bootloader_verify.p256_curve import N, P
from host_tools import p256_table
from tests.vectors import make_base_table

CURVE = ec.SECP256R1()
HASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
SCALARS = st.one_of(st.integers(1, N - 1), st.sampled_from([1, 2, 3, 4, 5, 7, 8, N - 1, N - 2]))
DIGESTS = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.sampled_from([0, 1, N - 1, N, N + 1, 2**256 - 1]).map(lambda v: v.to_bytes(32, "big")),
)
EDGES = [0, 1, 2, N - 1, N, N + 1, N // 2, N // 2 + 1, 2**255, 2**256 - 1, 2**256]


def raw(key: ec.EllipticCurvePublicKey) -> bytes:
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def openssl(key: ec.EllipticCurvePublicKey, digest: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, digest, HASHED)
    except InvalidSignature:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(SCALARS, DIGESTS)
def test_what_openssl_signs_verifies_and_so_does_its_twin(d: int, digest: bytes) -> None:
    private = ec.derive_private_key(d, CURVE)
    signature = private.sign(digest, HASHED)
    key = raw(private.public_key())
    assert p256.verify(key, digest, signature) is True
    r, s = utils.decode_dss_signature(signature)
    assert p256.decode_signature(signature) == (r, s)
    assert p256.verify(key, digest, utils.encode_dss_signature(r, N - s)) is True
    assert p256.verify(key, digest, utils.encode_dss_signature(s, r)) is False


@settings(max_examples=60, deadline=None)
@given(SCALARS, DIGESTS, st.sampled_from(["r", "s", "digest"]), st.integers(0, 255))
def test_one_changed_bit_is_refused(d: int, digest: bytes, where: str, bit: int) -> None:
    private = ec.derive_private_key(d, CURVE)
    r, s = utils.decode_dss_signature(private.sign(digest, HASHED))
    if where == "r":
        r ^= 1 << bit
    elif where == "s":
        s ^= 1 << bit
    else:
        digest = (int.from_bytes(digest, "big") ^ 1 << bit).to_bytes(32, "big")
    signature = utils.encode_dss_signature(r, s)
    public = private.public_key()
    assert p256.verify(raw(public), digest, signature) == openssl(public, digest, signature)


@settings(max_examples=120, deadline=None)
@given(
    SCALARS,
    DIGESTS,
    st.one_of(st.sampled_from(EDGES), SCALARS),
    st.one_of(st.sampled_from(EDGES), SCALARS),
)
@example(1, (1).to_bytes(32, "big"), 1, 1)
def test_any_r_and_s_give_openssls_answer(d: int, digest: bytes, r: int, s: int) -> None:
    public = ec.derive_private_key(d, CURVE).public_key()
    signature = utils.encode_dss_signature(r, s)
    assert p256.verify(raw(public), digest, signature) == openssl(public, digest, signature)


@settings(max_examples=60, deadline=None)
@given(SCALARS, st.integers(1, N - 1), st.integers(1, N - 1), st.data())
def test_sums_that_fall_on_infinity_or_double(d: int, r: int, s: int, data: st.DataObject) -> None:
    """Digests that make u1·G = ±u2·Q, or one of them infinity."""
    e = data.draw(st.sampled_from([-r * d, r * d, r, -r, 0])) % N
    digest = e.to_bytes(32, "big")
    public = ec.derive_private_key(d, CURVE).public_key()
    signature = utils.encode_dss_signature(r, s)
    assert p256.verify(raw(public), digest, signature) == openssl(public, digest, signature)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, N - 1), st.integers(0, N - 1), SCALARS)
@example(5, 5, 1)
@example(5, 5, N - 1)
def test_sum_of_products_with_and_without_a_table(u1: int, u2: int, d: int) -> None:
    numbers = ec.derive_private_key(d, CURVE).public_key().public_numbers()
    total = (u1 + u2 * d) % N
    table = p256_table.make(raw(ec.derive_private_key(d, CURVE).public_key()))
    for point in (
        p256._sum_of_products(u1, u2, (numbers.x, numbers.y)),
        p256_comb.sum_of_products(u1, u2, table),
    ):
        assert (point[2] == 0) == (total == 0)
        if total:
            want = ec.derive_private_key(total, CURVE).public_key().public_numbers()
            found = p256_curve.affine(point, p256_curve.inverse(point[2], P))
            assert found == (want.x, want.y)


@settings(max_examples=60, deadline=None)
@given(SCALARS, DIGESTS, st.integers(0, 511))
def test_a_table_changes_no_answer(d: int, digest: bytes, bit: int) -> None:
    private = ec.derive_private_key(d, CURVE)
    key = raw(private.public_key())
    signature = private.sign(digest, HASHED)
    table = p256_table.make(key)
    assert len(table) == p256.TABLE_BYTES
    # With the right table the fast way alone says yes.
    r, s = utils.decode_dss_signature(signature)
    w = pow(s, -1, N)
    point = p256_comb.sum_of_products(int.from_bytes(digest, "big") * w % N, r * w % N, table)
    assert p256._x_is(point, r)
    assert p256.verify(key, digest, signature, table) is True
    wrong = (int.from_bytes(digest, "big") ^ 1 << bit % 256).to_bytes(32, "big")
    assert p256.verify(key, wrong, signature, table) == p256.verify(key, wrong, signature)


def test_the_frozen_table_is_the_base_points() -> None:
    assert raw(ec.derive_private_key(1, CURVE).public_key()) == b"".join(
        value.to_bytes(32, "big") for value in p256_table.G
    )
    assert p256_table.make(raw(ec.derive_private_key(1, CURVE).public_key())) == BASE_TABLE
    assert make_base_table.TARGET.read_text() == make_base_table.source()


@given(st.integers(0, N - 1), st.sampled_from([N, P]))
def test_inverse(a: int, modulus: int) -> None:
    assert p256_curve.inverse(a, modulus) == (pow(a, -1, modulus) if a else 0)


@given(st.integers(0, N - 1))
def test_naf_is_the_number(k: int) -> None:
    digits = [d - 256 if d > 127 else d for d in p256._naf(k)]
    assert sum(d << i for i, d in enumerate(digits)) == k
    assert all(d == 0 or (d % 2 and -7 <= d <= 7) for d in digits)


KEY = raw(ec.derive_private_key(5, CURVE).public_key())
GOOD = ec.derive_private_key(5, CURVE).sign(bytes(32), HASHED)


@settings(deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=140))
def test_it_never_raises(key: bytes, digest: bytes, signature: bytes) -> None:
    assert p256.verify(key, digest, signature) is False
    assert p256.verify(KEY, digest, signature) is False
    assert p256.verify(KEY, bytes(32), signature) is (signature == GOOD)
    assert p256.verify(key, bytes(32), GOOD) is (key == KEY)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mangled_der_is_refused(data: st.DataObject) -> None:
    """One number has one spelling: what decodes is what encodes to the same bytes."""
    mangled = bytearray(GOOD)
    at = data.draw(st.integers(0, len(mangled)))
    mangled[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    found = p256.decode_signature(bytes(mangled))
    if found:
        assert utils.encode_dss_signature(*found) == mangled


@given(st.binary(max_size=64), st.binary(min_size=64, max_size=64))
def test_points_off_the_curve(short: bytes, xy: bytes) -> None:
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, b"\x04" + xy)
        on_curve = True
    except ValueError:
        on_curve = False
    assert (p256._point(xy) is not None) == on_curve
    if len(short) < 64:
        assert p256.verify(short, bytes(32), GOOD) is False
