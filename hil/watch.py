"""What a device says on the broker, recorded in order, with waits that fail with the whole story.

Used by the demo, the scenarios and the system tests: it stands where the fleet stands, so what it
has not seen an operator would not have seen either.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent import protocol
from hil.errors import BenchError, NotSeenError

Message = dict[str, Any]
_LEAVES = (protocol.STATUS, protocol.EVENT, protocol.ONLINE, protocol.DATA)
_SUBSCRIBE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Sent:
    """One index page or block on its way to the device. `size`: bytes of its payload; `crc`: what its
    header says about them."""

    block: bool
    number: int
    size: int
    crc: int


class Watch:
    """Records status, event and online messages of one device.

    `statuses` and `events` are lists in order of arrival; a retained message that stood on the
    broker before the watch began counts as the first one. `sent` holds what servers sent to the
    device, lost ones included. The waits raise NotSeenError, whose text holds what came instead.
    """

    def __init__(self, host: str, port: int, device: str) -> None:
        self.device = device
        self.statuses: list[Message] = []
        self.events: list[Message] = []
        self.online: str | None = None
        self.sent: list[Sent] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._store
        try:
            self._client.connect(host, port)
        except OSError as error:
            raise BenchError("BROKER_FAILED", f"no broker at {host}:{port}: {error}") from error
        self._client.loop_start()
        if not self._subscribed.wait(_SUBSCRIBE_TIMEOUT_S):
            self.close()
            raise BenchError("BROKER_FAILED", f"the broker at {host}:{port} takes no subscription")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_status(
        self, status: str, timeout_s: float = 20.0, since: int = 0, **fields: Any
    ) -> Message:
        """The first status of that name, at index `since` or later, whose fields agree."""

        def found() -> Message | None:
            for message in self.statuses[since:]:
                if message.get("status") == status and _agrees(message, fields):
                    return message
            return None

        return self._wait(found, timeout_s, f"status {status} {fields or ''}")

    def wait_event(
        self, event: str, timeout_s: float = 20.0, since: int = 0, **fields: Any
    ) -> Message:
        """The first event of that name, at index `since` or later, whose fields agree."""

        def found() -> Message | None:
            for message in self.events[since:]:
                if message.get("event") == event and _agrees(message, fields):
                    return message
            return None

        return self._wait(found, timeout_s, f"event {event} {fields or ''}")

    def wait(
        self, true: Callable[[Message], bool], timeout_s: float, what: str, since: int = 0
    ) -> Message:
        """The first status, at index `since` or later, for which `true(status)` holds."""
        return self._wait(
            lambda: next((m for m in self.statuses[since:] if true(m)), None), timeout_s, what
        )

    def trace(self, request_id: int) -> list[str]:
        """Status names of one request in order, each run of equal names once."""
        names: list[str] = []
        for message in self.statuses:
            if message.get("request_id") == request_id and names[-1:] != [message["status"]]:
                names.append(message["status"])
        return names

    def _wait(self, found: Callable[[], Message | None], timeout_s: float, what: str) -> Message:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                message = found()
                if message is not None:
                    return message
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise NotSeenError(
                        f"{what} was not seen within {timeout_s:g} s; last statuses: "
                        f"{[_short(m) for m in self.statuses[-4:]]}, events: {self.events[-3:]}"
                    )
                self._changed.wait(left_s)

    def _subscribe(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe([(protocol.topic(self.device, leaf), 1) for leaf in _LEAVES])

    def _store(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        leaf = message.topic.rsplit("/", 1)[1]
        with self._changed:
            if leaf == protocol.DATA:
                self._note_sent(message.payload)
            elif leaf == protocol.ONLINE:
                self.online = message.payload.decode(errors="replace")
            else:
                into = self.statuses if leaf == protocol.STATUS else self.events
                into.append(_decode(message.payload))
            self._changed.notify_all()

    def _note_sent(self, payload: bytes | bytearray) -> None:
        header = protocol.parse_data_header(payload)
        if header is not None and header[1] in (protocol.KIND_PAGE, protocol.KIND_BLOCK):
            is_block = header[1] == protocol.KIND_BLOCK
            self.sent.append(Sent(is_block, header[3], header[4], header[5]))


def _decode(payload: bytes | bytearray) -> Message:
    try:
        value = json.loads(payload)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"undecodable": payload[:80].hex()}


def _agrees(message: Message, fields: Message) -> bool:
    return all(message.get(name) == value for name, value in fields.items())


def _short(message: Message) -> str:
    reason = f" {message.get('reason')}" if message.get("reason") else ""
    done = f" {message.get('blocks_done')}/{message.get('blocks')}"
    return f"{message.get('status')}#{message.get('request_id')}{reason}{done}"
