"""All messages between agent and server, byte for byte. Contract: PROTOCOL.md, FORMATS 4 and 7.

Pure: takes bytes, returns answers. The host imports this file, so that a message is defined once.
All numbers are little-endian.
"""

import binascii
import hashlib
import json
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

# --- topics -----------------------------------------------------------------------------------
PREFIX = "ota/v1"
OFFER, DATA, CMD = "offer", "data", "cmd"  # down
GET, STATUS, EVENT, ONLINE = "get", "status", "event", "online"  # up
DOWN = (OFFER, DATA, CMD)
UP = (GET, STATUS, EVENT, ONLINE)
NAME_CHARS_MAX = 64
_NAME_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

# --- data: header, then payload ---------------------------------------------------------------
DATA_HEADER = "<HBBIII"  # nonce, kind, flags, number, length, CRC32 of the payload
DATA_HEADER_BYTES = 16
KIND_PAGE, KIND_BLOCK, KIND_GONE, KIND_BUSY = 0, 1, 2, 3
WAIT_MS_MAX = 600_000  # a busy answer is honoured up to ten minutes

# --- get --------------------------------------------------------------------------------------
_GET_HEADER = "<HBB16s"  # nonce, kind, number of ranges, artifact id
_GET_RANGE = "<IH"  # first, count
_GET_HEADER_BYTES = 20
_GET_RANGE_BYTES = 6
RANGES_MAX = 8
GET_BYTES_MAX = _GET_HEADER_BYTES + RANGES_MAX * _GET_RANGE_BYTES

# --- artifact index ---------------------------------------------------------------------------
ENTRY = "<HBB16s16s"  # encoded length, encoding, flags, sha16 of encoded, sha16 of decoded
ENTRY_BYTES = 36
PAGE_ENTRIES = 28
PAGE_BYTES_MAX = ENTRY_BYTES * PAGE_ENTRIES  # 1008
SHA16_BYTES = 16
RAW, DEFLATE, DELTA, DELTA_DEFLATE, COPY = 0, 1, 2, 3, 4
ENCODING_NAMES = ("raw", "deflate", "delta", "delta+deflate", "copy")
DEFLATE_WBITS = 12  # 4 KiB of history: what a small device can afford
BLOCK_BYTES_MIN, BLOCK_BYTES_MAX = 1024, 16384

# --- status -----------------------------------------------------------------------------------
VERSION = 1
IDLE = "Idle"
DOWNLOADING, DOWNLOADED, DOWNLOAD_FAILED = "Downloading", "Downloaded", "DownloadFailed"
DOWNLOAD_SCHEDULED, DOWNLOAD_PAUSED = "DownloadScheduled", "DownloadPaused"
SIGNATURE_VERIFIED, INVALID_SIGNATURE = "SignatureVerified", "InvalidSignature"
INSTALLING, INSTALL_SCHEDULED = "Installing", "InstallScheduled"
INSTALL_REBOOTING, INSTALLED = "InstallRebooting", "Installed"
INSTALLATION_FAILED = "InstallationFailed"
INSTALL_VERIFICATION_FAILED = "InstallVerificationFailed"
STATUSES = (
    DOWNLOADED,
    DOWNLOAD_FAILED,
    DOWNLOADING,
    DOWNLOAD_SCHEDULED,
    DOWNLOAD_PAUSED,
    IDLE,
    INSTALLATION_FAILED,
    INSTALLING,
    INSTALLED,
    INSTALL_REBOOTING,
    INSTALL_SCHEDULED,
    INSTALL_VERIFICATION_FAILED,
    INVALID_SIGNATURE,
    SIGNATURE_VERIFIED,
)
FAILURES = (DOWNLOAD_FAILED, INVALID_SIGNATURE, INSTALL_VERIFICATION_FAILED, INSTALLATION_FAILED)
ENDS = (INSTALLED,) + FAILURES
STATUS_BYTES_MAX = 1024
DETAIL_CHARS_MAX = 120
# One shape in every state: name -> type.
STATUS_FIELDS = {
    "v": int,
    "status": str,
    "request_id": int,
    "reason": str,
    "detail": str,
    "version": str,
    "slot": str,
    "mode": str,
    "epoch": int,
    "blocks": int,
    "blocks_done": int,
    "bytes_fetched": int,
    "attempt": int,
    "seq": int,
}

