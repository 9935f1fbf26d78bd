"""A line that loses, doubles, delays and damages: the image arrives byte-exact all the same."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent import protocol
from agent.fetch.blocks import FAILS_MAX
from bootloader_verify.trailer import Layout
from host_tools import artifact
from tests.power.flash_model import RamNor
from tests.unit.artifacts import NONCE, Bench, Made

TICK_MS = 100
TICKS_MAX = 20_000
# (erase, block, slot): a sector of one block, a part of one, of many; the last of more than two pages
SHAPES = [
    (1024, 1024, 40_960),
    (1024, 4096, 40_960),
    (4096, 1024, 49_152),
    (4096, 4096, 49_152),
    (16_384, 1024, 98_304),
    (16_384, 4096, 65_536),
    (65_536, 1024, 196_608),
]


class TrueNor(RamNor):
    """Takes nothing but the image's own bytes, filled up with the erased value behind its end."""

    truth: bytes | None = None

    def program(self, offset: int, data: Any) -> None:
        if self.truth is not None:
            want = self.truth[offset : offset + len(data)]
            want += bytes([self.erased]) * (len(data) - len(want))
            assert bytes(data) == want, f"foreign bytes at {offset}"
        super().program(offset, data)


class HostMade(Made):
    """What the host's tools publish."""

    def __init__(self, image: bytes, encoding: str, block_size: int) -> None:
        super().__init__(image, block_size)
        made = artifact.make(image, encoding, block_size)
        self.blocks = list(made.blocks)
        self.index = made.index

    def pages(self) -> list[bytes]:
        return artifact.pages(self.index)


@dataclass
class Line:
    """Carries messages a tick at a time; `faults` befall the first of them, one each."""

    bench: Bench
    faults: list[tuple[str, int]]
    queue: list[tuple[int, bytes]] = field(default_factory=list)
    damaged: dict[tuple[int, int], int] = field(default_factory=dict)

    def carry(self, message: bytes) -> None:
        kind, n = self.faults.pop() if self.faults else ("", 0)
        now = self.bench.now_ms
        if kind == "double":
            self.queue += [(now, message), (now + n % 900, message)]
        elif kind == "delay":
            self.queue.append((now + n % 20_000, message))
        elif kind == "ahead":
            self.queue.insert(0, (now, message))
        elif kind == "busy":
            wait = protocol.pack_data(NONCE, protocol.KIND_BUSY, n % 5000)
            self.queue.append((now, wait))
        elif kind == "flip":
            at = n % (8 * len(message))
            changed = bytearray(message)
            changed[at // 8] ^= 1 << at % 8
            self.queue.append((now, self._bearable(message, bytes(changed))))
        elif kind == "cut":
            self.queue.append((now, message[: n % len(message)]))
        elif kind != "drop":
            self.queue.append((now, message))

    def _bearable(self, message: bytes, changed: bytes) -> bytes:
        """Five failures of one block or page end the artifact, rightly: here it is four."""
        header = protocol.parse_data_header(changed)
        if header is not None:
            key = header[1], header[3]
            self.damaged[key] = self.damaged.get(key, 0) + 1
            if self.damaged[key] >= FAILS_MAX:
                return message
        return changed

    def deliver(self) -> None:
        due = [item for item in self.queue if item[0] <= self.bench.now_ms]
        self.queue = [item for item in self.queue if item[0] > self.bench.now_ms]
        for _, message in due:
            self.bench.hears(message)

    def run(self) -> None:
        download = self.bench.download
        for _ in range(TICKS_MAX):
            for get in self.bench.gets():
                for message in self.bench.answers(get):
                    self.carry(message)
            self.deliver()
            if download.complete or download.error:
                return
            self.bench.now_ms += TICK_MS
        raise AssertionError("no end")


FAULTS = ["drop", "double", "ahead", "delay", "flip", "cut", "busy", ""]
HOSTILE = st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 2**20)), max_size=120)


def bytes_of(seed: int, size: int) -> bytes:
    """Noise and runs by turns, so that some blocks deflate."""
    source, out = random.Random(seed), bytearray()
    while len(out) < size:
        out += source.randbytes(1500) + source.randbytes(1) * 900
    return bytes(out[:size])


