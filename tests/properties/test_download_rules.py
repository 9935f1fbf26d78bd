"""Each rule of a download is needed: without it a scenario does damage, with it it does not.

One rule is there for the name only: the CRC. What it drops the hash drops too, under another code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent import protocol
from agent.fetch.blocks import Blocks
from agent.fetch.download import Download
from agent.fetch.slot_writer import SlotWriter
from tests.power.test_download import check_ended, check_nothing_half, everywhere
from tests.unit.artifacts import BLOCK, BOMB, TEXT_DEFLATED, Bench, Made, noise

TEN = noise(9 * BLOCK + 100)
WAYS = ("before", "after", "prefix-1024", "mask-1")
Rule = Callable[[pytest.MonkeyPatch], None]


# --- the rules, taken away --------------------------------------------------------------------
def no_first_block_last(patch: pytest.MonkeyPatch) -> None:
    """Blocks are asked for and written as they lie."""
    true = Blocks.next_missing

    def next_missing(self: Blocks) -> int | None:
        mine = self.scan_next > 0 and self.is_open(0) and not self._asked.get(0)
        return 0 if mine else true(self)

    patch.setattr(Blocks, "next_missing", next_missing)
    patch.setattr(Blocks, "only_first_left", property(lambda self: not self.is_done(0)))
    patch.setattr(Download, "_keep_first_sector", lambda self: None)


def no_trailer_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SlotWriter, "erase_trailer", lambda self: None)


def no_first_block_erased(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SlotWriter, "first_is_blank", lambda self: True)


def no_compare(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SlotWriter, "_compare", lambda self, start, data: None)


def no_encoded_hash(patch: pytest.MonkeyPatch) -> None:
    """Only the CRC, as any line has it."""

    def take(self: Download, block: int, crc: int, payload: memoryview, entry: Any) -> None:
        if protocol.crc_holds(crc, payload):
            self._decode_and_write(block, entry[1], payload, entry[4], f"block {block}")

    patch.setattr(Download, "_take", take)


def no_decoded_hash(patch: pytest.MonkeyPatch) -> None:
    true = Download._decode_and_write

    def decode(self: Download, block: int, encoding: int, payload: Any, _: Any, what: str) -> None:
        size = self.writer.block_bytes(block)
        found = bytes(self._decoder.decode(encoding, payload, size))
        true(self, block, protocol.RAW, memoryview(found), protocol.sha16(found), what)

    patch.setattr(Download, "_decode_and_write", decode)


def no_crc(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(protocol, "crc_holds", lambda crc, payload: True)


def no_tail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SlotWriter, "clear_tail", lambda self, offset: self.limit)


def no_scan(patch: pytest.MonkeyPatch) -> None:
    """What a record would do: believe that a block is there."""
    patch.setattr(SlotWriter, "stands", lambda self, block, sha: block % 2 == 0)


def no_hold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Blocks, "hold_first", lambda self: self.unask(0))


# --- scenarios: each raises AssertionError when it sees damage -----------------------------------
def cut_shows_nothing_half() -> None:
    for geometry in ("4k units of 32", "1k sectors"):
        everywhere(geometry, check_nothing_half, some=WAYS)


def cut_ends_exact() -> None:
    everywhere("1k sectors", check_ended, some=WAYS)


def worn_flash_is_no_success() -> None:
    """A cell that does not take its bit."""
    bench = Bench(Made(TEN))
    true = bench.flash.program

    def program(offset: int, data: Any) -> None:
        changed = bytearray(data)
        changed[0] ^= offset == 3 * BLOCK
        true(offset, changed)

    bench.flash.program = program  # type: ignore[method-assign]
    bench.serve()
    assert not bench.download.complete, f"complete, and exact is {bench.is_exact()}"


def nothing_foreign_is_decoded() -> None:
    """Anyone who can send on the topic sends a stream of his own, with a right CRC."""
    bench = Bench(Made(TEN).replace(2, protocol.DEFLATE, TEXT_DEFLATED))
    bench.until_blocks()
    seen, true = [], bench.download._decoder.decode

    def decode(encoding: int, encoded: memoryview, size: int) -> memoryview:
        seen.append(bytes(encoded))
        return true(encoding, encoded, size)

    bench.download._decoder.decode = decode  # type: ignore[method-assign]
    bench.hears(bench.block(2, BOMB))
    assert not seen, "the bomb reached the decoder"
    assert bench.download.error is None, "one message ended the artifact"


def nothing_wrong_is_written() -> None:
    """An index whose encoded hash fits, and whose block decodes to something else."""
    bench = Bench(Made(TEN).replace(2, protocol.RAW, noise(BLOCK, 8))).serve()
    there = bench.slot[2 * BLOCK : 3 * BLOCK]
    assert there == b"\xff" * BLOCK, "bytes that are not the image's are in flash"
    assert not bench.download.complete


def flipped_bits_do_no_harm() -> None:
    bench = Bench(Made(TEN))
    for number, get in enumerate(bench.until_blocks()):
        for message in bench.answers(get):
            at = protocol.DATA_HEADER_BYTES + number
            bench.hears(message[:at] + bytes([message[at] ^ 4]) + message[at + 1 :])
    assert bench.download.damaged == 9 and bench.slot == b"\xff" * len(bench.slot)
    assert bench.serve().is_exact()


def a_longer_image_stood_there() -> None:
    flash = Bench(Made(noise(14 * BLOCK, 3))).serve().flash
    assert Bench(Made(TEN), flash).serve().is_exact(), "the old image's end is left"


def an_empty_slot_is_filled() -> None:
    bench = Bench(Made(TEN)).serve()
    assert bench.is_exact() or not bench.download.complete, "complete without its blocks"


def a_lost_block_costs_little() -> None:
    """One block is lost; the line then answers at once for as long as nothing else happens."""
    bench = Bench(Made(TEN))
    for get in bench.until_blocks():
        for message in bench.answers(get):
            if protocol.parse_data_header(message)[3] != 7:  # type: ignore[index]
                bench.hears(message)
    for _ in range(50):
        for get in bench.gets():
            for message in bench.answers(get):
                bench.hears(message)
    assert len(bench.sent) <= 11, f"{len(bench.sent)} blocks sent for 10, before any stall"


NEEDED: list[tuple[Rule, Callable[[], None], str]] = [
    (no_first_block_last, cut_shows_nothing_half, "a first block before the others"),
    (no_trailer_first, cut_shows_nothing_half, "a trailer over a changed slot"),
    (no_trailer_first, cut_ends_exact, "a trailer is left"),
    (no_first_block_erased, cut_shows_nothing_half, "old head, new body"),
    (no_compare, worn_flash_is_no_success, "complete, and exact is False"),
    (no_encoded_hash, nothing_foreign_is_decoded, "the bomb reached the decoder"),
    (no_decoded_hash, nothing_wrong_is_written, "bytes that are not the image's"),
    (no_tail, a_longer_image_stood_there, "the old image's end is left"),
    (no_tail, cut_ends_exact, "not byte-exact"),
    (no_scan, an_empty_slot_is_filled, "complete without its blocks"),
    (no_hold, a_lost_block_costs_little, "blocks sent for 10"),
]
_IDS = [f"{rule.__name__}-{scenario.__name__}" for rule, scenario, _ in NEEDED]


@pytest.mark.parametrize("rule, scenario, damage", NEEDED, ids=_IDS)
def test_without_the_rule_there_is_damage(
    monkeypatch: pytest.MonkeyPatch, rule: Rule, scenario: Callable[[], None], damage: str
) -> None:
    rule(monkeypatch)
    with pytest.raises(AssertionError, match=damage):
        scenario()


@pytest.mark.parametrize("scenario", dict.fromkeys(scenario for _, scenario, _ in NEEDED))
def test_with_all_rules_there_is_none(scenario: Callable[[], None]) -> None:
    scenario()


def test_without_the_crc_nothing_but_the_code_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redundant: each page and block has its hash. It is cheap, and tells a bad line from a liar."""
    flipped_bits_do_no_harm()
    no_crc(monkeypatch)
    flipped_bits_do_no_harm()
    bench = Bench(Made(TEN))
    bench.until_blocks()
    for _ in range(5):
        bench.hears(bench.block(1)[:-1] + b"\0")
    assert bench.download.error is not None and bench.download.error[0] == "BAD_HASH"
    page = bench.page(0)
    fresh = Bench(Made(TEN))
    fresh.gets()
    fresh.hears(page[:-1] + bytes([page[-1] ^ 1]))
    assert fresh.download.damaged == 1 and not fresh.download._index.has(0)
