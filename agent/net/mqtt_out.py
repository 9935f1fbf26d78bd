"""MQTT packets on their way out: one buffer, allocated once, written in one call.

Several small writes a packet would meet Nagle and delayed ACK: 45 ms each time.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

TX_BYTES = 2048  # a status (1,024) with its topic, and what else waits with it
_KEPT_BYTES = 128  # never used by a publish: room for acknowledgements and pings
PUBLISH_BYTES_MAX = TX_BYTES - _KEPT_BYTES


class MqttError(Exception):
    """`.code` is stable:

    BAD_LENGTH, BAD_FLAGS, BAD_QOS, BAD_TOPIC, BAD_PACKET_ID, BAD_PACKET, UNEXPECTED: the broker
    broke the protocol. PACKET_TOO_LARGE: beyond the packet limit. REFUSED: it does not take us
    (`detail` says why). SUBSCRIBE_REFUSED. TX_FULL: the caller did not write what is outgoing.
    NOT_ACCEPTED: the caller reads on before it accepted a message.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code + (": " + detail if detail else ""))
        self.code = code
        self.detail = detail


class Outgoing:
    """Bytes that wait, `end` of them. `packet` begins one and makes sure that all of it fits."""

    def __init__(self) -> None:
        self._buf = memoryview(bytearray(TX_BYTES))
        self.end = 0

    def clear(self) -> None:
        """Forget what waits: the connection it was for is gone."""
        self.end = 0

    def waiting(self) -> memoryview:
        """All that waits."""
        return self._buf[: self.end]

    def drop(self, count: int) -> None:
        """The first `count` bytes are written."""
        rest = self.end - count
        if rest:
            self._buf[:rest] = self._buf[count : self.end]
        self.end = rest

    def room(self) -> int:
        """Bytes that a publish may take now."""
        return PUBLISH_BYTES_MAX - self.end

    def packet(self, first: int, length: int) -> None:
        """The fixed header of a packet with `length` bytes to follow; MqttError TX_FULL."""
        if self.end + 3 + length > TX_BYTES:
            raise MqttError("TX_FULL", "{} bytes wait".format(self.end))
        self._byte(first)
        if length > 0x7F:  # two bytes hold more than TX_BYTES
            self._byte(length & 0x7F | 0x80)
            length >>= 7
        self._byte(length)

    def u16(self, value: int) -> None:
        """A number, as MQTT writes them."""
        self._byte(value >> 8)
        self._byte(value & 0xFF)

    def text(self, raw: "Buffer") -> None:
        """A string with its length."""
        self.u16(len(raw))
        self.raw(raw)

    def raw(self, data: "Buffer") -> None:
        """Bytes as they are."""
        self._buf[self.end : self.end + len(data)] = data
        self.end += len(data)

    def _byte(self, value: int) -> None:
        self._buf[self.end] = value
        self.end += 1
