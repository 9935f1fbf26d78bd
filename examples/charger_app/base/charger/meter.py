"""The energy registers, and what is kept of them over updates and power cuts.

One record holds all connectors, little-endian, the same in every release (a newer one may only make
an entry longer, so that after a rollback the older release still finds its fields):

    head    format u8 = 1, connectors u8, bytes of an entry u8, 0
    entry   register_wh u64, session_start_wh u64, session u32, last_session_wh u32, card u32,
            open u8, reason u8 (index in REASONS), 0 u16

A register never goes down and never below what was stored. It is stored when a session begins or
ends, when the charger is held for an update, and while energy flows at most once a minute; a power
cut costs at most what flowed since then. Pure: the store is handed in, time is an argument.
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from charger.seams import Store

FORMAT = 1
REASONS = ("", "EVDisconnected", "Local", "Other", "PowerLoss")
RECORD_BYTES_MAX = 256  # what a longer record of a newer release may have

_HEAD = "<BBBB"
_HEAD_BYTES = 4
_ENTRY = "<QQIIIBBH"
_ENTRY_BYTES = 32

# Wear. A record of two connectors takes 88 bytes of flash, a half of 8 KiB holds 93 of them.
# 100,000 erases of two halves are 18 million records: 17 years of one every 30 s (the most that the
# budget allows), 35 years of charging without a pause.
STORE_EVERY_MS = 60000
STORE_EVERY_WH = 100
REFILL_MS = 30000
BURST = 10  # sessions that begin and end in a row


class Budget:
    """At most BURST writes at once and one more every REFILL_MS, whatever happens at the socket."""

    def __init__(self) -> None:
        self._left = BURST
        self._refilled_ms = 0

    def take(self, now_ms: int) -> bool:
        """True if one write is allowed now; it is taken."""
        refills = (now_ms - self._refilled_ms) // REFILL_MS
        self._refilled_ms += refills * REFILL_MS
        self._left = min(BURST, self._left + refills)
        if not self._left:
            return False
        self._left -= 1
        return True


class Register:
    """One connector: its energy, and the session that is open or was the last one."""

    def __init__(self) -> None:
        self.wh = 0
        self.start_wh = 0  # register at the start of that session
        self.session = 0  # its number, 0 = there was none
        self.last_wh = 0  # energy of the last session that ended
        self.card = 0
        self.open = False
        self.reason = ""
        self._pulses = 0

    def rebase(self, pulses: int) -> None:
        """Where the hardware's counter stands now; what it counted before is not ours."""
        self._pulses = pulses

    def count(self, pulses: int) -> None:
        """Take a reading of the 1 Wh pulses; a counter that fell back has begun again from 0."""
        grown = pulses - self._pulses
        self.wh += grown if grown >= 0 else pulses
        self._pulses = pulses

    def session_wh(self) -> int:
        """Energy of the open session, or of the last one."""
        return self.wh - self.start_wh if self.open else self.last_wh

    def pack_into(self, buf: "bytearray", offset: int) -> None:
        struct.pack_into(
            _ENTRY, buf, offset, self.wh, self.start_wh, self.session, self.last_wh, self.card,
            int(self.open), REASONS.index(self.reason), 0,
        )  # fmt: skip

    def unpack_from(self, buf: "bytearray", offset: int) -> None:
        values = struct.unpack_from(_ENTRY, buf, offset)
        self.wh, self.start_wh, self.session, self.last_wh, self.card = values[:5]
        self.open = values[5] == 1
        self.reason = REASONS[values[6]] if values[6] < len(REASONS) else "Other"


class Meter:
    """The registers of all connectors and their record in `store`.

    `fault` says why registers cannot be trusted or kept; a record that this release cannot read is
    never written over.
    """

    def __init__(self, store: "Store", connectors: int) -> None:
        self.registers = [Register() for _ in range(connectors)]
        self.fault = ""
        self.writes = 0
        self._store = store
        self._record = bytearray(_HEAD_BYTES + connectors * _ENTRY_BYTES)
        self._budget = Budget()
        self._urgent = False
        self._stored = [0] * connectors
        self._stored_ms = 0
        self._writable = self._load()

    def stored_wh(self, connector: int) -> int:
        """The register as it would be after a power cut now."""
        return self._stored[connector]

    def begin(self, connector: int, card: int) -> int:
        """A session begins; returns its number."""
        register = self.registers[connector]
        register.session = max([r.session for r in self.registers]) + 1
        register.start_wh = register.wh
        register.card = card
        register.open = True
        register.reason = ""
        self._urgent = True
        return register.session

    def end(self, connector: int, reason: str) -> int:
        """The open session ends, with an OCPP reason; returns its energy in Wh."""
        register = self.registers[connector]
        register.last_wh = register.wh - register.start_wh
        register.open = False
        register.card = 0
        register.reason = reason
        self._urgent = True
        return register.last_wh

    def store_soon(self) -> None:
        """Before an update: store at the next poll what is not stored yet."""
        self._urgent = self._urgent or self._unstored_wh() > 0

    def poll(self, now_ms: int) -> None:
        """Store if something is due and the wear budget allows it."""
        if (self._urgent or self._due(now_ms)) and self._writable and self._budget.take(now_ms):
            self._save(now_ms)

    def _due(self, now_ms: int) -> bool:
        if now_ms - self._stored_ms < STORE_EVERY_MS:
            return False
        return self._unstored_wh() >= STORE_EVERY_WH

    def _unstored_wh(self) -> int:
        return sum([r.wh for r in self.registers]) - sum(self._stored)

    def _save(self, now_ms: int) -> None:
        struct.pack_into(_HEAD, self._record, 0, FORMAT, len(self.registers), _ENTRY_BYTES, 0)
        for i, register in enumerate(self.registers):
            register.pack_into(self._record, _HEAD_BYTES + i * _ENTRY_BYTES)
        self._stored_ms = now_ms
        try:
            self._store.save(self._record)
        except Exception as err:  # whatever the store is made of: say so and try again later
            self.fault = "meter store: " + str(getattr(err, "code", err))
            return
        self.writes += 1
        self.fault = ""
        self._urgent = False
        self._stored = [r.wh for r in self.registers]

    def _load(self) -> bool:
        """Take the stored record; False if there is one that must not be touched."""
        buf = bytearray(max(RECORD_BYTES_MAX, getattr(self._store, "max_payload", 0)))
        try:
            size = min(self._store.load(buf), len(buf))
        except Exception as err:
            self.fault = "meter store: " + str(getattr(err, "code", err))
            return False
        if size:
            self._parse(buf, size)
        self._stored = [r.wh for r in self.registers]
        return not self.fault

    def _parse(self, buf: "bytearray", size: int) -> None:
        form, count, entry_bytes, _ = struct.unpack_from(_HEAD, buf, 0)
        fits = size >= _HEAD_BYTES + count * entry_bytes and entry_bytes >= _ENTRY_BYTES
        if form != FORMAT or not fits or count > len(self.registers):
            self.fault = "meter record not readable (format {}, {} bytes)".format(form, size)
            return
        for i in range(count):
            self.registers[i].unpack_from(buf, _HEAD_BYTES + i * entry_bytes)
