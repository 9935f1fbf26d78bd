"""Messages: what goes in comes out, and no bytes make a parser raise anything but ProtocolError."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent import protocol
from agent.protocol import ProtocolError
from tests.unit.test_protocol import status

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)
NAMES = st.text(protocol._NAME_CHARS, min_size=1, max_size=64).filter(lambda n: n[0] != ".")
PARSERS: list[Callable[[Any], object]] = [
    protocol.parse_get,
    protocol.parse_status,
    protocol.parse_event,
    protocol.parse_cmd,
]
MESSAGES = [
    protocol.pack_get(1, protocol.KIND_BLOCK, bytes(16), [(0, 1), (5, 2)]),
    protocol.pack_status(status()),
    protocol.pack_event("OfferRejected", 3, "REPLAY", "x"),
    protocol.pack_cmd("cancel", 7),
]


def refuses_or_takes(parser: Callable[[Any], object], payload: bytes) -> object | None:
    try:
        return parser(payload)
    except ProtocolError as error:
        assert error.code in ("BAD_MESSAGE", "BAD_STATUS")
        return None


@pytest.mark.parametrize("parser", PARSERS)
@given(st.binary(max_size=1100))
@example(b"[" * 1000)
@example(b'{"a":' * 200)
@example(b"\xff\xfe{\0}\0")
@example(b"9" * 1000)
@example(b'{"v": 1e400}')
@example(b'{"v": NaN}')
def test_any_bytes(parser: Callable[[Any], object], payload: bytes) -> None:
    refuses_or_takes(parser, payload)
    refuses_or_takes(parser, memoryview(payload).tobytes())


@pytest.mark.parametrize(("parser", "good"), list(zip(PARSERS, MESSAGES, strict=True)))
@given(data=st.data())
def test_a_good_message_with_some_other_bytes(
    parser: Callable[[Any], object], good: bytes, data: st.DataObject
) -> None:
    payload = bytearray(good)
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    refuses_or_takes(parser, bytes(payload))
    assert refuses_or_takes(parser, good[:cut]) is None or cut == len(good)


@given(JSON, st.sampled_from(sorted({*protocol.STATUS_FIELDS, *protocol.EVENT_FIELDS, "cmd"})))
def test_any_value_of_any_field(value: object, name: str) -> None:
    for parser, good in zip(PARSERS[1:], MESSAGES[1:], strict=True):
        fields = json.loads(good)
        fields[name] = value
        found = refuses_or_takes(parser, json.dumps(fields).encode())
        if isinstance(found, dict):
            assert all(type(found[key]) is type(json.loads(good)[key]) for key in found)
        elif found is not None:
            assert isinstance(found, tuple) and type(found[0]) is str and type(found[1]) is int


@given(JSON)
def test_any_json_object(value: object) -> None:
    for parser in PARSERS[1:]:
        refuses_or_takes(parser, json.dumps(value).encode())


# --- round trips ------------------------------------------------------------------------------------
@given(
    U16,
    st.sampled_from([protocol.KIND_PAGE, protocol.KIND_BLOCK]),
    st.binary(min_size=16, max_size=16),
    st.lists(st.tuples(U32, st.integers(1, 0xFFFF)), min_size=1, max_size=8),
)
def test_get(nonce: int, kind: int, artifact: bytes, ranges: list[tuple[int, int]]) -> None:
    packed = protocol.pack_get(nonce, kind, artifact, ranges)
    assert len(packed) <= protocol.GET_BYTES_MAX
    got = protocol.parse_get(packed)
    assert (got.nonce, got.kind, got.artifact_id, got.ranges) == (nonce, kind, artifact, ranges)


@given(st.binary(max_size=120))
def test_a_get_that_is_taken_is_the_one_that_packs_so(payload: bytes) -> None:
    got = refuses_or_takes(protocol.parse_get, payload)
    if isinstance(got, protocol.Get):
        assert protocol.pack_get(got.nonce, got.kind, got.artifact_id, got.ranges) == payload


@given(U16, st.integers(0, protocol.KIND_BUSY), U32, st.binary(max_size=300))
def test_data(nonce: int, kind: int, number: int, payload: bytes) -> None:
    message = protocol.pack_data(nonce, kind, number, payload)
    header = protocol.parse_data_header(message)
    assert header is not None and header[:5] == (nonce, kind, 0, number, len(payload))
    assert protocol.crc_holds(header[5], payload)
    for cut in (0, 15, len(message) - 1):
        assert protocol.parse_data_header(message[:cut]) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_data_message_or_none(message: bytes) -> None:
    header = protocol.parse_data_header(message)
    if header is not None:
        assert header[1] <= protocol.KIND_BUSY and header[2] == 0
        assert len(message) == protocol.DATA_HEADER_BYTES + header[4]


@given(NAMES, st.sampled_from(protocol.DOWN + protocol.UP))
def test_topic(device: str, leaf: str) -> None:
    assert protocol.parse_topic(protocol.topic(device, leaf)) == (device, leaf)


@given(st.text(max_size=40) | st.lists(st.text(max_size=5), max_size=6).map("/".join))
@example("ota/v1/./get")
@example("ota/v1/CP\n/get")
def test_any_text_is_a_topic_of_ours_or_none(text: str) -> None:
    found = protocol.parse_topic(text)
    assert found is None or protocol.topic(*found) == text


@given(st.sampled_from(protocol.STATUSES), st.integers(), st.text(max_size=30))
def test_status(word: str, number: int, detail: str) -> None:
    said = status(status=word, bytes_fetched=number, detail=detail)
    packed = protocol.pack_status(said)
    if len(packed) <= protocol.STATUS_BYTES_MAX:
        assert protocol.parse_status(packed) == said


@given(st.text(max_size=200), st.integers(0, 0x7FFFFFFF))
def test_an_event_fits_whatever_its_detail(detail: str, request_id: int) -> None:
    packed = protocol.pack_event(
        "InvalidFirmwareSignature", request_id, "DUPLICATE_REQUEST_ID", detail
    )
    assert len(packed) <= protocol.EVENT_BYTES_MAX
    event = protocol.parse_event(packed)
    assert event["detail"] == protocol.plain(detail) and event["request_id"] == request_id


@given(st.sampled_from([protocol.CMD_CANCEL, protocol.CMD_STATUS]), st.integers(0, 0x7FFFFFFF))
def test_command(cmd: str, request_id: int) -> None:
    assert protocol.parse_cmd(protocol.pack_cmd(cmd, request_id)) == (cmd, request_id)
