"""Which job is open, what became of the last one, which images failed here. Survives every reset.

One record a change, each holding everything: u16 length of the JSON, the JSON, then the manifest
container of the open job (nothing once it is closed). How far a download got is not in it: flash
itself says that (FORMATS section 4). Record store: bootloader_verify/records.py.

Each change is saved twice, one copy in each half of the store, so that no single bad bit brings an
older seq back: a damaged record hides all that stand behind it in its half.
"""

import hashlib
import json

from agent import protocol, states
from bootloader_verify.errors import FlashError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bootloader_verify.records import Records

DENIED_MAX = 4  # the oldest leaves first; seq and epoch already keep old offers away
_JSON_BYTES_MAX = 1024
_LENGTH_BYTES = 2
OFFER_ID_CHARS = 16
_NUMBERS = ("request_id", "seq")
_WORDS = ("offer", "outcome", "reason", "detail")


def offer_id(container: "bytes | bytearray | memoryview") -> str:
    """Short name of an offer's exact bytes, to know a redelivered one: 16 hex characters."""
    return hashlib.sha256(container).digest()[: OFFER_ID_CHARS // 2].hex()


def record_bytes(manifest_bytes_max: int) -> int:
    """The largest journal record for manifests of that size: for Records(max_payload=...)."""
    return _LENGTH_BYTES + _JSON_BYTES_MAX + manifest_bytes_max


class Journal:
    """The job's memory in flash. `scratch` is borrowed during load and save only.

    `records`: a log that alternates its halves (Records(..., alternate=True)).

    Fields (read only for others): state (states.J_*), request_id, seq, offer (offer_id of the last
    accepted manifest), outcome, reason, detail, denied (hex digests, newest last).
    """

    def __init__(self, records: "Records", scratch: memoryview) -> None:
        self._records = records
        self._scratch = scratch
        self.state = states.J_CLOSED
        self.request_id = 0
        self.seq = 0
        self.offer = ""
        self.outcome = self.reason = self.detail = ""
        self.denied: "list[str]" = []

    def load(self) -> "memoryview | None":
        """Read the newest record. The open job's manifest container, or None.

        The returned view lies in `scratch`: use it before anything else does. Of a record of
        another agent's making counts what this one understands; an unknown state is no open job.
        A copy that a cut left out is written now.
        """
        length = self._records.load(self._scratch)
        fields, start = _split(self._scratch, length)
        if fields is None:
            return None
        self._take(fields)
        manifest = self._scratch[start:length]
        if fields.get("copy") == 1 and fields.get("state") == self.state:
            self._mend(manifest)
        return manifest if self.state != states.J_CLOSED else None

    def _take(self, fields: "dict[str, Any]") -> None:
        state = fields.get("state")
        self.state = state if state in states.JOURNAL_STATES else states.J_CLOSED
        for name in _NUMBERS:
            value = fields.get(name)
            setattr(self, name, value if type(value) is int and value >= 0 else 0)
        for name in _WORDS:
            value = fields.get(name)
            setattr(self, name, value if isinstance(value, str) else "")
        if self.outcome not in protocol.STATUSES:  # it is said again as a status
            self.outcome = ""
        denied = fields.get("denied")
        listed = denied if isinstance(denied, list) else []
        self.denied = [digest for digest in listed if isinstance(digest, str)][-DENIED_MAX:]

    def _mend(self, manifest: "bytes | bytearray | memoryview") -> None:
        """Without the second copy the first one still counts: its failure is no reason to stop."""
        try:
            self._save_copy(2, manifest)
        except FlashError:
            pass

    def open(self, container: "bytes | bytearray | memoryview", seq: int, request_id: int) -> None:
        """A new job: its manifest is kept until `close`."""
        self.state = states.J_OPEN
        self.seq, self.request_id = seq, request_id
        self.offer = offer_id(container)
        self.outcome = self.reason = self.detail = ""
        self._save(container)

    def arming(self) -> None:
        """The trailer is about to be written: from here on the boot stage decides."""
        self.state = states.J_ARMING
        self._save(self._kept_manifest())

    def reopen(self) -> None:
        """Back to an open job: what was armed is about to be erased and armed again."""
        self.state = states.J_OPEN
        self._save(self._kept_manifest())

    def note(self, detail: str) -> None:
        """Why this trial is given up; the image that boots after the last attempt reports it."""
        self.detail = detail
        self._save(self._kept_manifest())

    def allow(self) -> None:
        """Forget which images failed here; the open job goes on."""
        self.denied = []
        self._save(self._kept_manifest())

    def close(self, outcome: str, reason: str, detail: str, denied: "bytes | None" = None) -> None:
        """The job ended with `outcome` (an OCPP status). `denied`: digest not to be taken again."""
        self.state = states.J_CLOSED
        self.outcome, self.reason, self.detail = outcome, reason, detail
        if denied is not None and denied.hex() not in self.denied:
            self.denied = (self.denied + [denied.hex()])[-DENIED_MAX:]
        self._save(b"")

    def _kept_manifest(self) -> "memoryview | bytes":
        length = self._records.load(self._scratch)
        fields, start = _split(self._scratch, length)
        if fields is None or fields.get("state") == states.J_CLOSED:
            return b""
        if fields.get("offer") != self.offer:  # both copies went bad since: of an older job
            return b""
        return self._scratch[start:length]

    def _save(self, manifest: "bytes | bytearray | memoryview") -> None:
        """FlashError: nothing changed, here as in flash. The second copy may fail: the first counts."""
        try:
            self._save_copy(1, manifest)
        except FlashError:
            self._take(_split(self._scratch, self._records.load(self._scratch))[0] or {})
            raise
        self._mend(manifest)

    def _save_copy(self, number: int, manifest: "bytes | bytearray | memoryview") -> None:
        text = json.dumps(
            {
                "copy": number,
                "state": self.state,
                "request_id": self.request_id,
                "seq": self.seq,
                "offer": self.offer,
                "outcome": self.outcome,
                "reason": self.reason,
                "detail": self.detail,
                "denied": self.denied,
            }
        ).encode()
        self._records.save(bytes((len(text) & 0xFF, len(text) >> 8)), text, manifest)


def _split(record: memoryview, length: int) -> "tuple[dict[str, Any] | None, int]":
    """(fields, where the manifest starts); (None, 0) for an empty or a foreign record."""
    if length < _LENGTH_BYTES:
        return None, 0
    start = _LENGTH_BYTES + record[0] + (record[1] << 8)
    if start > length:
        return None, 0
    try:
        fields = json.loads(bytes(record[_LENGTH_BYTES:start]).decode())
    except (ValueError, UnicodeError, RuntimeError):  # the last: nested too deep
        return None, 0  # no memory is not caught: a journal must not look empty, and seq be 0
    if not isinstance(fields, dict):
        return None, 0
    return fields, start
