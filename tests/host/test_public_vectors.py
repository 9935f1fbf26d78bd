"""The vectors of NIST's CAVP and of RFC 6979, from the package `cryptography_vectors`.

Used: ECDSA over P-256 with every hash (what is signed is the digest's first 256 bits, so longer and
shorter digests test the same arithmetic), public keys of P-256, RSASSA-PSS with SHA-256.
Not used, as no key or digest of ours can look so: other curves; PSS with another hash (SigVerPSS
360 of 450, SigGenPSS 200 of 250 in each file, all of PKCS #1's pss-vect.txt, which has SHA-1).
No file has a salt of 32 bytes: each PSS vector must be refused as it stands, and give NIST's answer
once the salt's length is that of the file. The package holds no vectors of Wycheproof.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from bootloader_verify import p256, rsa_pss
from bootloader_verify.p256_curve import N, is_on_curve
from host_tools import p256_table

FOLDER = Path(cryptography_vectors.__file__).parent / "asymmetric"
ECDSA, PSS = FOLDER / "ECDSA", FOLDER / "RSA" / "FIPS_186-2"
Vector = dict[str, str]


def sections(path: Path) -> Iterator[tuple[str, list[Vector]]]:
    """(header in brackets, vectors); a vector is a block of `name = value` lines."""
    text = path.read_text().replace("\r", "")
    parts = re.split(r"^\[(.*)\]$", text, flags=re.MULTILINE)
    for header, body in zip(parts[1::2], parts[2::2], strict=True):
        blocks = [
            re.findall(r"^([\w ]+?) *= *(.*?) *$", b, re.MULTILINE) for b in body.split("\n\n")
        ]
        yield header, [dict(block) for block in blocks if block]


def vectors(path: Path, curve: str) -> list[tuple[str, Vector]]:
    """(hash, vector) of the sections of a curve; 186-2 knows SHA-1 only and does not say so."""
    return [
        (header.partition(",")[2] or "SHA-1", vector)
        for header, found in sections(path)
        if header.split(",")[0] == curve
        for vector in found
    ]


def digest(name: str, message: bytes) -> bytes:
    """The number that ECDSA over P-256 signs, as 32 bytes."""
    whole = hashlib.new(name.replace("SHA-", "sha"), message).digest()
    return whole[:32].rjust(32, b"\0")


@cache
def table(xy: bytes) -> bytes | None:
    """None for what is no point of the curve."""
    on_curve = is_on_curve(int.from_bytes(xy[:32], "big"), int.from_bytes(xy[32:], "big"))
    return p256_table.make(xy) if on_curve else None


def verify(xy: bytes, hashed: bytes, der: bytes) -> bool:
    """With and without a table of the key: the same answer."""
    plain = p256.verify(xy, hashed, der)
    if table(xy) is not None:
        assert p256.verify(xy, hashed, der, table(xy)) is plain
    return plain


def ecdsa(hash_name: str, vector: Vector) -> tuple[bytes, bytes, bytes]:
    """(key, digest, DER) of a CAVP vector."""
    xy = b"".join(int(vector[c], 16).to_bytes(32, "big") for c in ("Qx", "Qy"))
    hashed = digest(hash_name, bytes.fromhex(vector["Msg"]))
    return xy, hashed, utils.encode_dss_signature(int(vector["R"], 16), int(vector["S"], 16))


def test_cavp_ecdsa_verification() -> None:
    seen = Counter()
    for path in (ECDSA / "FIPS_186-3" / "SigVer.rsp", ECDSA / "FIPS_186-2" / "SigVer.rsp"):
        for name, vector in vectors(path, "P-256"):
            want = vector["Result"][0]
            assert verify(*ecdsa(name, vector)) is (want == "P"), vector
            seen[name, want] += 1
    hashes = {"SHA-1": 2, "SHA-224": 1, "SHA-256": 1, "SHA-384": 1, "SHA-512": 1}
    want_of = {(h, w): n * files for h, files in hashes.items() for w, n in (("P", 3), ("F", 12))}
    assert seen == want_of


def test_cavp_ecdsa_generation() -> None:
    """What NIST signed verifies, its twin too, and nothing else that is near."""
    seen = Counter()
    for folder in ("FIPS_186-3", "FIPS_186-2"):
        for name, vector in vectors(ECDSA / folder / "SigGen.rsp", "P-256"):
            xy, hashed, der = ecdsa(name, vector)
            r, s = p256.decode_signature(der) or (0, 0)
            assert verify(xy, hashed, der) is True
            assert verify(xy, hashed, utils.encode_dss_signature(r, N - s)) is True
            assert verify(xy, hashed, utils.encode_dss_signature(s, r)) is False
            assert verify(xy, bytes(31) + b"\1", der) is False
            seen[name] += 1
    assert seen["SHA-256"] == 15 and seen.total() == 90


def test_other_spellings_of_nists_signatures_are_refused() -> None:
    """BER: long and indefinite lengths, padded and cut integers, other tags, bytes behind, ranges."""
    count = 0
    for name, vector in vectors(ECDSA / "FIPS_186-3" / "SigGen.rsp", "P-256"):
        xy, hashed, der = ecdsa(name, vector)
        for wrong in spellings(der):
            assert p256.verify(xy, hashed, wrong) is False, wrong.hex()
            count += 1
    assert count == 75 * 21


def spellings(der: bytes) -> list[bytes]:
    r, s = utils.decode_dss_signature(der)
    body = der[2:]
    first, second = body[: 2 + body[1]], body[2 + body[1] :]
    zero = b"\x02\x01\0"

    def sequence(*parts: bytes, head: bytes = b"\x30") -> bytes:
        whole = b"".join(parts)
        return head + bytes([len(whole)]) + whole

    def padded(integer: bytes) -> bytes:
        return b"\x02" + bytes([integer[1] + 1]) + b"\0" + integer[2:]

    return [
        b"\x30\x81" + der[1:],
        b"\x30\x82\0" + der[1:],
        b"\x30\x80" + body + b"\0\0",
        sequence(padded(first), second),
        sequence(first, padded(second)),
        sequence(b"\x02\x81" + first[1:], second),
        sequence(first, b"\x02\x81" + second[1:]),
        sequence(first, second, zero),
        sequence(first, second[:-1]),
        sequence(first, second, head=b"\x31"),
        sequence(b"\x03" + first[1:], second),
        der + b"\0",
        der[:-1],
        b"\x30" + bytes([der[1] - 1]) + body,
        b"\x30" + bytes([der[1] + 1]) + body,
        sequence(zero, second),
        sequence(first, zero),
        utils.encode_dss_signature(r + N, s),
        utils.encode_dss_signature(r, s + N),
        utils.encode_dss_signature(r, N),
        sequence(b"\x02\x20" + (r | 1 << 255).to_bytes(32, "big"), second),  # negative
    ]


def test_cavp_public_keys() -> None:
    """A coordinate above 256 bits has no place in a key of 64 bytes: the host refuses to write it."""
    seen = Counter()
    for folder in ("FIPS_186-3", "FIPS_186-2"):
        for _, vector in vectors(ECDSA / folder / "PKV.rsp", "P-256"):
            x, y = int(vector["Qx"], 16), int(vector["Qy"], 16)
            assert is_on_curve(x, y) is (vector["Result"][0] == "P")
            seen[vector["Result"][0]] += 1
    assert seen == {"P": 8, "F": 16}


def test_rfc_6979() -> None:
    """OpenSSL's file of them: the same message under five hashes, and each with one bit changed."""
    text = (ECDSA / "RFC6979" / "evppkey_ecdsa_rfc6979.txt").read_text()
    pem = re.search(r"PublicKey=P-256_PUB\n(-.*?-----END PUBLIC KEY-----)", text, re.DOTALL)
    assert pem
    key = serialization.load_pem_public_key(pem.group(1).encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    numbers = key.public_numbers()
    xy = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    seen = Counter()
    for block in text.split("\n\n"):
        one = dict(re.findall(r"^(\w+) = (.*)$", block, re.MULTILINE))
        if one.get("Key") == "P-256_PUB":
            name = one["DigestVerify"].replace("SHA", "SHA-")
            hashed = digest(name, one["Input"].strip('"').encode())
            good = "Result" not in one
            assert verify(xy, hashed, bytes.fromhex(one["Output"])) is good
            seen[good] += 1
    assert seen == {True: 10, False: 10}


# --- RSASSA-PSS ---------------------------------------------------------------------------------------
def pss_vectors(name: str) -> Iterator[tuple[int, Vector]]:
    """(bits of the modulus, vector with the modulus in it) for SHA-256."""
    for header, found in sections(PSS / name):
        modulus = exponent = ""
        for vector in found:
            modulus, exponent = vector.get("n", modulus), vector.get("e", exponent)
            if vector.get("SHAAlg") == "SHA256":
                yield int(header.split("=")[1]), {"e": exponent, **vector, "n": modulus}


def pss_ok(vector: Vector) -> bool:
    hashed = hashlib.sha256(bytes.fromhex(vector["Msg"])).digest()
    modulus, signature = bytes.fromhex(vector["n"]), bytes.fromhex(vector["S"])
    return rsa_pss.verify(modulus, int(vector["e"], 16), hashed, signature)


def test_cavp_pss_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(pss_vectors("SigVerPSS_186-3.rsp"))
    assert not any(pss_ok(vector) for _, vector in found)
    monkeypatch.setattr(rsa_pss, "_SALT_BYTES", 10)
    seen = Counter()
    for bits, vector in found:
        want = vector["Result"][0]
        assert pss_ok(vector) is (want == "P"), vector
        seen[bits, want] += 1
    assert seen == {
        (b, w): n for b in (1024, 1536, 2048, 3072, 4096) for w, n in (("P", 3), ("F", 15))
    }


@pytest.mark.parametrize(
    "name, salt_bytes", [("SigGenPSS_186-2.rsp", 20), ("SigGenPSS_186-3.rsp", 0)]
)
def test_cavp_pss_generation(name: str, salt_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(pss_vectors(name))
    assert not any(pss_ok(vector) for _, vector in found)
    monkeypatch.setattr(rsa_pss, "_SALT_BYTES", salt_bytes)
    assert all(pss_ok(vector) for _, vector in found)
    assert Counter(bits for bits, _ in found) == dict.fromkeys((1024, 1536, 2048, 3072, 4096), 10)
