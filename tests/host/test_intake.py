"""What devices say: checked, then written; what is malformed is counted and never written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import protocol
from host_tools.server.blocks import Complaints
from host_tools.server.intake import Intake
from host_tools.store import Store


def status(**fields: object) -> dict[str, object]:
    found = {name: kind() for name, kind in protocol.STATUS_FIELDS.items()}
    return found | {"v": 1, "status": "Idle", "version": "1.0.0+0"} | fields


class Desk:
    """An intake over a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: list[str] = []
        self.store = Store(folder, create=True)
        self.intake = Intake(self.store, Complaints(self.log.append))

    def status(self, **fields: object) -> None:
        payload = protocol.pack_status(status(**fields))
        self.intake.take("CP-1", "status", payload)

    def events(self) -> list[dict[str, object]]:
        path = self.folder / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_last_status_and_online_are_kept(desk: Desk) -> None:
    desk.intake.take("CP-1", "online", b"1")
    desk.status(status="Downloading", blocks_done=3)
    desk.status(status="Downloaded", blocks_done=9)
    known = desk.store.device("CP-1")
    assert known["online"] is True and known["status"]["status"] == "Downloaded"
    assert known["status"]["blocks_done"] == 9 and known["device"] == "CP-1"
    desk.intake.take("CP-1", "online", b"0")
    assert desk.store.device("CP-1")["online"] is False
    assert desk.store.device("CP-1")["status"]["status"] == "Downloaded"
    assert desk.intake.taken == 4 and desk.log == []


def test_what_is_said_again_is_not_written_again(desk: Desk) -> None:
    desk.status()
    before = (desk.folder / "devices/CP-1.json").stat().st_ino
    desk.status()
    assert (desk.folder / "devices/CP-1.json").stat().st_ino == before
    desk.status(blocks=1)
    assert (desk.folder / "devices/CP-1.json").stat().st_ino != before


def test_events_are_added_in_their_order(desk: Desk) -> None:
    for request_id in (1, 2):
        payload = protocol.pack_event("OfferAccepted", request_id, "OK", "a\nb")
        desk.intake.take("CP-1", "event", payload)
    first, second = desk.events()
    assert (first["device"], first["event"], first["request_id"]) == ("CP-1", "OfferAccepted", 1)
    assert second["request_id"] == 2 and second["detail"] == "a?b" and first["schema"] == 1


def event(**fields: object) -> bytes:
    usual = {"v": 1, "event": "OfferRejected", "request_id": 1, "code": "REPLAY", "detail": ""}
    return json.dumps(usual | fields).encode()


MALFORMED = [
    ("status", b""),
    ("status", b"not JSON"),
    ("status", b"[]"),
    ("status", json.dumps(status() | {"status": "Fine"}).encode()),
    ("status", json.dumps(status() | {"more": 1}).encode()),
    ("status", json.dumps(status() | {"blocks": "9"}).encode()),
    ("status", json.dumps(status() | {"detail": "x" * 1100}).encode()),
    ("status", b"[" * 1000),
    ("online", b""),
    ("online", b"true"),
    ("online", b"11"),
    ("event", b""),
    ("event", b"\xff"),
    ("event", event(event=7)),
    ("event", event(request_id="1")),
    ("event", event(request_id=True)),
    ("event", event(code=None)),
    ("event", event(detail={"a": 1})),
    ("event", event(device="CP-9")),
    ("event", event(v=2)),
    ("event", event(detail="x" * 600)),
]


@pytest.mark.parametrize(("leaf", "payload"), MALFORMED)
def test_what_is_malformed_is_counted_and_not_written(
    desk: Desk, leaf: str, payload: bytes
) -> None:
    desk.status(status="Idle")
    before = (desk.folder / "devices/CP-1.json").read_bytes()
    desk.intake.take("CP-1", leaf, payload)
    assert (desk.folder / "devices/CP-1.json").read_bytes() == before and desk.events() == []
    assert desk.intake.taken == 1 and len(desk.log) == 1
    assert desk.log[0].startswith(f"malformed {leaf}: CP-1: BAD_")


def test_a_damaged_file_is_written_anew(desk: Desk) -> None:
    desk.status()
    (desk.folder / "devices/CP-1.json").write_text("{")
    desk.status()
    assert desk.store.device("CP-1")["status"]["status"] == "Idle"


def test_of_two_servers_one_writes_and_the_other_takes_over(desk: Desk) -> None:
    other = Intake(desk.store, Complaints(desk.log.append))
    said = protocol.pack_event("OfferAccepted", 1, "OK", "")
    for intake in (desk.intake, other):
        intake.take("CP-1", "event", said)
    assert len(desk.events()) == 1 and other.taken == 0
    desk.intake.close()
    other.take("CP-1", "event", said)
    assert len(desk.events()) == 2
    other.close()
