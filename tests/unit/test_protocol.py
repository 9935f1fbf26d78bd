"""Messages between agent and server: what goes in comes out, what is malformed is refused."""

from agent import protocol
from tests.unit.expect import raises

ID = bytes(range(16))
OTHER = bytes(range(16, 32))


def status(**changes):
    base = {
        "v": 1,
        "status": "Downloading",
        "request_id": 7,
        "reason": "",
        "detail": "",
        "version": "1.0.0+0",
        "slot": "A",
        "mode": "confirmed",
        "epoch": 1,
        "blocks": 10,
        "blocks_done": 3,
        "bytes_fetched": 4096,
        "attempt": 0,
        "seq": 5,
    }
    base.update(changes)
    return base


def test_topic_and_back():
    assert protocol.topic("CP-0001", protocol.GET) == "ota/v1/CP-0001/get"
    assert protocol.parse_topic("ota/v1/CP-0001/get") == ("CP-0001", "get")


def test_foreign_topics_are_none():
    for text in ("ota/v2/CP/get", "ota/v1/CP/get/x", "ota/v1//get", "ota/v1/CP/shell", "get"):
        assert protocol.parse_topic(text) is None
    assert protocol.parse_topic("ota/v1/../get") is None


def test_names_never_become_paths():
    for good in ("a", "CP-0001", "x.y_z", "A" * 64):
        assert protocol.is_name(good)
    for bad in ("", ".", "..", ".hidden", "a/b", "a\x00", "%2e", "A" * 65, "ü", 5, None):
        assert not protocol.is_name(bad)


def test_get_golden_bytes():
    packed = protocol.pack_get(0x1234, protocol.KIND_BLOCK, ID, [(1, 8), (0x01020304, 2)])
    assert (
        packed
        == b"\x34\x12\x01\x02" + ID + b"\x01\x00\x00\x00\x08\x00" + b"\x04\x03\x02\x01\x02\x00"
    )


def test_get_round_trip():
    get = protocol.parse_get(memoryview(protocol.pack_get(9, protocol.KIND_PAGE, ID, [(3, 1)])))
    assert (get.nonce, get.kind, get.artifact_id, get.ranges) == (9, 0, ID, [(3, 1)])


def test_get_refuses_what_is_malformed():
    good = protocol.pack_get(9, protocol.KIND_BLOCK, ID, [(3, 1)])
    for bad in (
        b"",
        good[:-1],
        good + b"\0",
        good[:2] + b"\x02" + good[3:],
        good[:3] + b"\x02" + good[4:],
    ):
        raises(protocol.ProtocolError, "BAD_MESSAGE", protocol.parse_get, bad)
    raises(protocol.ProtocolError, "BAD_MESSAGE", protocol.parse_get, good[:-2] + b"\0\0")
    raises(protocol.ProtocolError, "BAD_MESSAGE", protocol.pack_get, 1, 1, ID, [])
    raises(protocol.ProtocolError, "BAD_MESSAGE", protocol.pack_get, 1, 1, ID, [(0, 1)] * 9)


def test_data_golden_bytes():
    packed = protocol.pack_data(0x0102, protocol.KIND_BLOCK, 5, b"123456789")
    assert packed == b"\x02\x01\x01\x00\x05\x00\x00\x00\x09\x00\x00\x00\x26\x39\xf4\xcb123456789"


def test_data_header_round_trip_and_crc():
    message = memoryview(protocol.pack_data(3, protocol.KIND_PAGE, 2, b"abc"))
    nonce, kind, flags, number, length, crc = protocol.parse_data_header(message)
    assert (nonce, kind, flags, number, length) == (3, 0, 0, 2, 3)
    assert protocol.crc_holds(crc, message[16:])
    assert not protocol.crc_holds(crc, b"abd")


def test_data_header_with_a_wrong_length_is_none():
    message = protocol.pack_data(3, protocol.KIND_BLOCK, 2, b"abc")
    for bad in (b"", message[:15], message[:-1], message + b"x", b"<html>not ours</html>"):
        assert protocol.parse_data_header(bad) is None


def test_a_data_header_with_a_flag_or_an_unknown_kind_is_none():
    """They are for later agents: this one would not know what the payload is."""
    message = protocol.pack_data(3, protocol.KIND_BLOCK, 2, b"abc")
    for at, value in ((3, 1), (3, 0x80), (2, protocol.KIND_BUSY + 1), (2, 0xFF)):
        changed = message[:at] + bytes([value]) + message[at + 1 :]
        assert protocol.parse_data_header(changed) is None


