"""MQTT 3.1.1 client without I/O: bytes in, events out; packets to send wait in one buffer.

    loop:  read into get_buffer(), received(n), then event() until it says NOTHING
           a MESSAGE stays until accept(), which also acknowledges it
           write outgoing() in one call, wrote(n)

What a broker sends is checked strictly: whatever is not a well-formed packet that a server may send
now is an MqttError, and the connection is to be dropped. A payload goes straight into the caller's
buffer. RAM: HEAD_BYTES and mqtt_out.TX_BYTES, allocated once, whatever comes in.

QoS 0 and 1 both ways. One QoS 1 publish is in flight at a time; it is sent again, with DUP where
the broker kept the session, until it is acknowledged, over any number of connections.

Topics are printable ASCII without wildcards, as PROTOCOL.md has them; other UTF-8 is refused.
"""

from agent.net.mqtt_out import PUBLISH_BYTES_MAX, MqttError, Outgoing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    Buffer = bytes | bytearray | memoryview

# --- what event() says ------------------------------------------------------------------------
NOTHING = 0
CONNECTED = 1  # `session_present` tells whether the broker kept our subscriptions
SUBSCRIBED = 2
MESSAGE = 3  # `topic`, `payload`, `retained`; stays until accept()
SKIPPED = 4  # a message too long for the buffer went by: `topic`, `skipped_bytes`
ACKNOWLEDGED = 5  # the publish in flight arrived: `topic_sent`
PONG = 6

# --- limits -----------------------------------------------------------------------------------
TOPIC_BYTES_MAX = 128
HEAD_BYTES = 160  # longest fixed header (5) + topic (2 + 128) + packet id (2), and some payload
PACKET_BYTES_MAX = 65_536  # a broker that sends more is not ours

# --- packet types (first byte, upper half) ----------------------------------------------------
_CONNECT, _CONNACK, _PUBLISH, _PUBACK = 1, 2, 3, 4
_SUBSCRIBE, _SUBACK, _PINGREQ, _PINGRESP, _DISCONNECT = 8, 9, 12, 13, 14

# Where the parser is: in a header or small packet, in a payload, in a skipped one, at its end.
_HEAD, _BODY, _SKIP, _READY = 0, 1, 2, 3
_REFUSALS = (
    "",
    "protocol version",
    "client id",
    "server unavailable",
    "user or password",
    "not authorised",
)


