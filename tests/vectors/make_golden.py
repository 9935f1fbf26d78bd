"""Writes tests/vectors/golden/: python -m tests.vectors.make_golden

Containers of every kind and of the usual damages, for any reader of the format. golden.json says of
each what a device that trusts the golden keyset answers: "" (accepted) or the ladder's code. The
result is the same on every run (see signing_DO_NOT_USE.py).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from mpremote.romfs import VfsRomWriter

from bootloader_verify import container as form
from bootloader_verify import keyset
from host_tools import boards, container
from tests.vectors import signing_DO_NOT_USE as signing

FOLDER = Path(__file__).parent / "golden"
ROLES = {
    "root_1": keyset.ROOT,
    "root_2": keyset.ROOT,
    "release_1": keyset.RELEASE,
    "release_rsa": keyset.RELEASE,
    "rollout_1": keyset.ROLLOUT,
}


class GoldenSigner:
    """A test key with signatures that come out the same every time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alg = keyset.RSA3072_PSS if name.endswith("_rsa") else keyset.ECDSA_P256
        self.public_raw = signing.public_raw(name)
        self.key_id = keyset.key_id(self.alg, self.public_raw)

    def sign_digest(self, digest: bytes) -> bytes:
        return bytes(signing.sign(self.name, digest))


def public_pem(name: str) -> bytes:
    key = signing.rsa_key() if name.endswith("_rsa") else signing.private_key(name)
    return bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def payload() -> bytes:
    """A ROMFS with one file of text and one in a folder."""
    writer = VfsRomWriter()
    writer.mkfile("app.txt", b"not to be run\n")
    writer.opendir("screens")
    writer.mkfile("idle.txt", bytes(range(64)))
    writer.closedir()
    return bytes(writer.finalise())


def signed(made: bytes, *names: str) -> bytes:
    for name in names:
        made = container.add_signature(made, GoldenSigner(name))
    return made


def image(epoch: int = 3) -> bytes:
    board = boards.load("virtual-esp32")
    claims = {"epoch": epoch, "vid": board.vid, "cid": board.cid, "revisions": ["A", "B"]}
    return container.build(payload(), form.KIND_IMAGE, "1.2.3+4", **claims)


def keyset_payload() -> bytes:
    keys = [
        {
            "id": GoldenSigner(name).key_id.hex(),
            "alg": GoldenSigner(name).alg,
            "role": role,
            "class": keyset.ALL_CLASSES,
            "key": signing.public_raw(name).hex(),
        }
        for name, role in ROLES.items()
    ]
    fields = {"version": 1, "keys": keys, "thresholds": {"root": 2, "release": 1, "rollout": 1}}
    return json.dumps(fields | {"revoked": [], "min_epoch": {}}).encode()


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def with_flags(made: bytes, flags: int) -> bytes:
    """Other flags under a digest that fits them: what only a mistaken signer could make."""
    changed = bytearray(made)
    struct.pack_into("<I", changed, 16, flags)
    header, _ = container.parse(made)
    start = header.tlv_offset + header.protect_tlv_size + 2 * form.AREA_BYTES
    changed[start : start + 32] = container.digest_of(bytes(changed), header)
    return bytes(changed)


def containers() -> dict[str, tuple[bytes, str]]:
    """name -> (bytes, code): "" is accepted by the golden keyset as the kind in the name."""
    good = signed(image(), "release_1")
    header, _ = container.parse(good)
    manifest = container.build(b'{"golden":1}', form.KIND_MANIFEST, "0.0.0+1")
    trusted = container.build(keyset_payload(), form.KIND_KEYSET, "0.0.0+1")
    pairs_at = header.tlv_offset + header.protect_tlv_size + form.AREA_BYTES + 36
    return {
        "image": (good, ""),
        "image_rsa": (signed(image(), "release_rsa"), ""),
        "image_two_signatures": (signed(image(), "release_1", "release_rsa"), ""),
        "image_padded": (good + b"\xff" * 32, ""),
        "manifest": (signed(manifest, "rollout_1"), ""),
        "keyset": (signed(trusted, "root_1", "root_2"), ""),
        "image_unsigned": (image(), "UNSIGNED"),
        "image_by_stranger": (signed(image(), "stranger"), "UNKNOWN_KEY"),
        "image_by_rollout": (signed(image(), "rollout_1"), "WRONG_ROLE"),
        "image_magic": (flipped(good, 0), "BAD_MAGIC"),
        "image_payload": (flipped(good, header.hdr_size), "BAD_HASH"),
        "image_version": (flipped(good, 20), "BAD_HASH"),
        "image_encrypted": (with_flags(image(), 0x4), "UNSUPPORTED"),
        "image_key_of_nobody": (flipped(good, pairs_at + form.AREA_BYTES), "UNKNOWN_KEY"),
        "image_signature": (flipped(good, len(good) - 1), "BAD_SIGNATURE"),
        "image_cut": (good[:-1], "BAD_TLV"),
        "image_bytes_behind": (good + b"\x00", "NOT_ERASED"),
        "keyset_one_signature": (signed(trusted, "root_1"), "THRESHOLD"),
    }


def files() -> dict[str, bytes]:
    """File name -> bytes of everything in the folder."""
    made = containers()
    found = {f"{name}.img": data for name, (data, _) in made.items()}
    found |= {f"{name}-DO_NOT_USE.pub.pem": public_pem(name) for name in ROLES}
    answers = {f"{name}.img": code for name, (_, code) in made.items()}
    found["golden.json"] = json.dumps(answers, indent=1).encode() + b"\n"
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, data in files().items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
