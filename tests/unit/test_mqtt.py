"""The MQTT client: golden packets out, strict about what comes in, whole over reconnects."""

from agent.net import mqtt
from agent.net.mqtt_out import TX_BYTES, MqttError
from tests.unit.expect import raises

CONNACK = b"\x20\x02\x00\x00"
CONNACK_RESUMED = b"\x20\x02\x01\x00"
WILL = ("ota/v1/CP/online", b"0", 1, True)


def client(rx_bytes=64, will=None, limit=65536):
    one = mqtt.Mqtt("CP", memoryview(bytearray(rx_bytes)), 30, will, limit)
    one.connect()
    return one


def connected(rx_bytes=64, limit=65536):
    one = client(rx_bytes, None, limit)
    sent(one)
    assert feed(one, CONNACK) == [(mqtt.CONNECTED, False)]
    return one


def sent(one):
    """What would go over the wire now; marks it as written."""
    data = bytes(one.outgoing())
    one.wrote(len(data))
    return data


def feed(one, data, step=1000, accept=True):
    """Put bytes in, at most `step` at once; the events that they make."""
    events = []
    at = 0
    while at < len(data):
        room = one.get_buffer()
        count = min(len(room), step, len(data) - at)
        room[:count] = data[at : at + count]
        one.received(count)
        at += count
        events.extend(drain(one, accept))
    return events


def drain(one, accept=True):
    events = []
    event = one.event()
    while event != mqtt.NOTHING:
        events.append((event, detail_of(one, event)))
        if event == mqtt.MESSAGE:
            if not accept:
                break
            one.accept()
        event = one.event()
    return events


def detail_of(one, event):
    if event == mqtt.CONNECTED:
        return one.session_present
    if event == mqtt.MESSAGE:
        return (one.topic, bytes(one.payload), one.retained)
    if event == mqtt.SKIPPED:
        return (one.topic, one.skipped_bytes)
    return one.topic_sent if event == mqtt.ACKNOWLEDGED else None


def test_connect_golden_bytes():
    assert sent(client()) == b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x1e\x00\x02CP"


def test_connect_with_will_golden_bytes():
    assert sent(client(will=WILL)) == (
        b"\x10\x23\x00\x04MQTT\x04\x2c\x00\x1e\x00\x02CP\x00\x10ota/v1/CP/online\x00\x010"
    )


def test_a_clean_session_is_one_flag():
    one = client()
    one.connect(clean_session=True)
    assert sent(one)[9] == 0x02


def test_subscribe_golden_bytes():
    one = connected()
    one.subscribe([("a/b", 1), ("c", 0)])
    assert sent(one) == b"\x82\x0c\x00\x01\x00\x03a/b\x01\x00\x01c\x00"
    assert feed(one, b"\x90\x04\x00\x01\x01\x00") == [(mqtt.SUBSCRIBED, None)]


def test_publish_golden_bytes():
    one = connected()
    assert one.publish("a/b", b"xyz", 0, False)
    assert one.publish("a", b"", 0, True)
    assert sent(one) == b"\x30\x08\x00\x03a/bxyz" + b"\x31\x03\x00\x01a"
    assert one.publish("a/b", b"q" * 200, 1, True)
    assert sent(one) == b"\x33\xcf\x01\x00\x03a/b\x00\x01" + b"q" * 200


def test_the_length_grows_to_two_bytes_at_128():
    one = connected()
    one.publish("t", b"x" * 124, 0, False)
    assert sent(one)[:2] == b"\x30\x7f"
    one.publish("t", b"x" * 125, 0, False)
    assert sent(one)[:3] == b"\x30\x80\x01"


def test_ping_and_goodbye_golden_bytes():
    one = connected()
    one.ping()
    one.disconnect()
    assert sent(one) == b"\xc0\x00\xe0\x00"
    assert feed(one, b"\xd0\x00") == [(mqtt.PONG, None)]


def test_nothing_is_published_before_the_broker_took_us():
    one = client()
    assert not one.publish("a", b"x", 0, False)
    assert not one.publish("a", b"x", 1, False)


def test_one_publish_is_in_flight_until_its_acknowledgement():
    one = connected()
    assert one.publish("first", b"1", 1, False) and one.in_flight
    assert not one.publish("second", b"2", 1, False)
    assert one.publish("third", b"3", 0, False)
    assert feed(one, b"\x40\x02\x00\x09") == [(mqtt.PONG, None)] and one.in_flight
    assert feed(one, b"\x40\x02\x00\x01") == [(mqtt.ACKNOWLEDGED, "first")]
    assert not one.in_flight
    assert one.publish("second", b"2", 1, False)