# --- events and commands ----------------------------------------------------------------------
EVENT_BYTES_MAX = 512
EVENT_FIELDS = {"v": int, "event": str, "request_id": int, "code": str, "detail": str}
OFFER_REJECTED, OFFER_ACCEPTED = "OfferRejected", "OfferAccepted"
FIRMWARE_UPDATED, INVALID_FIRMWARE_SIGNATURE = "FirmwareUpdated", "InvalidFirmwareSignature"
ACTIVATION_DEFERRED, UPDATE_FAILED = "ActivationDeferred", "UpdateFailed"
REPLAY_ATTEMPT = "AttemptedReplayAttacks"
APPLICATION_STOPPED, COMMAND_REJECTED = "ApplicationStopped", "CommandRejected"
EPOCH_NOT_STORED, EPOCH_DAMAGED = "EpochNotStored", "EpochDamaged"
JOURNAL_DAMAGED = "JournalDamaged"
KEYSET_DAMAGED, KEYSET_NOT_STORED = "KeysetDamaged", "KeysetNotStored"
IMAGES_ALLOWED = "FailedImagesAllowed"
CMD_BYTES_MAX = 256
CMD_CANCEL, CMD_STATUS = "cancel", "status"
CMD_ALLOW = "allow"  # images that failed their trial here may be offered again
COMMANDS = (CMD_CANCEL, CMD_STATUS, CMD_ALLOW)

# Why something was refused: our stable code -> the reason that OCPP knows (at most 20 characters).
REASON_OF = {
    "ALREADY_INSTALLED": "InvalidValue",
    "APP_SILENT": "ControllerUnreach",
    "BAD_CRC": "CrcMismatch",
    "BAD_EPOCH": "InvalidValue",
    "BAD_HASH": "HashMismatch",
    "BAD_MANIFEST": "InvalidValue",
    "BAD_SIGNATURE": "InvalidCertificate",
    "ALG_MISMATCH": "InvalidCertificate",
    "THRESHOLD": "InvalidCertificate",
    "UNSIGNED": "InvalidCertificate",
    "UNKNOWN_KEY": "InvalidCertificate",
    "WRONG_ROLE": "InvalidCertificate",
    "REVOKED": "InvalidCertificate",
    "CANCELED": "Canceled",
    "CHANGED": "HashMismatch",
    "CONTACTOR_CLOSED": "ContactorFault",
    "DEADLINE": "DeadlineExceeded",
    "DENIED": "VersionDenied",
    "DEPENDENCY": "DependencyUnmet",
    "DOWNGRADE": "Downgrade",
    "DUPLICATE_REQUEST_ID": "DuplicateRequestId",
    "EPOCH_JUMP": "InvalidValue",
    "GONE": "ArtifactGone",
    "IN_PROGRESS": "FwUpdateInProgress",
    "MISMATCH": "HashMismatch",
    "NOT_ERASED": "HashMismatch",
    "OUT_OF_MEMORY": "OutOfMemory",
    "OUT_OF_STORAGE": "OutOfStorage",
    "PLUGGED": "VehicleConnected",
    "REPLAY": "InvalidValue",
    "ROLLBACK": "Downgrade",
    "TRIAL_FAILED": "TrialBootFailed",
    "TX_IN_PROGRESS": "TxInProgress",
    "UNSUPPORTED": "InvalidValue",
    "WRONG_DEVICE": "InvalidValue",
    "WRONG_HW": "WrongHardware",
}


