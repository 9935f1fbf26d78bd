"""Our slot against imgtool's, the real command line: trailers, images of the profile, its verifier."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from bootloader_verify import keyset, ladder, trailer
from bootloader_verify.errors import BAD_SIGNATURE, VerifyError
from bootloader_verify.keyset import ECDSA_P256, RSA3072_PSS, Key, Keyset
from bootloader_verify.trailer import ERASED, SET, Layout
from tests.unit.containers import reader
from tests.vectors import signing_DO_NOT_USE as signing

SLOT, SECTOR = 65536, 4096
VENDOR, DEVICE_CLASS = "vendor.example", "wallbox"
VID = uuid.uuid5(uuid.NAMESPACE_DNS, VENDOR)
CID = uuid.uuid5(VID, DEVICE_CLASS)
KINDS = {"ec": ("release_1", ECDSA_P256), "rsa": ("release_rsa", RSA3072_PSS)}


def imgtool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "imgtool"), *[str(word) for word in words]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Payload and keys as files."""
    where = tmp_path_factory.mktemp("imgtool")
    (where / "in.bin").write_bytes(bytes(i * 5 & 0xFF for i in range(5000)))
    for name, key in (("ec", signing.private_key("release_1")), ("rsa", signing.rsa_key())):
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (where / f"{name}.pem").write_bytes(pem)
    return where


def sign(folder: Path, *words: object, key: str = "ec") -> bytes:
    """An image of the profile, made as FORMATS says."""
    done = imgtool(
        *("sign", "-k", folder / f"{key}.pem", "-v", "1.4.0+12", "-H", 512, "--pad-header"),
        *("-S", SLOT, "-s", 3, "--vid", VENDOR, "--cid", DEVICE_CLASS),
        *("--custom-tlv", "0x00a0", "0x01", *words, folder / "in.bin", folder / "out.img"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "out.img").read_bytes()


def trusted() -> Keyset:
    keys = {}
    for name, alg in KINDS.values():
        raw = signing.public_raw(name)
        keys[keyset.key_id(alg, raw)] = Key(keyset.key_id(alg, raw), alg, "release", "all", raw)
    return Keyset(1, keys, {"root": 1, "release": 1, "rollout": 1})


def climb(data: bytes, size: int) -> ladder.Verified:
    asked = ladder.Expect(1, VID.bytes, CID.bytes, "A", 3, 19, (0, 1, 0, 0))
    return ladder.check(reader(data), size, trusted(), asked)


@pytest.mark.parametrize("align", [1, 2, 4, 8, 16, 32])
def test_a_confirmed_slot_of_imgtool_reads_as_one(folder: Path, align: int) -> None:
    slot = sign(folder, "--align", align, "--pad", "--confirm")
    layout = Layout(SLOT, align, SECTOR)
    assert len(slot) == SLOT
    state = trailer.parse(reader(slot), layout)
    assert (state.magic, state.image_ok, state.copy_done) == (SET, SET, ERASED)
    # Without our install counter it is not confirmed in our sense; nothing else is in the trailer.
    assert state.counter is None and not state.confirmed and state.boots == 0
    rest = bytearray(slot[layout.image_limit :])
    assert rest[layout.image_ok - layout.image_limit] == 0x01
    rest[layout.image_ok - layout.image_limit] = 0xFF
    rest[layout.magic - layout.image_limit :] = b"\xff" * 16
    assert rest == b"\xff" * (SLOT - layout.image_limit)
    assert climb(slot, layout.image_limit).version == (1, 4, 0, 12)


@pytest.mark.parametrize("align", [8, 16, 32])
def test_a_padded_slot_of_imgtool_has_its_magic_where_we_look(folder: Path, align: int) -> None:
    slot = sign(folder, "--align", align, "--pad")
    layout = Layout(SLOT, align, SECTOR)
    assert slot[layout.magic :] == layout.magic_value()
    state = trailer.parse(reader(slot), layout)
    assert (state.magic, state.image_ok) == (SET, ERASED)


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_every_image_of_the_profile_climbs(folder: Path, key: str) -> None:
    for words in ((), ("--custom-tlv", "0x00a1", "A,B"), ("-d", "(1, 1.2.3+0)")):
        data = sign(folder, *words, key=key)
        found = climb(data, len(data))
        assert (found.epoch, found.payload_offset, found.payload_size) == (3, 512, 5000)
        assert (found.vid, found.cid) == (VID.bytes, CID.bytes)
        assert found.end == len(data)


def test_t17_pad_sig_is_refused_and_says_so(folder: Path) -> None:
    """Up to two zero bytes behind the DER, for MCUboot before 1.5. Not every signature gets one."""
    plain = sign(folder)
    refused = 0
    for build in range(12):
        data = sign(folder, "--pad-sig", "-v", f"1.0.0+{build}")
        if len(data) == len(plain) and climb_or_code(data) == "":
            continue
        assert climb_or_code(data) in ("", BAD_SIGNATURE)
        refused += climb_or_code(data) == BAD_SIGNATURE
    assert refused


def climb_or_code(data: bytes) -> str:
    try:
        climb(data, len(data))
    except VerifyError as error:
        return error.code
    return ""


def test_imgtool_verifies_what_the_test_builder_makes(folder: Path) -> None:
    """The builder of the unit tests writes MCUboot's format, not a dialect of its own."""
    from tests.unit import containers

    (folder / "ours.img").write_bytes(containers.image())
    done = imgtool("verify", "-k", folder / "ec.pem", folder / "ours.img")
    assert done.returncode == 0, done.stdout + done.stderr
    bad = bytearray(containers.image())
    bad[40] ^= 1
    (folder / "ours.img").write_bytes(bad)
    assert imgtool("verify", "-k", folder / "ec.pem", folder / "ours.img").returncode != 0