def test_index_entry_round_trip():
    packed = protocol.pack_entry(4096, protocol.DEFLATE, ID, OTHER)
    assert len(packed) == protocol.ENTRY_BYTES
    page = memoryview(packed + packed[:2] + b"\0\0" + ID + ID)
    assert protocol.parse_entry(page, 0) == (4096, 1, 0, ID, OTHER)
    assert protocol.parse_entry(page, 1) == (4096, 0, 0, ID, ID)


def test_page_arithmetic():
    assert protocol.PAGE_BYTES_MAX == 1008
    assert [protocol.page_count(n) for n in (1, 28, 29, 56, 57)] == [1, 1, 2, 2, 3]
    assert protocol.page_bytes(0, 30) == 1008
    assert protocol.page_bytes(1, 30) == 72


def test_artifact_id_hangs_on_every_page_in_order():
    a, b = bytes(32), bytes([1] * 32)
    ids = {protocol.artifact_id(p) for p in ([a], [b], [a, b], [b, a])}
    assert len(ids) == 4
    assert protocol.artifact_id([a, b]) == protocol.artifact_id([memoryview(a + b)])
    assert len(protocol.artifact_id([a])) == 16


def test_status_round_trip():
    assert protocol.parse_status(protocol.pack_status(status())) == status()


def test_status_has_one_shape():
    missing = status()
    del missing["slot"]
    wrong = [missing, status(extra=1), status(epoch="1"), status(status="Done"), status(v=2)]
    wrong.append(status(request_id=True))
    for bad in wrong:
        raises(protocol.ProtocolError, "BAD_STATUS", protocol.pack_status, bad)


def test_status_words_are_the_14_of_ocpp():
    assert len(set(protocol.STATUSES)) == 14
    assert set(protocol.ENDS) <= set(protocol.STATUSES)


def test_json_that_is_none():
    for bad in (b"", b"{", b"[]", b"\xff{}", b" " * 2000, b"[" * 1000):
        raises(protocol.ProtocolError, "BAD_MESSAGE", protocol.parse_status, bad)


def test_t42_a_message_above_its_limit_is_not_parsed():
    for packed, limit, parse in (
        (protocol.pack_status(status()), protocol.STATUS_BYTES_MAX, protocol.parse_status),
        (protocol.pack_event("e", 1, "c", "d"), protocol.EVENT_BYTES_MAX, protocol.parse_event),
        (protocol.pack_cmd("status"), protocol.CMD_BYTES_MAX, protocol.parse_cmd),
    ):
        full = packed + b" " * (limit - len(packed))
        assert parse(full)
        assert raises(protocol.ProtocolError, "BAD_MESSAGE", parse, full + b" ").detail == "size"


def test_event_is_cut_and_plain():
    event = protocol.parse_event(
        protocol.pack_event("OfferRejected", 3, "REPLAY", "ü\n" + "x" * 500)
    )
    assert event["detail"].startswith("??xxx") and len(event["detail"]) == 120
    assert (event["event"], event["request_id"], event["code"]) == ("OfferRejected", 3, "REPLAY")
    raises(protocol.ProtocolError, "BAD_MESSAGE", protocol.parse_event, b'{"v":1}')


def test_commands():
    assert protocol.parse_cmd(protocol.pack_cmd("cancel", 7)) == ("cancel", 7)
    assert protocol.parse_cmd(protocol.pack_cmd("status")) == ("status", 0)
    for bad in (b'{"cmd":"reboot","request_id":1}', b'{"cmd":"cancel","request_id":"1"}'):
        raises(protocol.ProtocolError, "BAD_MESSAGE", protocol.parse_cmd, bad)
    for text in (
        b'{"v":2,"cmd":"cancel","request_id":7}',
        b'{"cmd":"cancel","request_id":7}',
        b'{"v":1,"cmd":"cancel","request_id":7,"more":1}',
    ):
        raises(protocol.ProtocolError, "BAD_MESSAGE", protocol.parse_cmd, text)


def test_reasons_fit_ocpp():
    assert all(len(reason) <= 20 for reason in protocol.REASON_OF.values())
    assert protocol.reason_of("WRONG_HW") == "WrongHardware"
    assert protocol.reason_of("no such code") == "InternalError"