def test_what_was_in_flight_is_sent_again_after_a_reconnect():
    one = connected()
    one.publish("a", b"x", 1, False)
    assert sent(one) == b"\x32\x06\x00\x01a\x00\x01x"
    one.connect()
    sent(one)
    assert feed(one, CONNACK_RESUMED) == [(mqtt.CONNECTED, True)]
    assert sent(one) == b"\x3a\x06\x00\x01a\x00\x01x"
    one.connect()
    sent(one)
    feed(one, CONNACK)
    assert sent(one) == b"\x32\x06\x00\x01a\x00\x01x"
    assert feed(one, b"\x40\x02\x00\x01") == [(mqtt.ACKNOWLEDGED, "a")]


def test_packet_ids_go_round_past_the_one_in_flight():
    one = connected()
    one.publish("a", b"", 1, False)
    sent(one)
    one._last_id = 0xFFFD
    for expected in (0xFFFE, 0xFFFF, 2, 3):
        one.subscribe([("t", 0)])
        data = sent(one)
        assert data[2] << 8 | data[3] == expected


def test_a_message_lies_in_the_callers_buffer():
    buffer = memoryview(bytearray(64))
    one = mqtt.Mqtt("CP", buffer, 30)
    one.connect()
    sent(one)
    feed(one, CONNACK)
    assert feed(one, b"\x31\x06\x00\x01txyz") == [(mqtt.MESSAGE, ("t", b"xyz", True))]
    assert bytes(buffer[:3]) == b"xyz"
    assert sent(one) == b""


def test_a_message_is_acknowledged_only_when_it_was_accepted():
    one = connected()
    packet = b"\x32\x06\x00\x01t\x12\x34x"
    assert feed(one, packet, accept=False) == [(mqtt.MESSAGE, ("t", b"x", False))]
    assert one.event() == mqtt.MESSAGE
    assert sent(one) == b""
    raises(MqttError, "NOT_ACCEPTED", one.get_buffer)
    one.accept()
    one.accept()
    assert sent(one) == b"\x40\x02\x12\x34"
    assert one.event() == mqtt.NOTHING


def test_a_message_fills_the_buffer_to_the_last_byte_and_a_longer_one_goes_by():
    one = connected(rx_bytes=200)
    for step in (1, 7, 1000):
        fits = publish(b"t", b"f" * 200)
        longer = publish(b"t", b"g" * 201, qos=1)
        assert feed(one, fits + longer + fits, step) == [
            (mqtt.MESSAGE, ("t", b"f" * 200, False)),
            (mqtt.SKIPPED, ("t", 201)),
            (mqtt.MESSAGE, ("t", b"f" * 200, False)),
        ]
        assert sent(one) == b"\x40\x02\x00\x07"  # or the broker sends it again for ever


def publish(topic, payload, qos=0, flags=0):
    body = bytes((len(topic) >> 8, len(topic) & 0xFF)) + topic
    body += (b"\0\7" if qos else b"") + payload
    length = len(body)
    head = bytes((0x30 | qos << 1 | flags,))
    while length > 127:
        head += bytes((length & 127 | 128,))
        length >>= 7
    return head + bytes((length,)) + body


def test_any_split_of_the_stream_gives_the_same_events():
    stream = CONNACK + publish(b"data", b"d" * 150) + b"\xd0\0" + publish(b"offer", b"", 1)
    stream += publish(b"data", b"e" * 20) + publish(b"data", b"long" * 60) + b"\x40\x02\x00\x05"
    whole = feed(client(rx_bytes=150), stream)
    assert [event for event, _ in whole] == [
        mqtt.CONNECTED,
        mqtt.MESSAGE,
        mqtt.PONG,
        mqtt.MESSAGE,
        mqtt.MESSAGE,
        mqtt.SKIPPED,
        mqtt.PONG,
    ]
    for step in range(1, 40):
        assert feed(client(rx_bytes=150), stream, step) == whole


def test_a_half_packet_is_forgotten_at_a_new_connection():
    one = connected()
    feed(one, b"\x30\x7f\x00\x01tabc")
    one.connect()
    sent(one)
    assert feed(one, CONNACK) == [(mqtt.CONNECTED, False)]
    assert feed(one, publish(b"t", b"x")) == [(mqtt.MESSAGE, ("t", b"x", False))]


