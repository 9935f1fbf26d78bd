"""`chargeflash sign`, `add_signature` and the keys that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from bootloader_verify import container as form
from bootloader_verify import keyset, ladder, p256
from host_tools import boards, container
from host_tools.signer import FileSigner, PublicKey
from tests.host.published import Command, private_pem, public_pem, refused
from tests.vectors.make_golden import GoldenSigner
from tests.vectors.signing_DO_NOT_USE import RSA_PEM

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()
NAMES = ["release_1", "release_2", "release_rsa", "rollout_1", "stranger"]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def unsigned(payload: bytes = b"x" * 40) -> bytes:
    board = boards.load("virtual-esp32")
    return container.build(payload, form.KIND_IMAGE, "1.0.0", 1, board.vid, board.cid)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.img"
    path.write_bytes(unsigned())
    return path


def test_one_signature_more_each_time(command: Command, image: Path, tmp_path: Path) -> None:
    body = image.read_bytes()
    for count, name in enumerate(["release_1", "release_2"], 1):
        assert command("sign", image, "--key", private_pem(tmp_path, name))[0] == 0
        _, tlvs = container.parse(image.read_bytes())
        assert len(tlvs.pairs) == count
        keys = container.keyset_of([PublicKey(public_pem(tmp_path, name))], keyset.RELEASE)
        container.verify(image.read_bytes(), keys, ladder.Expect(form.KIND_IMAGE))
    header, _ = container.parse(body)
    kept = header.tlv_offset + header.protect_tlv_size
    assert image.read_bytes()[:kept] == body[:kept]


def test_several_keys_at_once_into_another_file(
    command: Command, image: Path, tmp_path: Path
) -> None:
    before, out = image.read_bytes(), tmp_path / "signed.img"
    keys = ["--key", private_pem(tmp_path, "release_1"), "--key", RSA_PEM]
    assert command("sign", image, *keys, "--out", out)[0] == 0
    assert image.read_bytes() == before
    pairs = container.parse(out.read_bytes())[1].pairs
    assert [pair[1] for pair in pairs] == [form.TLV_ECDSA, form.TLV_RSA3072_PSS]


def test_the_signatures_are_strict_der() -> None:
    """Over many digests, so that short and long integers come up."""
    signer = GoldenSigner("release_1")
    for number in range(60):
        _, tlvs = container.parse(container.add_signature(unsigned(bytes([number])), signer))
        assert p256.decode_signature(tlvs.pairs[0][2]) is not None


def test_four_signatures_and_no_more(image: Path) -> None:
    data = image.read_bytes()
    for name in NAMES[:4]:
        data = container.add_signature(data, GoldenSigner(name))
    with refused("TOO_MANY_SIGNATURES"):
        container.add_signature(data, GoldenSigner(NAMES[4]))


def test_the_same_key_twice(command: Command, image: Path, tmp_path: Path) -> None:
    key = private_pem(tmp_path, "release_1")
    before = image.read_bytes()
    command.fails("SIGNED_ALREADY", 1, "sign", image, "--key", key, "--key", key)
    assert image.read_bytes() == before  # all or nothing


def test_padding_does_not_stay_behind_a_signature(image: Path) -> None:
    data = image.read_bytes()
    assert container.add_signature(
        data + b"\xff" * 64, GoldenSigner("release_1")
    ) == container.add_signature(data, GoldenSigner("release_1"))


class _Wrong(GoldenSigner):
    """An HSM that answers with the signature of something else."""

    def sign_digest(self, digest: bytes) -> bytes:
        return super().sign_digest(bytes(32))


class _Never(GoldenSigner):
    def sign_digest(self, digest: bytes) -> bytes:
        raise AssertionError("signed what it should not have")


def test_what_a_signer_returns_is_verified(image: Path) -> None:
    with refused("BAD_SIGNATURE", 4):
        container.add_signature(image.read_bytes(), _Wrong("release_1"))


def test_nothing_is_signed_whose_digest_does_not_fit(image: Path) -> None:
    data = bytearray(image.read_bytes())
    data[600] ^= 1
    with refused("BAD_HASH", 4):
        container.add_signature(bytes(data), _Never("release_1"))
    with refused("NOT_ERASED", 4):
        container.add_signature(image.read_bytes() + b"\0", _Never("release_1"))


def test_an_image_needs_its_claims() -> None:
    with refused("BAD_CLAIM", 2):
        container.build(b"x", form.KIND_IMAGE, "1.0.0")
    with refused("BAD_CLAIM", 2):
        container.build(b"x", form.KIND_IMAGE, "1.0.0", -1, bytes(16), bytes(16))
    with refused("BAD_SIZE"):
        container.build(b"", form.KIND_MANIFEST, "1.0.0")


@pytest.mark.parametrize(
    ("kind", "flags", "header_bytes"), [(1, 0, 512), (2, 0x10, 32), (3, 0x10, 32), (4, 0x10, 32)]
)
def test_kinds_have_their_flag_and_header(kind: int, flags: int, header_bytes: int) -> None:
    made = container.build(b"x", kind, "1.0.0", 1, bytes(range(16)), bytes(range(16)))
    header, _ = container.parse(made)
    assert (header.flags, header.hdr_size, container.kind_of(made)) == (flags, header_bytes, kind)


# --- misuse -------------------------------------------------------------------------------------
def encrypted(key: ec.EllipticCurvePrivateKey, style: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(PEM, style, serialization.BestAvailableEncryption(b"secret"))


def key_files() -> dict[str, tuple[bytes, str]]:
    """name -> (file, code of the refusal as a private key)."""
    p256_key = ec.generate_private_key(ec.SECP256R1())
    return {
        "empty": (b"", "NOT_A_KEY"),
        "noise": (bytes(range(256)), "NOT_A_KEY"),
        "text": (b"hello\n", "NOT_A_KEY"),
        "cut": (p256_key.private_bytes(PEM, PKCS8, PLAIN)[:100], "NOT_A_KEY"),
        "large": (b"x" * 100_000, "TOO_LARGE"),
        "der": (p256_key.private_bytes(serialization.Encoding.DER, PKCS8, PLAIN), "NOT_A_KEY"),
        "encrypted": (encrypted(p256_key, PKCS8), "ENCRYPTED_KEY"),
        "encrypted_old": (
            encrypted(p256_key, serialization.PrivateFormat.TraditionalOpenSSL),
            "ENCRYPTED_KEY",
        ),
        "p384": (
            ec.generate_private_key(ec.SECP384R1()).private_bytes(PEM, PKCS8, PLAIN),
            "UNSUPPORTED_KEY",
        ),
        "rsa2048": (
            rsa.generate_private_key(65537, 2048).private_bytes(PEM, PKCS8, PLAIN),
            "UNSUPPORTED_KEY",
        ),
        "ed25519": (
            ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, PLAIN),
            "UNSUPPORTED_KEY",
        ),
    }


@pytest.mark.parametrize("name", key_files())
def test_what_is_no_key_to_sign_with(
    command: Command, image: Path, tmp_path: Path, name: str
) -> None:
    data, code = key_files()[name]
    (tmp_path / "key.pem").write_bytes(data)
    before = image.read_bytes()
    said = command.fails(code, 2, "sign", image, "--key", tmp_path / "key.pem")
    assert "key.pem" in said and "secret" not in said
    assert image.read_bytes() == before


def test_a_public_key_cannot_sign(command: Command, image: Path, tmp_path: Path) -> None:
    command.fails("PUBLIC_KEY", 2, "sign", image, "--key", public_pem(tmp_path, "release_1"))


def test_a_key_in_the_old_format(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old = key.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, PLAIN)
    (tmp_path / "old.pem").write_bytes(old)
    assert FileSigner(tmp_path / "old.pem").alg == keyset.ECDSA_P256


def test_files_that_are_not_there(command: Command, image: Path, tmp_path: Path) -> None:
    key = private_pem(tmp_path, "release_1")
    command.fails("NOT_FOUND", 3, "sign", tmp_path / "none.img", "--key", key)
    command.fails("NOT_FOUND", 3, "sign", image, "--key", tmp_path / "none.pem")
    command.fails("UNREADABLE", 2, "sign", tmp_path, "--key", key)
    command.fails("UNREADABLE", 2, "sign", image, "--key", tmp_path)


def test_an_output_that_cannot_be_written(command: Command, image: Path, tmp_path: Path) -> None:
    key = private_pem(tmp_path, "release_1")
    command.fails("UNWRITABLE", 2, "sign", image, "--key", key, "--out", tmp_path)
    command.fails("UNWRITABLE", 2, "sign", image, "--key", key, "--out", image / "x.img")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "BAD_SIZE"), (b"\xff" * 600, "BAD_MAGIC"), (b"PK\x03\x04" * 50, "BAD_MAGIC")],
)
def test_what_is_no_container(command: Command, tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "x").write_bytes(data)
    key = private_pem(tmp_path, "release_1")
    command.fails(code, 4, "sign", tmp_path / "x", "--key", key)
    assert (tmp_path / "x").read_bytes() == data


def test_an_image_outside_of_the_profile_is_not_signed(command: Command, tmp_path: Path) -> None:
    """imgtool's image without our kind: the ladder would refuse it, so nobody gets to sign it."""
    from imgtool.image import Image

    image = Image(pad_header=True, header_size=512, security_counter=1)
    image.load_compressed(b"x" * 40, b"")
    image.create(None, "hash", None)
    (tmp_path / "x.img").write_bytes(bytes(image.payload))
    key = private_pem(tmp_path, "release_1")
    command.fails("WRONG_KIND", 4, "sign", tmp_path / "x.img", "--key", key)
