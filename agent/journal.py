"""Which job is open, what became of the last one, which images failed here. Survives every reset.

One record a change, each holding everything: u16 length of the JSON, the JSON, then the manifest
container of the open job (nothing once it is closed). How far a download got is not in it: flash
itself says that (FORMATS section 4). Record store: bootloader_verify/records.py.
"""

import hashlib
import json

from agent import states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bootloader_verify.records import Records

DENIED_MAX = 4  # the oldest leaves first; seq and epoch already keep old offers away
_JSON_BYTES_MAX = 1024
_LENGTH_BYTES = 2
OFFER_ID_CHARS = 16


def offer_id(container: "bytes | bytearray | memoryview") -> str:
    """Short name of an offer's exact bytes, to know a redelivered one: 16 hex characters."""
    return hashlib.sha256(container).digest()[: OFFER_ID_CHARS // 2].hex()


def record_bytes(manifest_bytes_max: int) -> int:
    """The largest journal record for manifests of that size: for Records(max_payload=...)."""
    return _LENGTH_BYTES + _JSON_BYTES_MAX + manifest_bytes_max


class Journal:
    """The job's memory in flash. `scratch` is borrowed during load and save only.

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

        The returned view lies in `scratch`: use it before anything else does.
        """
        length = self._records.load(self._scratch)
        fields, start = _split(self._scratch, length)
        if fields is None:
            return None
        self.state = fields["state"]
        self.request_id, self.seq = fields["request_id"], fields["seq"]
        self.offer, self.outcome = fields["offer"], fields["outcome"]
        self.reason, self.detail = fields["reason"], fields["detail"]
        self.denied = fields["denied"]
        return self._scratch[start:length] if self.state != states.J_CLOSED else None

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
        if fields is None or fields["state"] == states.J_CLOSED:
            return b""
        return self._scratch[start:length]

    def _save(self, manifest: "bytes | bytearray | memoryview") -> None:
        text = json.dumps(
            {
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
    except (ValueError, UnicodeError):
        return None, 0
    if not isinstance(fields, dict) or fields.get("state") not in states.JOURNAL_STATES:
        return None, 0
    return fields, start
