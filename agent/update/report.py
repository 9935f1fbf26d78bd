"""What the device says: status and event messages, in order, each until the broker has it.

One status shape in every state. A status that is only newer (progress) replaces the one that still
waits; a status of another name never does, so the trace of an update has no holes.
"""

from agent import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WAITING_MAX = 16  # messages; beyond it the oldest goes: a device that is offline for days
PROGRESS_MS = 500


class Reporter:
    """`facts`: fields of the status that stay as they are since boot: version, slot, mode, epoch."""

    def __init__(self, facts: "dict[str, Any]") -> None:
        self._status: "dict[str, Any]" = {"v": protocol.VERSION}
        for name, kind in protocol.STATUS_FIELDS.items():
            self._status.setdefault(name, kind())
        self._status.update(facts)
        self._status["status"] = protocol.IDLE
        self._waiting: "list[tuple[str, Any]]" = []  # (leaf, status dict or packed event)
        self._in_flight = False
        self._progress_ms = 0
        self.lost = 0  # messages that had no room

    # --- saying -------------------------------------------------------------------------------
    def now(self, **fields: "Any") -> None:
        """Change fields of the status and say it."""
        self._status.update(fields)
        self._status["detail"] = protocol.plain(self._status["detail"])
        self._say(protocol.STATUS, dict(self._status))

    def progress(self, now_ms: int, blocks_done: int, bytes_fetched: int) -> None:
        """Say how far a download is, if it moved, at most every PROGRESS_MS."""
        moved = self._status["blocks_done"] != blocks_done
        if moved and not self._waiting and now_ms - self._progress_ms >= PROGRESS_MS:
            self._progress_ms = now_ms
            self.now(blocks_done=blocks_done, bytes_fetched=bytes_fetched)

    def repeat(self) -> None:
        """Say the present status again."""
        self._say(protocol.STATUS, dict(self._status))

    def facts(self, **fields: "Any") -> None:
        """Change fields without a word; the next status has them."""
        self._status.update(fields)

    def event(self, name: str, request_id: int, code: str, detail: str) -> None:
        """Something that happened once."""
        self._say(protocol.EVENT, protocol.pack_event(name, request_id, code, detail))

    def _say(self, leaf: str, what: "Any") -> None:
        if leaf == protocol.STATUS and self._replaces_last(what):
            self._waiting[-1] = (leaf, what)
            return
        if len(self._waiting) >= WAITING_MAX:
            del self._waiting[1 if self._in_flight else 0]
            self.lost += 1
        self._waiting.append((leaf, what))

    def _replaces_last(self, status: "dict[str, Any]") -> bool:
        last = len(self._waiting) - 1
        if last < (1 if self._in_flight else 0) or self._waiting[last][0] != protocol.STATUS:
            return False
        waits = self._waiting[last][1]
        return bool(
            waits["status"] == status["status"] and waits["request_id"] == status["request_id"]
        )

    # --- for the session ----------------------------------------------------------------------
    @property
    def idle(self) -> bool:
        """True when the broker has everything."""
        return not self._waiting

    def next_message(self) -> "tuple[str, bytes, int, bool] | None":
        """The message to publish now; None while one is under way or nothing waits."""
        if self._in_flight or not self._waiting:
            return None
        self._in_flight = True
        leaf, what = self._waiting[0]
        if leaf == protocol.STATUS:
            return leaf, protocol.pack_status(what), 1, True
        return leaf, what, 1, False

    def sent(self) -> None:
        """The broker has the message that was under way."""
        if self._in_flight:
            self._in_flight = False
            del self._waiting[0]