def test_what_no_server_may_send_ends_the_connection():
    for code, data in (
        ("UNEXPECTED", b"\x10\x00"),  # CONNECT
        ("UNEXPECTED", b"\x00"),
        ("UNEXPECTED", b"\xf0"),
        ("UNEXPECTED", b"\x50\x02\x00\x01"),  # PUBREC: there is no QoS 2 here
        ("UNEXPECTED", b"\xe0\x00"),
        ("UNEXPECTED", CONNACK),  # a second one
        ("BAD_FLAGS", b"\x41\x02\x00\x01"),
        ("BAD_FLAGS", b"\xd8\x00"),
        ("BAD_FLAGS", b"\x38\x03\x00\x01t"),  # DUP at QoS 0
        ("BAD_QOS", b"\x34\x05\x00\x01t\x00\x01"),
        ("BAD_QOS", b"\x36\x05\x00\x01t\x00\x01"),
        ("BAD_LENGTH", b"\x30\xff\xff\xff\xff\x01"),
        ("BAD_LENGTH", b"\xd0\x80\x00"),
        ("PACKET_TOO_LARGE", b"\x30\xff\xff\x7f"),
        ("BAD_TOPIC", b"\x30\x02\x00\x00"),
        ("BAD_TOPIC", publish(b"t" * 129, b"")),
        ("BAD_TOPIC", publish(b"a/#", b"")),
        ("BAD_TOPIC", publish(b"a/+/b", b"")),
        ("BAD_TOPIC", publish(b"a\x1f", b"")),
        ("BAD_TOPIC", publish(b"a\x7f", b"")),
        ("BAD_TOPIC", publish(b"\xc0\x80", b"")),
        ("BAD_TOPIC", publish(b"\xed\xa0\x80", b"")),
        ("BAD_PACKET", b"\x30\x00"),
        ("BAD_PACKET", b"\x30\x03\x00\x05top"),
        ("BAD_PACKET", b"\x32\x04\x00\x01t\x01"),
        ("BAD_PACKET_ID", b"\x32\x05\x00\x01t\x00\x00"),
        ("BAD_PACKET_ID", b"\x40\x02\x00\x00"),
        ("BAD_PACKET", b"\x40\x03\x00\x01\x00"),
        ("BAD_PACKET", b"\x40\x81\x02"),
        ("BAD_PACKET", b"\xd0\x01\x00"),
        ("BAD_PACKET", b"\x90\x03\x00\x01\x00"),  # answers no question
    ):
        for step in (1, 1000):
            raises(MqttError, code, feed, connected(), data, step)


def test_topics_are_of_printable_ascii():
    assert feed(connected(), publish(b' ~"', b"")) == [(mqtt.MESSAGE, (' ~"', b"", False))]
    assert feed(connected(), publish(b"t" * 128, b""))[0][0] == mqtt.MESSAGE


def test_a_packet_at_the_limit_passes_and_one_byte_more_does_not():
    limit = len(publish(b"t", b"x" * 300))
    assert feed(connected(limit=limit), publish(b"t", b"x" * 300)) == [(mqtt.SKIPPED, ("t", 300))]
    raises(MqttError, "PACKET_TOO_LARGE", feed, connected(limit=limit), publish(b"t", b"x" * 301))


def test_the_broker_says_no():
    error = raises(MqttError, "REFUSED", feed, client(), b"\x20\x02\x00\x05")
    assert error.detail == "not authorised"
    assert raises(MqttError, "REFUSED", feed, client(), b"\x20\x02\x00\x63").detail == "99"


def test_a_connection_begins_with_a_sound_connack():
    for code, data in (
        ("UNEXPECTED", b"\xd0\x00"),
        ("UNEXPECTED", publish(b"t", b"x")),
        ("BAD_PACKET", b"\x20\x02\x02\x00"),
        ("BAD_PACKET", b"\x20\x03\x00\x00\x00"),
        ("BAD_PACKET", b"\x20\x01\x00"),
    ):
        raises(MqttError, code, feed, client(), data)
    one = client()
    one.connect(clean_session=True)
    raises(MqttError, "BAD_PACKET", feed, one, CONNACK_RESUMED)


def test_a_refused_or_foreign_suback():
    for code, data in (
        ("SUBSCRIBE_REFUSED", b"\x90\x04\x00\x01\x01\x80"),
        ("SUBSCRIBE_REFUSED", b"\x90\x04\x00\x01\x80\x00"),
        ("BAD_QOS", b"\x90\x04\x00\x01\x01\x02"),
        ("BAD_PACKET_ID", b"\x90\x04\x00\x02\x01\x00"),
        ("BAD_PACKET", b"\x90\x03\x00\x01\x01"),
    ):
        one = connected()
        one.subscribe([("a", 1), ("b", 0)])
        raises(MqttError, code, feed, one, data)


def test_the_outgoing_buffer_is_bounded():
    one = connected()
    raises(MqttError, "PACKET_TOO_LARGE", one.publish, "t", bytes(TX_BYTES), 0, False)
    count = 0
    while one.publish("t", bytes(100), 0, False):
        count += 1
    assert 10 < count < TX_BYTES // 100
    for _ in range(16):  # acknowledgements still fit
        feed(one, publish(b"t", b"", 1))
    assert len(one.outgoing()) <= TX_BYTES
    raises(MqttError, "TX_FULL", feed, one, publish(b"t", b"", 1) * 40)


def test_what_was_half_written_goes_on_at_its_place():
    one = connected()
    one.publish("t", b"first", 0, False)
    one.wrote(4)
    one.publish("t", b"second", 0, False)
    assert sent(one) == publish(b"t", b"first")[4:] + publish(b"t", b"second")