class ProtocolError(Exception):
    """A message that is not one: `.code` is stable, `.detail` says what was wrong."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code + (": " + detail if detail else ""))
        self.code = code
        self.detail = detail


def reason_of(code: str) -> str:
    """The OCPP reason word for one of our codes; InternalError for a code without one."""
    return REASON_OF.get(code, "InternalError")


# --- names and topics -------------------------------------------------------------------------
def is_name(text: "Any") -> bool:
    """True for a name fit for a topic or a file: [A-Za-z0-9._-]{1,64}, no leading dot."""
    if not isinstance(text, str) or not 0 < len(text) <= NAME_CHARS_MAX or text[0] == ".":
        return False
    return all(c in _NAME_CHARS for c in text)


def topic(device: str, leaf: str) -> str:
    """`ota/v1/<device>/<leaf>`."""
    return PREFIX + "/" + device + "/" + leaf


def parse_topic(text: str) -> "tuple[str, str] | None":
    """(device, leaf) of one of our topics, None for any other."""
    parts = text.split("/")
    if len(parts) != 4 or parts[0] + "/" + parts[1] != PREFIX or not is_name(parts[2]):
        return None
    return (parts[2], parts[3]) if parts[3] in DOWN + UP else None


# --- get --------------------------------------------------------------------------------------
def pack_get(
    nonce: int, kind: int, artifact_id: bytes, ranges: "Sequence[tuple[int, int]]"
) -> bytes:
    """A request for index pages or blocks: `ranges` is up to 8 of (first, count)."""
    if not 0 < len(ranges) <= RANGES_MAX:
        raise ProtocolError("BAD_MESSAGE", "1 to 8 ranges")
    out = bytearray(_GET_HEADER_BYTES + len(ranges) * _GET_RANGE_BYTES)
    struct.pack_into(_GET_HEADER, out, 0, nonce, kind, len(ranges), artifact_id)
    at = _GET_HEADER_BYTES
    for first, count in ranges:
        struct.pack_into(_GET_RANGE, out, at, first, count)
        at += _GET_RANGE_BYTES
    return bytes(out)


class Get:
    """A parsed request: nonce, kind (KIND_PAGE or KIND_BLOCK), artifact_id (16 bytes), ranges."""

    def __init__(
        self, nonce: int, kind: int, artifact_id: bytes, ranges: "list[tuple[int, int]]"
    ) -> None:
        self.nonce = nonce
        self.kind = kind
        self.artifact_id = artifact_id
        self.ranges = ranges


def parse_get(payload: "bytes | bytearray | memoryview") -> Get:
    """The request in `payload`; ProtocolError BAD_MESSAGE for anything else."""
    if not _GET_HEADER_BYTES < len(payload) <= GET_BYTES_MAX:
        raise ProtocolError("BAD_MESSAGE", "length")
    nonce, kind, count, artifact_id = struct.unpack_from(_GET_HEADER, payload, 0)
    if kind not in (KIND_PAGE, KIND_BLOCK) or not 0 < count <= RANGES_MAX:
        raise ProtocolError("BAD_MESSAGE", "kind or number of ranges")
    if len(payload) != _GET_HEADER_BYTES + count * _GET_RANGE_BYTES:
        raise ProtocolError("BAD_MESSAGE", "length")
    ranges = []
    for i in range(count):
        first, n = struct.unpack_from(_GET_RANGE, payload, _GET_HEADER_BYTES + i * _GET_RANGE_BYTES)
        if n == 0:
            raise ProtocolError("BAD_MESSAGE", "empty range")
        ranges.append((first, n))
    return Get(nonce, kind, artifact_id, ranges)


# --- data -------------------------------------------------------------------------------------
def pack_data(
    nonce: int, kind: int, number: int, payload: "bytes | bytearray | memoryview" = b""
) -> bytes:
    """A data message. `number`: page or block number; for KIND_BUSY the wait in milliseconds."""
    crc = binascii.crc32(payload) & 0xFFFFFFFF
    return struct.pack(DATA_HEADER, nonce, kind, 0, number, len(payload), crc) + bytes(payload)


def parse_data_header(
    message: "bytes | bytearray | memoryview",
) -> "tuple[int, int, int, int, int, int] | None":
    """(nonce, kind, flags, number, length, crc); None when it is too short or its length is wrong.

    The CRC is not looked at here: see `crc_holds`.
    """
    if len(message) < DATA_HEADER_BYTES:
        return None
    header = struct.unpack_from(DATA_HEADER, message, 0)
    if header[4] != len(message) - DATA_HEADER_BYTES or header[1] > KIND_BUSY or header[2]:
        return None
    return header


def crc_holds(crc: int, payload: "bytes | bytearray | memoryview") -> bool:
    """True when the CRC32 of `payload` is `crc`."""
    return (binascii.crc32(payload) & 0xFFFFFFFF) == crc


# --- index ------------------------------------------------------------------------------------
def sha16(data: "bytes | bytearray | memoryview") -> bytes:
    """The first 16 bytes of SHA-256."""
    return hashlib.sha256(data).digest()[:SHA16_BYTES]


def pack_entry(
    encoded_len: int, encoding: int, encoded_sha16: bytes, decoded_sha16: bytes
) -> bytes:
    """One index entry, 36 bytes."""
    return struct.pack(ENTRY, encoded_len, encoding, 0, encoded_sha16, decoded_sha16)


def parse_entry(
    page: "bytes | bytearray | memoryview", position: int
) -> "tuple[int, int, int, bytes, bytes]":
    """(encoded_len, encoding, flags, sha16 encoded, sha16 decoded) at `position` of a page."""
    return struct.unpack_from(ENTRY, page, position * ENTRY_BYTES)


def page_count(blocks: int) -> int:
    """Index pages of an artifact with that many blocks."""
    return (blocks + PAGE_ENTRIES - 1) // PAGE_ENTRIES


def page_bytes(page: int, blocks: int) -> int:
    """Size of index page number `page` of an artifact with that many blocks."""
    return min(PAGE_ENTRIES, blocks - page * PAGE_ENTRIES) * ENTRY_BYTES


def artifact_id(page_hashes: "Sequence[bytes | memoryview]") -> bytes:
    """16 bytes that name an artifact: SHA-256 over its index page hashes (raw, 32 bytes each)."""
    digest = hashlib.sha256()
    for page_hash in page_hashes:
        digest.update(page_hash)
    return digest.digest()[:16]


# --- JSON messages ----------------------------------------------------------------------------
def parse_object(payload: "bytes | bytearray | memoryview", limit: int) -> "dict[str, Any]":
    """A JSON object of at most `limit` bytes; ProtocolError BAD_MESSAGE for anything else."""
    if not 0 < len(payload) <= limit:
        raise ProtocolError("BAD_MESSAGE", "size")
    try:
        found = json.loads(bytes(payload).decode())
    except (ValueError, UnicodeError, RuntimeError, MemoryError):
        raise ProtocolError("BAD_MESSAGE", "not JSON")  # RuntimeError: nested too deep
    if not isinstance(found, dict):
        raise ProtocolError("BAD_MESSAGE", "not an object")
    return found


def check_status(status: "dict[str, Any]") -> None:
    """ProtocolError BAD_STATUS unless it has exactly the fields of STATUS_FIELDS, well typed."""
    if set(status) != set(STATUS_FIELDS):
        raise ProtocolError("BAD_STATUS", "fields")
    for name, kind in STATUS_FIELDS.items():
        if type(status[name]) is not kind:
            raise ProtocolError("BAD_STATUS", name)
    if status["v"] != VERSION or status["status"] not in STATUSES:
        raise ProtocolError("BAD_STATUS", "version or status word")


def pack_status(status: "dict[str, Any]") -> bytes:
    """The status message: all fields of STATUS_FIELDS, none else."""
    check_status(status)
    return json.dumps(status).encode()


def parse_status(payload: "bytes | bytearray | memoryview") -> "dict[str, Any]":
    """A checked status message as a dict; ProtocolError BAD_MESSAGE or BAD_STATUS."""
    status = parse_object(payload, STATUS_BYTES_MAX)
    check_status(status)
    return status


def plain(text: str) -> str:
    """`text` cut to DETAIL_CHARS_MAX, with "?" for what is not printable ASCII."""
    return "".join([c if " " <= c <= "~" else "?" for c in text[:DETAIL_CHARS_MAX]])


def pack_event(event: str, request_id: int, code: str, detail: str) -> bytes:
    """An event message; the detail is cut to DETAIL_CHARS_MAX."""
    return json.dumps(
        {
            "v": VERSION,
            "event": event,
            "request_id": request_id,
            "code": code,
            "detail": plain(detail),
        }
    ).encode()


def parse_event(payload: "bytes | bytearray | memoryview") -> "dict[str, Any]":
    """An event as a dict with v, event, request_id, code, detail; ProtocolError BAD_MESSAGE."""
    event = parse_object(payload, EVENT_BYTES_MAX)
    if set(event) != set(EVENT_FIELDS) or event["v"] != VERSION:
        raise ProtocolError("BAD_MESSAGE", "fields of an event")
    for name in EVENT_FIELDS:
        if type(event[name]) is not EVENT_FIELDS[name]:
            raise ProtocolError("BAD_MESSAGE", name)
    return event


def pack_cmd(cmd: str, request_id: int = 0) -> bytes:
    """A command: CMD_CANCEL with the request to cancel, CMD_STATUS (say it again), CMD_ALLOW."""
    return json.dumps({"v": VERSION, "cmd": cmd, "request_id": request_id}).encode()


def parse_cmd(payload: "bytes | bytearray | memoryview") -> "tuple[str, int]":
    """(cmd, request_id); ProtocolError BAD_MESSAGE."""
    found = parse_object(payload, CMD_BYTES_MAX)
    if set(found) != {"v", "cmd", "request_id"} or found["v"] != VERSION:
        raise ProtocolError("BAD_MESSAGE", "fields of a command")
    cmd, request_id = found["cmd"], found["request_id"]
    if cmd not in COMMANDS or type(request_id) is not int:
        raise ProtocolError("BAD_MESSAGE", "unknown command")
    return cmd, request_id
