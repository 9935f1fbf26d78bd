"""What devices say, checked and written into the store: status, online, events.

Several servers of one store hear the same; the one that holds the store's lock writes it down, and
another takes over when it has gone.
"""

from __future__ import annotations

import datetime
from typing import IO, Any

from agent import protocol
from agent.protocol import ProtocolError
from host_tools.server.blocks import Complaints
from host_tools.store import Store

LEAVES = (protocol.STATUS, protocol.EVENT, protocol.ONLINE)
ONLINE = {b"1": True, b"0": False}
_EVENT_TYPES = {"event": str, "request_id": int, "code": str, "detail": str}


class Intake:
    """`taken` counts what was written. A malformed message changes nothing but a counter."""

    def __init__(self, store: Store, complaints: Complaints) -> None:
        self._store, self._complaints = store, complaints
        self._lock: IO[bytes] | None = None
        self.taken = 0

    def take(self, device: str, leaf: str, payload: bytes) -> None:
        """One message of a device."""
        self._lock = self._lock or self._store.try_intake_lock()
        if self._lock is None:
            return
        try:
            self._write(device, leaf, payload)
            self.taken += 1
        except ProtocolError as error:
            self._complaints.about(f"malformed {leaf}", device, f"{error.code} {error.detail}")

    def close(self) -> None:
        """Let another server write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write(self, device: str, leaf: str, payload: bytes) -> None:
        if leaf == protocol.EVENT:
            event = parse_event(payload)
            self._store.append_event({"received": _now(), "device": device} | event)
        elif leaf == protocol.STATUS:
            self._update(device, {"status": protocol.parse_status(payload)})
        elif leaf == protocol.ONLINE:
            self._update(device, {"online": parse_online(payload)})

    def _update(self, device: str, news: dict[str, Any]) -> None:
        known = self._store.device(device)
        if any(known.get(name) != value for name, value in news.items()):
            kept = {name: known.get(name) for name in ("online", "status")}
            self._store.write_device(device, kept | news | {"received": _now()})


def parse_online(payload: bytes) -> bool:
    """Whether the device says that it is there; ProtocolError BAD_MESSAGE."""
    if payload not in ONLINE:
        raise ProtocolError("BAD_MESSAGE", "online is 0 or 1")
    return ONLINE[payload]


def parse_event(payload: bytes) -> dict[str, Any]:
    """An event whose fields have their types; ProtocolError BAD_MESSAGE."""
    event = protocol.parse_event(payload)
    for name, kind in _EVENT_TYPES.items():
        if type(event[name]) is not kind:
            raise ProtocolError("BAD_MESSAGE", name)
    return event


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
