"""RSA-3072-PSS: signed test images, wrong encodings, lengths. More in tests/properties."""

from bootloader_verify import rsa_pss
from tests.unit import containers
from tests.unit.containers import raw, sign

E65537 = 65537
DIGEST = bytes(range(32))


def modulus():
    return raw("release_rsa")


def signature():
    return sign("release_rsa", DIGEST)


def test_a_good_signature():
    assert rsa_pss.verify(modulus(), E65537, DIGEST, signature()) is True


def test_buffers_of_every_kind():
    one = memoryview(bytearray(signature()))
    assert rsa_pss.verify(modulus(), E65537, bytearray(DIGEST), one) is True


def test_other_digest_exponent_or_modulus():
    assert rsa_pss.verify(modulus(), E65537, bytes(32), signature()) is False
    assert rsa_pss.verify(modulus(), 3, DIGEST, signature()) is False
    other = modulus()[:-1] + bytes([modulus()[-1] ^ 2])
    assert rsa_pss.verify(other, E65537, DIGEST, signature()) is False


def test_any_flipped_bit():
    good = signature()
    for at in (0, 1, 100, 383):
        flipped = bytearray(good)
        flipped[at] ^= 0x01
        assert rsa_pss.verify(modulus(), E65537, DIGEST, bytes(flipped)) is False


def test_values_that_are_no_signature():
    size = len(modulus())
    n = int.from_bytes(modulus(), "big")
    for value in (0, 1, n - 1, n, 2 ** (8 * size) - 1):
        assert rsa_pss.verify(modulus(), E65537, DIGEST, value.to_bytes(size, "big")) is False


def test_the_same_residue_above_the_modulus():
    n = int.from_bytes(modulus(), "big")
    seen = 0
    for fill in range(8):
        digest = bytes([fill]) * 32
        value = int.from_bytes(sign("release_rsa", digest), "big") + n
        if value < 1 << 3072:
            seen += 1
            above = value.to_bytes(384, "big")
            assert rsa_pss.verify(modulus(), E65537, digest, above) is False
    assert seen


def test_lengths():
    good = signature()
    for wrong in (b"", good[:-1], good + b"\0", b"\0" + good):
        assert rsa_pss.verify(modulus(), E65537, DIGEST, wrong) is False
    for digest in (b"", DIGEST[:-1], DIGEST + b"\0"):
        assert rsa_pss.verify(modulus(), E65537, digest, good) is False
    assert rsa_pss.verify(b"\0" + modulus(), E65537, DIGEST, b"\0" + good) is False


def test_moduli_too_small_for_the_encoding():
    for size in range(70):
        n = b"\xff" * size
        for value in (0, 1, 0xBC):
            small = (value % (1 << 8 * size)).to_bytes(size, "big")
            assert rsa_pss.verify(n, 1, DIGEST, small) is False


def test_a_modulus_of_a_bit_less():
    """Its encoding has one bit less too, and that bit would not be looked at. e = 1: s is the encoding."""
    found = [encoded(salt=bytes([i]) * 32, top=0x3F) for i in range(16)]
    found = [one for one in found if rsa_pss._consistent(one, DIGEST)]
    assert found
    assert rsa_pss.verify(b"\xff" * 384, 1, DIGEST, found[0]) is True
    assert rsa_pss.verify(b"\x7f" + b"\xff" * 383, 1, DIGEST, found[0]) is False


# --- the encoding, apart from the exponentiation ------------------------------------------------------
def encoded(db_zeros=b"", one=b"\x01", salt=bytes(32), top=0x7F, last=b"\xbc"):
    """EMSA-PSS of DIGEST, for 384 bytes, with any part bent."""
    import hashlib

    h = hashlib.sha256(bytes(8) + DIGEST + salt).digest()
    size = 384 - 33
    db = db_zeros + bytes(size - len(db_zeros) - len(one) - len(salt)) + one + salt
    masked = bytearray(size)
    for i in range((size + 31) // 32):
        mask = hashlib.sha256(h + i.to_bytes(4, "big")).digest()
        for j in range(i * 32, min(size, i * 32 + 32)):
            masked[j] = db[j] ^ mask[j - i * 32]
    masked[0] &= top
    return bytes(masked) + h + last


def test_the_encoding_part_by_part():
    assert rsa_pss._consistent(encoded(), DIGEST)
    assert rsa_pss._consistent(encoded(salt=b"x" * 32), DIGEST)
    assert not rsa_pss._consistent(encoded(), bytes(32))
    assert not rsa_pss._consistent(encoded(db_zeros=b"\x40"), DIGEST)
    assert not rsa_pss._consistent(encoded(db_zeros=bytes(100) + b"\x01"), DIGEST)
    assert not rsa_pss._consistent(encoded(one=b"\x02"), DIGEST)
    assert not rsa_pss._consistent(encoded(one=b"\x00"), DIGEST)
    assert not rsa_pss._consistent(encoded(salt=bytes(20)), DIGEST)
    assert not rsa_pss._consistent(encoded(salt=bytes(0)), DIGEST)
    assert not rsa_pss._consistent(encoded(salt=bytes(33)), DIGEST)
    assert not rsa_pss._consistent(encoded(last=b"\xbb"), DIGEST)
    high = bytearray(encoded())
    high[0] |= 0x80
    assert not rsa_pss._consistent(bytes(high), DIGEST)


def test_names_of_the_test_keys():
    """What the vectors hold is what the images are signed with."""
    assert len(modulus()) == 384 and modulus()[0] & 0x80
    assert containers.hash_of("release_rsa") != containers.hash_of("release_1")