@st.composite
def cases(draw: st.DrawFn) -> tuple[HostMade, TrueNor]:
    """An artifact, and a flash with something in it."""
    erase, block, slot = draw(st.sampled_from(SHAPES))
    unit, erased = draw(st.sampled_from([1, 8, 32])), draw(st.sampled_from([0xFF, 0xFF, 0x00]))
    limit = Layout(slot, unit, erase, erased).image_limit
    size = draw(st.one_of(st.integers(1, limit), st.just(limit), st.integers(1, 3 * block)))
    image = bytes_of(draw(st.integers(0, 9)), size)
    made = HostMade(image, draw(st.sampled_from(artifact.ENCODINGS)), block)
    flash = TrueNor(slot, erase, unit, erased)
    before = draw(st.sampled_from(["", "older", "same", "garbage", "patched"]))
    fill(flash, before, image, draw(st.integers(0, 9)))
    flash.truth = image
    return made, flash


def fill(flash: RamNor, before: str, image: bytes, seed: int) -> None:
    """What stands in the slot before the download, its trailer included."""
    random_bytes = random.Random(seed).randbytes(flash.size_bytes)
    if before == "patched":  # a third of the image is what is wanted, and something is behind it
        keep = len(image) // 3
        data = random_bytes[:keep] + image[keep : 2 * keep] + random_bytes[2 * keep :]
    else:
        older = bytes_of(seed, flash.size_bytes * 2 // 3)
        data = {"": b"", "older": older, "same": image, "garbage": random_bytes}[before]
    rest = -len(data) % flash.write_bytes
    if data:
        flash.program(0, data + bytes([flash.erased]) * rest)


@settings(max_examples=400, deadline=None)
@given(cases(), HOSTILE, st.sampled_from([1, 4, 8, 32]))
def test_a_hostile_line_ends_byte_exact(
    case: tuple[HostMade, TrueNor], faults: list[tuple[str, int]], window: int
) -> None:
    made, flash = case
    bench = Bench(made, flash, window)
    Line(bench, faults).run()
    assert bench.download.error is None
    assert bench.is_exact()
    if bench.download.writing:
        trailer = bench.slot[bench.limit :]
        assert trailer == bytes([flash.erased]) * len(trailer)


@settings(max_examples=200, deadline=None)
@given(cases())
def test_an_honest_line_brings_each_block_once(case: tuple[HostMade, TrueNor]) -> None:
    """And of what stands already nothing, the sector of block 0 aside: it goes first."""
    made, flash = case
    stood = flash.image()
    bench = Bench(made, flash).serve()
    assert bench.is_exact()
    assert len(set(bench.sent)) == len(bench.sent)
    assert bench.download.dropped == bench.download.damaged == 0
    sector = max(flash.erase_bytes, made.block_size)
    for number in bench.sent:
        start = number * made.block_size // sector * sector
        end = min(start + sector, bench.limit)
        whole = made.image[start:end] + bytes([flash.erased]) * (end - max(start, len(made.image)))
        assert start == 0 or stood[start:end] != whole[: end - start], number


@settings(max_examples=80, deadline=None)
@given(cases())
def test_a_second_download_of_the_same_fetches_and_writes_nothing(
    case: tuple[HostMade, TrueNor],
) -> None:
    made, flash = case
    Bench(made, flash).serve()
    operations = flash.operations
    again = Bench(made, flash).serve()
    assert again.download.complete and again.sent == []
    assert flash.operations == operations


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=40), st.integers(0, 2**32 - 1))
def test_noise_on_the_topic_changes_nothing(noise: list[bytes], number: int) -> None:
    """Any bytes, and any bytes behind a header of ours."""
    made = HostMade(bytes_of(1, 5000), "raw", 1024)
    bench = Bench(made, TrueNor(16_384, 1024, 8))
    bench.until_blocks()
    before = bench.slot
    for payload in noise:
        bench.hears(payload)
        bench.hears(protocol.pack_data(NONCE, protocol.KIND_PAGE, number, payload))
        bench.hears(protocol.pack_data(NONCE, protocol.KIND_BLOCK, max(5, number), payload))
    assert bench.slot == before and bench.download.error is None
    bench.download.forget_in_flight()
    assert bench.serve().is_exact()
