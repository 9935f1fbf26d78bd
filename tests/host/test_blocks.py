"""The block service without a broker: requests in, data messages out."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import pytest

from agent import protocol
from host_tools import artifact
from host_tools.server import blocks as blocks_module
from host_tools.server.blocks import ITEMS_MAX, PENDING_MAX, Blocks, Complaints, Library
from host_tools.store import Store
from tests.host.published import image, published

NONCE = 0xBEEF
PAGE, BLOCK, GONE, BUSY = range(4)


class Service:
    """Blocks over a store of its own, with what it logged."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self.log: list[str] = []
        self.store, self.made, self.digest = published(folder, data)
        self.complaints = Complaints(self.log.append)
        self.library = Library(self.store)
        self.blocks = Blocks(self.library, self.complaints)

    def ask(
        self, kind: int, *ranges: tuple[int, int], of: bytes | None = None, pending: int = 0
    ) -> list[tuple[int, int, bytes]]:
        """(kind, number, payload) of each answer; nonce, length and CRC are looked at here."""
        payload = protocol.pack_get(NONCE, kind, of or self.made[0].id, ranges)
        answers = []
        for message in self.blocks.answer("CP-1", payload, pending):
            header = protocol.parse_data_header(message)
            assert header is not None and header[0] == NONCE and header[2] == 0
            found = message[protocol.DATA_HEADER_BYTES :]
            assert header[4:] == (len(found), zlib.crc32(found))
            answers.append((header[1], header[3], found))
        return answers


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path, image(300_000))  # 74 blocks, three pages


# --- answers ----------------------------------------------------------------------------------------
def test_blocks_come_in_the_order_of_the_ranges(service: Service) -> None:
    answers = service.ask(BLOCK, (7, 2), (0, 1), (73, 1))
    blocks = service.made[0].blocks
    assert answers == [(BLOCK, n, blocks[n]) for n in (7, 8, 0, 73)]
    assert service.log == []


def test_pages_come_as_the_manifest_hashes_them(service: Service) -> None:
    pages = artifact.pages(service.made[0].index)
    assert service.ask(PAGE, (0, 3)) == [(PAGE, n, pages[n]) for n in range(3)]


def test_either_encoding_is_served(service: Service) -> None:
    raw = service.made[1]
    assert service.ask(BLOCK, (5, 1), of=raw.id) == [(BLOCK, 5, raw.blocks[5])]


def test_what_is_behind_the_end_is_ignored(service: Service) -> None:
    blocks = service.made[0].blocks
    assert service.ask(BLOCK, (72, 100)) == [(BLOCK, n, blocks[n]) for n in (72, 73)]
    assert service.ask(BLOCK, (74, 1), (0xFFFFFFFF, 0xFFFF)) == []
    assert service.ask(PAGE, (3, 1)) == []
    assert service.ask(BLOCK, (74, 1), (1, 1)) == [(BLOCK, 1, blocks[1])]


def test_the_most_items_of_a_request(service: Service) -> None:
    assert [n for _, n, _ in service.ask(BLOCK, (0, ITEMS_MAX))] == list(range(ITEMS_MAX))
    assert service.log == []
    answers = service.ask(BLOCK, (10, 60), (0, 60))
    assert [n for _, n, _ in answers] == [*range(10, 70), 0, 1, 2, 3]
    assert [n for _, n, _ in service.ask(BLOCK, *[(0, 0xFFFF)] * 8)] == list(range(ITEMS_MAX))
    assert len(service.log) == 1 and "too much asked: CP-1" in service.log[0]


def test_an_artifact_that_is_not_here_is_gone(service: Service) -> None:
    assert service.ask(BLOCK, (0, 9), of=bytes(16)) == [(GONE, 0, b"")]
    assert service.ask(PAGE, (0, 1), of=b"\xff" * 16) == [(GONE, 0, b"")]


def test_when_too_much_waits_for_the_broker_it_is_busy(service: Service) -> None:
    assert len(service.ask(BLOCK, (0, 1), pending=PENDING_MAX)) == 1
    assert service.ask(BLOCK, (0, 1), pending=PENDING_MAX + 1) == [
        (BUSY, blocks_module.BUSY_MS, b"")
    ]


# --- the store changes ------------------------------------------------------------------------------
def test_what_is_published_later_is_served_at_once(service: Service) -> None:
    data = image(10_000, seed=9)
    coming = artifact.make(data, "raw")
    assert service.ask(BLOCK, (0, 1), of=coming.id) == [(GONE, 0, b"")]
    service.store.add(bytes(32), data, [coming])
    assert service.ask(BLOCK, (0, 1), of=coming.id) == [(BLOCK, 0, coming.blocks[0])]


def test_only_the_last_artifacts_stay_open(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    made = [artifact.make(bytes([n]) * 3000, "raw") for n in range(5)]
    store.add(bytes(32), b"x", made)
    library = Library(store, open_max=2)
    first = library.get(made[0].id)
    assert library.get(made[1].id) is not None and library.get(made[0].id) is first
    library.get(made[2].id)  # pushes out the second one, not the first
    shutil.rmtree(tmp_path / "artifacts")
    assert library.get(made[0].id) is first and library.get(made[1].id) is None
    library.close()
    assert library.get(made[0].id) is None


def test_a_damaged_artifact_is_gone_and_said_once(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / service.made[0].id.hex() / "blocks.bin"
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(3):
        assert service.ask(BLOCK, (0, 1)) == [(GONE, 0, b"")]
    assert len(service.log) == 1 and "is damaged: publish its image again" in service.log[0]


def test_what_publishing_mended_is_served_at_once(service: Service, tmp_path: Path) -> None:
    made = service.made[0]
    path = tmp_path / "artifacts" / made.id.hex() / "blocks.bin"
    path.write_bytes(bytes(path.stat().st_size))
    assert service.ask(BLOCK, (0, 1)) == [(BLOCK, 0, bytes(len(made.blocks[0])))]
    service.store.add(service.digest, image(300_000), service.made)
    assert service.ask(BLOCK, (0, 1)) == [(BLOCK, 0, made.blocks[0])]


# --- what is no request -----------------------------------------------------------------------------
GOOD = protocol.pack_get(1, BLOCK, bytes(16), [(0, 1), (5, 1)])
MALFORMED = [
    b"",
    b"\0",
    GOOD[:-1],
    GOOD + b"\0",
    GOOD[:20],
    bytes(70_000),
    GOOD[:2] + b"\x02" + GOOD[3:],  # kind gone is no request
    GOOD[:3] + b"\x00" + GOOD[4:],
    GOOD[:3] + b"\x09" + GOOD[4:],
    GOOD[:-2] + struct.pack("<H", 0),  # an empty range
]


@pytest.mark.parametrize("payload", MALFORMED)
def test_what_is_malformed_gets_no_answer(service: Service, payload: bytes) -> None:
    assert service.blocks.answer("CP-1", payload) == []
    assert service.complaints.count == 1 and service.log[0].startswith("malformed get: CP-1")


def test_a_complaint_is_made_once_a_device(service: Service) -> None:
    for device in ("CP-1", "CP-2", "CP-1", "CP-1"):
        service.blocks.answer(device, b"x")
    assert service.complaints.count == 4 and len(service.log) == 2


def test_the_memory_for_complaints_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "COMPLAINTS_MAX", 3)
    log: list[str] = []
    complaints = Complaints(log.append)
    for n in range(10):
        complaints.about("malformed get", f"CP-{n}", "length")
    assert complaints.count == 10 and len(log) == 3
