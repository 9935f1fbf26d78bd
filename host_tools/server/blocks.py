"""The block service: a request for pages or blocks in, data messages out. agent/PROTOCOL.md.

Bytes in, bytes out: no broker in here. It keeps nothing about a device but the names that it has
complained about, so any number of servers can share the load.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from agent import protocol
from agent.protocol import Get, ProtocolError
from host_tools.errors import ToolError
from host_tools.store import Store
from host_tools.stored import StoredArtifact

ITEMS_MAX = 64  # of one request; a device asks for a quarter of its window, 8
PENDING_MAX = 4096  # messages not yet with the broker, 16 MiB of blocks: beyond it we are busy
BUSY_MS = 1000
OPEN_MAX = 16  # artifacts held open
COMPLAINTS_MAX = 1000  # names remembered, so that none fills the log


class Library:
    """The artifacts of a store, opened when they are asked for, the last few of them kept open.

    What is not there is looked for again each time: a publish needs no restart.
    """

    def __init__(self, store: Store, open_max: int = OPEN_MAX) -> None:
        self._store, self._open_max = store, open_max
        self._open: OrderedDict[bytes, StoredArtifact] = OrderedDict()

    def get(self, artifact_id: bytes) -> StoredArtifact | None:
        """The artifact or None; ToolError DAMAGED."""
        found = self._open.pop(artifact_id, None)
        if found is not None and found.is_replaced():
            found.close()
            found = None
        found = found or self._store.open_artifact(artifact_id)
        if found is not None:
            self._open[artifact_id] = found
            if len(self._open) > self._open_max:
                self._open.popitem(last=False)[1].close()
        return found

    def close(self) -> None:
        """Give all files back."""
        while self._open:
            self._open.popitem()[1].close()


class Complaints:
    """Log lines about what others did wrong: once for each (what, who), counted beyond that."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._said: set[tuple[str, str]] = set()
        self.count = 0

    def about(self, what: str, who: str, detail: str) -> None:
        """`what`: the kind of complaint, `who`: a device's name, or an artifact's."""
        self.count += 1
        if (what, who) in self._said or len(self._said) >= COMPLAINTS_MAX:
            return
        self._said.add((what, who))
        self._log(f"{what}: {who}: {detail}")


class Blocks:
    """Answers requests; `requests` and `items` count what was answered."""

    def __init__(self, library: Library, complaints: Complaints) -> None:
        self._library, self._complaints = library, complaints
        self.requests = self.items = 0

    def answer(self, device: str, payload: bytes, pending: int = 0) -> list[bytes]:
        """The data messages for one request, in the order of its ranges.

        `pending`: messages that wait for the broker already. Nothing for what is no request.
        """
        try:
            get = protocol.parse_get(payload)
        except ProtocolError as error:
            self._complaints.about("malformed get", device, error.detail)
            return []
        if pending > PENDING_MAX:
            return [protocol.pack_data(get.nonce, protocol.KIND_BUSY, BUSY_MS)]
        found = self._find(get.artifact_id)
        if found is None:
            return [protocol.pack_data(get.nonce, protocol.KIND_GONE, 0)]
        numbers = self._wanted(device, get, found.count(get.kind))
        self.requests += 1
        self.items += len(numbers)
        return [
            protocol.pack_data(get.nonce, get.kind, number, found.item(get.kind, number))
            for number in numbers
        ]

    def _find(self, artifact_id: bytes) -> StoredArtifact | None:
        try:
            return self._library.get(artifact_id)
        except ToolError as error:
            self._complaints.about("damaged store", artifact_id.hex(), str(error))
            return None

    def _wanted(self, device: str, get: Get, count: int) -> list[int]:
        """Numbers that are there, at most ITEMS_MAX of them: one message must not start a flood."""
        numbers: list[int] = []
        for first, wanted in get.ranges:
            inside = range(first, min(first + wanted, count))
            numbers += inside[: ITEMS_MAX + 1 - len(numbers)]
        if len(numbers) > ITEMS_MAX:
            detail = f"only the first {ITEMS_MAX} of a request are answered"
            self._complaints.about("too much asked", device, detail)
        return numbers[:ITEMS_MAX]
