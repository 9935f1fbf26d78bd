"""RSA-3072-PSS against `cryptography` (OpenSSL)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from bootloader_verify import rsa_pss
from tests.vectors import signing_DO_NOT_USE as signing

HASHED = utils.Prehashed(hashes.SHA256())
KEY = signing.rsa_key()
MODULUS = signing.public_raw("release_rsa")
GOOD = signing.pss(bytes(32))
DIGESTS = st.binary(min_size=32, max_size=32)


def pss(salt_bytes: int) -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), salt_bytes)


def openssl(digest: bytes, signature: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, digest, pss(32), HASHED)
    except InvalidSignature:
        return False
    return True


@settings(max_examples=25, deadline=None)
@given(DIGESTS)
def test_what_openssl_signs_verifies(digest: bytes) -> None:
    assert rsa_pss.verify(MODULUS, 65537, digest, KEY.sign(digest, pss(32), HASHED)) is True
    assert openssl(digest, signing.pss(digest))


@settings(max_examples=25, deadline=None)
@given(DIGESTS, st.sampled_from([0, 1, 20, 31, 33, 64, 318]))
def test_other_salt_lengths_are_refused(digest: bytes, salt_bytes: int) -> None:
    signature = KEY.sign(digest, pss(salt_bytes), HASHED)
    assert rsa_pss.verify(MODULUS, 65537, digest, signature) is False


@settings(max_examples=100, deadline=None)
@given(DIGESTS, st.integers(0, 383), st.integers(0, 7))
def test_one_changed_bit_is_refused(digest: bytes, at: int, bit: int) -> None:
    signature = bytearray(GOOD)
    signature[at] ^= 1 << bit
    assert rsa_pss.verify(MODULUS, 65537, bytes(32), bytes(signature)) is False
    assert not openssl(bytes(32), bytes(signature))
    assert rsa_pss.verify(MODULUS, 65537, digest, GOOD) is (digest == bytes(32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 383), st.binary(min_size=1, max_size=2))
def test_any_encoded_message_gives_openssls_answer(at: int, change: bytes) -> None:
    """Changes below the exponentiation: the message that comes out of it is bent."""
    n = int.from_bytes(MODULUS, "big")
    encoded = bytearray(pow(int.from_bytes(GOOD, "big"), 65537, n).to_bytes(384, "big"))
    encoded[at : at + len(change)] = change
    encoded = encoded[:384]
    signature = signing.rsa_raw(int.from_bytes(encoded, "big") % n)
    assert rsa_pss.verify(MODULUS, 65537, bytes(32), signature) == openssl(bytes(32), signature)


@settings(deadline=None)
@given(
    st.one_of(st.binary(max_size=90), st.binary(min_size=384, max_size=384)),
    st.sampled_from([1, 3, 65537]),
    st.one_of(st.binary(max_size=40), DIGESTS),
    st.binary(max_size=400),
)
def test_it_never_raises(modulus: bytes, exponent: int, digest: bytes, signature: bytes) -> None:
    assert rsa_pss.verify(modulus, exponent, digest, signature) is False
    fitting = (signature * 400)[: len(modulus)]
    assert rsa_pss.verify(modulus, exponent, digest, fitting) in (False, True)
    assert rsa_pss.verify(MODULUS, exponent, digest, signature) is False
