"""The MQTT client against brokers that split, corrupt and invent: only MqttError ever escapes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.net import mqtt
from agent.net.mqtt_out import TX_BYTES, MqttError
from tests.unit.test_mqtt import CONNACK, detail_of, publish

RX_BYTES = 96
TOPICS = st.sampled_from([b"t", b"ota/v1/CP-0001/data", b"x" * 128])


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """One packet that a server may send at any time."""
    kind = draw(st.sampled_from(["publish", "publish", "puback", "pong"]))
    if kind == "puback":
        return b"\x40\x02" + draw(st.integers(1, 0xFFFF)).to_bytes(2, "big")
    if kind == "pong":
        return b"\xd0\x00"
    payload = draw(st.binary(max_size=2 * RX_BYTES))
    qos = draw(st.integers(0, 1))
    return publish(draw(TOPICS), payload, qos, draw(st.integers(0, 1)))


def run(stream: bytes, splits: list[int]) -> tuple[list[object], bytes, str]:
    """(events, what was answered, code of the error that ended it) of a stream in these pieces."""
    one = mqtt.Mqtt("CP", memoryview(bytearray(RX_BYTES)), 30)
    one.connect()
    one.wrote(len(one.outgoing()))
    events: list[object] = []
    answers = b""
    at = turn = 0
    try:
        while at < len(stream):
            room = one.get_buffer()
            count = min(len(room), len(stream) - at, splits[turn % len(splits)])
            room[:count] = stream[at : at + count]
            one.received(count)
            at, turn = at + count, turn + 1
            while event := one.event():
                events.append((event, detail_of(one, event)))
                one.accept()
            assert len(one.outgoing()) <= TX_BYTES
            answers += bytes(one.outgoing())
            one.wrote(len(one.outgoing()))
    except MqttError as error:
        return events, answers, error.code
    return events, answers, ""


SPLITS = st.lists(st.integers(1, 200), min_size=1, max_size=20)


@given(st.lists(packets(), max_size=12), SPLITS)
def test_events_do_not_depend_on_how_the_bytes_arrive(
    stream: list[bytes], splits: list[int]
) -> None:
    whole = CONNACK + b"".join(stream)
    events, answers, code = run(whole, splits)
    assert (events, answers, code) == run(whole, [len(whole)])
    assert code == "" and len(events) == 1 + len(stream)


@settings(max_examples=500)
@given(
    st.lists(packets(), min_size=1, max_size=6),
    SPLITS,
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_a_damaged_stream_ends_alike_however_it_is_split(
    stream: list[bytes], splits: list[int], damage: list[tuple[int, int]]
) -> None:
    whole = bytearray(CONNACK + b"".join(stream))
    for at, mask in damage:
        whole[at % len(whole)] ^= mask
    assert run(bytes(whole), splits)[0] == run(bytes(whole), [1])[0]


@settings(max_examples=1000)
@given(st.booleans(), st.binary(max_size=400), SPLITS)
def test_garbage_raises_nothing_but_mqtt_errors(
    after_connack: bool, garbage: bytes, splits: list[int]
) -> None:
    run((CONNACK if after_connack else b"") + garbage, splits)
