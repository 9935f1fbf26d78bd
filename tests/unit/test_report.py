"""The trace of an update has no holes: each status name is said once, in order, until it arrived."""

import json

from agent import protocol
from agent.update.report import PROGRESS_MS, WAITING_MAX, Reporter

FACTS = {"version": "1.0.0+0", "slot": "a", "mode": "confirmed", "epoch": 1}


def words(reporter):
    """Everything that waits, as the broker would get it."""
    found = []
    message = reporter.next_message()
    while message is not None:
        leaf, payload, qos, retain = message
        said = json.loads(payload)
        assert qos == 1 and retain == (leaf == protocol.STATUS)
        found.append(said.get("status") or said.get("event"))
        reporter.sent()
        message = reporter.next_message()
    return found


def test_words_come_in_order_and_each_once():
    one = Reporter(FACTS)
    one.now(status=protocol.DOWNLOADED, request_id=3)
    one.now(status=protocol.SIGNATURE_VERIFIED, request_id=3)
    one.event("FirmwareUpdated", 3, "", "")
    one.now(status=protocol.INSTALLING, request_id=3)
    assert not one.idle
    assert words(one) == ["Downloaded", "SignatureVerified", "FirmwareUpdated", "Installing"]
    assert one.idle


def test_one_at_a_time_and_again_only_after_it_arrived():
    one = Reporter(FACTS)
    one.now(status=protocol.DOWNLOADED, request_id=3)
    one.now(status=protocol.INSTALLING, request_id=3)
    assert one.next_message() is not None
    assert one.next_message() is None
    one.sent()
    assert one.next_message() is not None


def test_every_status_is_a_valid_message():
    one = Reporter(FACTS)
    one.now(status=protocol.DOWNLOADING, request_id=1, detail="\n" * 500)
    status = protocol.parse_status(one.next_message()[1])
    assert status["version"] == "1.0.0+0" and len(status["detail"]) <= protocol.DETAIL_CHARS_MAX


def test_progress_replaces_what_still_waits_but_never_what_is_under_way():
    one = Reporter(FACTS)
    one.now(status=protocol.DOWNLOADING, request_id=1, blocks=9)
    one.now(blocks_done=1)
    assert json.loads(one.next_message()[1])["blocks_done"] == 1
    one.now(blocks_done=2)
    one.now(blocks_done=3)
    one.sent()
    assert json.loads(one.next_message()[1])["blocks_done"] == 3
    one.sent()
    assert one.idle


def test_progress_is_said_at_a_limited_rate_and_only_when_it_moved():
    one = Reporter(FACTS)
    one.now(status=protocol.DOWNLOADING, request_id=1)
    assert words(one) == ["Downloading"]
    one.progress(PROGRESS_MS, 1, 4096)
    one.progress(PROGRESS_MS, 2, 8192)
    assert words(one) == ["Downloading"]
    one.progress(PROGRESS_MS + 1, 2, 8192)
    assert words(one) == []
    one.progress(2 * PROGRESS_MS, 2, 8192)
    one.progress(9 * PROGRESS_MS, 2, 8192)
    assert words(one) == ["Downloading"]


def test_a_device_that_is_offline_for_long_keeps_the_newest():
    one = Reporter(FACTS)
    for number in range(WAITING_MAX + 5):
        one.event("X{}".format(number), 1, "", "")
    found = words(one)
    assert len(found) == WAITING_MAX and found[-1] == "X{}".format(WAITING_MAX + 4)
    assert one.lost == 5


def test_what_is_under_way_is_never_the_one_to_go():
    one = Reporter(FACTS)
    one.event("first", 1, "", "")
    assert one.next_message() is not None
    for number in range(WAITING_MAX + 3):
        one.event("X{}".format(number), 1, "", "")
    one.sent()
    assert words(one)[-1] == "X{}".format(WAITING_MAX + 2)