class Mqtt:
    """One client; `connect` begins every connection.

    `rx`: takes payloads; a longer message is skipped and reported. `will`: (topic, payload, qos,
    retain). `packet_limit`: most bytes of a packet.
    """

    def __init__(
        self,
        client_id: str,
        rx: memoryview,
        keepalive_s: int,
        will: "tuple[str, bytes, int, bool] | None" = None,
        packet_limit: int = PACKET_BYTES_MAX,
    ) -> None:
        self._client_id = client_id
        self._keepalive_s = keepalive_s
        self._will = will
        self._limit = packet_limit
        self._rx = rx
        self._head = memoryview(bytearray(HEAD_BYTES))
        self._out = Outgoing()
        self._last_id = 0
        self._flight: "tuple[str, Buffer, bool, int] | None" = None
        self._topic_raw = bytearray(0)
        self.topic = self.topic_sent = ""
        self.payload = rx[:0]
        self.retained = self.session_present = False
        self.skipped_bytes = 0
        self._begin()

    def _begin(self) -> None:
        self._state = _HEAD
        self._have = self._got = self._size = 0
        self._out.clear()
        self._ack_id = self._subscribe_id = self._subscribe_count = 0
        self._open = self._clean = False

    # --- what the caller asks for -------------------------------------------------------------
    def connect(self, clean_session: bool = False) -> None:
        """Begin a connection: forgets half packets of the last one, keeps the publish in flight.

        `clean_session` True also makes the broker forget what it queued for us.
        """
        self._begin()
        self._clean = clean_session
        flags = 0x02 if clean_session else 0
        size = 12 + len(self._client_id)
        if self._will:
            topic, payload, qos, retain = self._will
            flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
            size += 4 + len(topic) + len(payload)
        self._out.packet(_CONNECT << 4, size)
        self._out.raw(b"\0\4MQTT\4" + bytes((flags,)))
        self._out.u16(self._keepalive_s)
        self._out.text(self._client_id.encode())
        if self._will:
            self._out.text(self._will[0].encode())
            self._out.text(self._will[1])

    def subscribe(self, topics: "Sequence[tuple[str, int]]") -> None:
        """Ask for (topic, QoS) each; SUBSCRIBED when the broker granted all of them."""
        size = 2 + sum([3 + len(topic) for topic, _ in topics])
        self._out.packet(_SUBSCRIBE << 4 | 2, size)
        self._subscribe_id = self._next_id()
        self._subscribe_count = len(topics)
        self._out.u16(self._subscribe_id)
        for topic, qos in topics:
            self._out.text(topic.encode())
            self._out.raw(bytes((qos,)))

    def publish(self, topic: str, payload: "Buffer", qos: int, retain: bool) -> bool:
        """Put a message into the outgoing buffer; False if it has to wait, try again later.

        At QoS 1 it is ours until ACKNOWLEDGED, `payload` included: do not change it.
        """
        if not self._open or (qos and self._flight) or not self._fits(topic, payload):
            return False
        if not qos:
            self._put_publish(0x01 if retain else 0, topic, payload, 0)
            return True
        self._flight = (topic, payload, retain, self._next_id())
        self._send_flight(False)
        return True

    def _fits(self, topic: str, payload: "Buffer") -> bool:
        size = 9 + len(topic) + len(payload)
        if size > PUBLISH_BYTES_MAX:
            raise MqttError("PACKET_TOO_LARGE", "{} bytes on {}".format(len(payload), topic))
        return size <= self._out.room()

    @property
    def in_flight(self) -> bool:
        """True while a QoS 1 publish waits for its acknowledgement."""
        return self._flight is not None

    def ping(self) -> None:
        """Ask the broker for a sign of life: PONG."""
        self._out.packet(_PINGREQ << 4, 0)

    def disconnect(self) -> None:
        """Say goodbye: the broker forgets the will."""
        self._out.packet(_DISCONNECT << 4, 0)

    # --- bytes to send ------------------------------------------------------------------------
    @property
    def has_outgoing(self) -> bool:
        """True while bytes wait to be written."""
        return self._out.end > 0

    def outgoing(self) -> memoryview:
        """All bytes that wait, to be written in one call; empty if none do."""
        return self._out.waiting()

    def wrote(self, count: int) -> None:
        """The first `count` outgoing bytes were written."""
        self._out.drop(count)

    # --- bytes that came ----------------------------------------------------------------------
    def get_buffer(self) -> memoryview:
        """Where the next bytes belong: fill as much of it as there is, never more."""
        if self._state == _HEAD:
            return self._head[self._have :]
        if self._state == _BODY:
            return self._rx[self._got : self._size]
        if self._state == _SKIP:
            return self._rx[: self._size - self._got]
        raise MqttError("NOT_ACCEPTED", "a message waits")

    def received(self, count: int) -> None:
        """`count` bytes were put into `get_buffer()`. Then ask event() until it says NOTHING."""
        if self._state == _HEAD:
            self._have += count
        else:
            self._got += count

    def event(self) -> int:
        """What has happened: one of the constants above. MqttError: drop the connection."""
        if self._state == _HEAD:
            found = self._parse()
            if self._state == _HEAD:
                return found
        if self._state == _BODY and self._got == self._size:
            self.payload = self._rx[: self._size]
            self._state = _READY
        if self._state == _READY:
            return MESSAGE
        if self._state == _SKIP and self._got == self._size:
            self._done()
            return SKIPPED
        return NOTHING

    def accept(self) -> None:
        """The caller is done with the message: its buffer is free, the broker may forget it."""
        if self._state == _READY:
            self._done()

    def _done(self) -> None:
        self._state = _HEAD
        if self._ack_id:
            self._out.packet(_PUBACK << 4, 2)
            self._out.u16(self._ack_id)
            self._ack_id = 0

    # --- parser -------------------------------------------------------------------------------
    def _parse(self) -> int:
        """One packet from the head buffer; NOTHING if it is not all there or is a PUBLISH."""
        if not self._have:
            return NOTHING
        kind = self._head[0] >> 4
        self._check_first_byte(kind, self._head[0] & 15)
        length = self._remaining_length()
        if length < 0:
            return NOTHING
        start = self._start
        if start + length > self._limit:
            raise MqttError("PACKET_TOO_LARGE", "{} bytes".format(start + length))
        if kind == _PUBLISH:
            return self._parse_publish(start, length)
        return self._parse_small(kind, start, length)

    def _check_first_byte(self, kind: int, flags: int) -> None:
        """The first byte alone decides most of what is not for us."""
        if kind not in (_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP):
            raise MqttError("UNEXPECTED", "packet type {}".format(kind))
        if self._open == (kind == _CONNACK):
            raise MqttError("UNEXPECTED", "CONNACK comes first, and once")
        if kind != _PUBLISH:
            if flags:
                raise MqttError("BAD_FLAGS", "packet type {}".format(kind))
        elif flags & 6 > 2:
            raise MqttError("BAD_QOS", str(flags >> 1 & 3))
        elif flags & 14 == 8:
            raise MqttError("BAD_FLAGS", "DUP at QoS 0")

    def _remaining_length(self) -> int:
        """The remaining length; -1 if it is not all there. Sets where the packet goes on."""
        length = 0
        for at in range(1, min(self._have, 5)):
            byte = self._head[at]
            length |= (byte & 0x7F) << (7 * (at - 1))
            if byte < 0x80:
                if at > 1 and not byte:
                    raise MqttError("BAD_LENGTH", "not the shortest form")
                self._start = at + 1
                return length
        if self._have >= 5:
            raise MqttError("BAD_LENGTH", "more than four bytes")
        return -1

    def _parse_publish(self, start: int, length: int) -> int:
        qos = self._head[0] >> 1 & 3
        if length < 2:
            raise MqttError("BAD_PACKET", "PUBLISH without topic")
        if self._have < start + 2:
            return NOTHING
        topic_bytes = self._head[start] << 8 | self._head[start + 1]
        if not 0 < topic_bytes <= TOPIC_BYTES_MAX:
            raise MqttError("BAD_TOPIC", "{} bytes".format(topic_bytes))
        head_bytes = 2 + topic_bytes + 2 * qos
        if length < head_bytes:
            raise MqttError("BAD_PACKET", "PUBLISH is too short")
        if self._have < start + head_bytes:
            return NOTHING
        self._take_topic(self._head[start + 2 : start + 2 + topic_bytes])
        self._ack_id = self._packet_id(start + head_bytes - 2) if qos else 0
        self.retained = bool(self._head[0] & 1)
        self._begin_payload(start + head_bytes, length - head_bytes)
        return NOTHING

    def _take_topic(self, raw: memoryview) -> None:
        if raw == self._topic_raw:  # most messages have the topic of the one before
            return
        for byte in raw:
            if not 0x20 <= byte <= 0x7E or byte == 0x2B or byte == 0x23:  # + and #
                raise MqttError("BAD_TOPIC", "byte 0x{:02x}".format(byte))
        self._topic_raw = bytearray(raw)
        self.topic = bytes(raw).decode()

    def _begin_payload(self, at: int, size: int) -> None:
        """The payload begins at `at` of the head buffer: what is there of it moves to its place."""
        self._size = size
        if size > len(self._rx):
            self._state = _SKIP
            self.skipped_bytes = size
        else:
            self._state = _BODY
        self._got = min(self._have - at, size)
        if self._state == _BODY:
            self._rx[: self._got] = self._head[at : at + self._got]
        self._drop_head(at + self._got)

    def _parse_small(self, kind: int, start: int, length: int) -> int:
        if start + length > HEAD_BYTES:
            raise MqttError("BAD_PACKET", "{} bytes in packet type {}".format(length, kind))
        if self._have < start + length:
            return NOTHING
        if kind == _CONNACK:
            found = self._on_connack(start, length)
        elif kind == _PUBACK:
            found = self._on_puback(start, length)
        elif kind == _SUBACK:
            found = self._on_suback(start, length)
        elif length:
            raise MqttError("BAD_PACKET", "PINGRESP with a body")
        else:
            found = PONG
        self._drop_head(start + length)
        return found

    def _on_connack(self, start: int, length: int) -> int:
        if length != 2 or self._head[start] > 1:
            raise MqttError("BAD_PACKET", "CONNACK")
        code = self._head[start + 1]
        if code:
            raise MqttError("REFUSED", _REFUSALS[code] if code < len(_REFUSALS) else str(code))
        self.session_present = self._head[start] == 1
        if self.session_present and self._clean:
            raise MqttError("BAD_PACKET", "session kept though a clean one was asked for")
        self._open = True
        if self._flight:
            self._send_flight(self.session_present)
        return CONNECTED

    def _on_puback(self, start: int, length: int) -> int:
        if length != 2:
            raise MqttError("BAD_PACKET", "PUBACK")
        packet_id = self._packet_id(start)
        if self._flight is None or packet_id != self._flight[3]:
            return PONG  # a late second answer to a publish sent twice: a sign of life, no more
        self.topic_sent = self._flight[0]
        self._flight = None
        return ACKNOWLEDGED

    def _on_suback(self, start: int, length: int) -> int:
        if length < 3 or length != 2 + self._subscribe_count:
            raise MqttError("BAD_PACKET", "SUBACK")
        if self._packet_id(start) != self._subscribe_id:
            raise MqttError("BAD_PACKET_ID", "SUBACK")
        for at in range(start + 2, start + length):
            if self._head[at] == 0x80:
                raise MqttError("SUBSCRIBE_REFUSED", "topic {}".format(at - start - 2))
            if self._head[at] > 1:
                raise MqttError("BAD_QOS", "SUBACK")
        self._subscribe_id = self._subscribe_count = 0
        return SUBSCRIBED

    def _packet_id(self, at: int) -> int:
        found = self._head[at] << 8 | self._head[at + 1]
        if not found:
            raise MqttError("BAD_PACKET_ID", "0")
        return found

    def _drop_head(self, count: int) -> None:
        rest = self._have - count
        if rest:
            self._head[:rest] = self._head[count : self._have]
        self._have = rest

    # --- sending ------------------------------------------------------------------------------
    def _next_id(self) -> int:
        """1..65535, never that of the publish in flight."""
        self._last_id = self._last_id % 0xFFFF + 1
        if self._flight and self._last_id == self._flight[3]:
            self._last_id = self._last_id % 0xFFFF + 1
        return self._last_id

    def _send_flight(self, dup: bool) -> None:
        if self._flight:
            topic, payload, retain, packet_id = self._flight
            first = 0x02 | (0x08 if dup else 0) | (0x01 if retain else 0)
            self._put_publish(first, topic, payload, packet_id)

    def _put_publish(self, flags: int, topic: str, payload: "Buffer", packet_id: int) -> None:
        id_bytes = 2 if packet_id else 0
        self._out.packet(_PUBLISH << 4 | flags, 2 + len(topic) + id_bytes + len(payload))
        self._out.text(topic.encode())
        if packet_id:
            self._out.u16(packet_id)
        self._out.raw(payload)
