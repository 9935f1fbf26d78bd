"""The deployment manifest: authentic, well formed, meant for this device, acceptable now.

Format: FORMATS section 5, PROTOCOL.md. Order of the checks is part of the contract (PROTOCOL.md,
"What is refused and why"): first the signature, then the shape, then the rules, each with its code.
"""

import json

from agent import protocol
from bootloader_verify.container import EPOCH_STEP_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

PAYLOAD_BYTES_MAX = 4096
CONTAINER_BYTES_MAX = PAYLOAD_BYTES_MAX + 1024  # header, TLVs, up to four signatures
ARTIFACTS_MAX = 4
_BRACKETS_MAX = 16  # lists and objects; a manifest of four artifacts has 13
REVISIONS_MAX = 8
_U31 = 0x7FFFFFFF
_U32 = 0xFFFFFFFF
_YEAR_S = 366 * 86400

# field -> (type, least, most) for numbers, (bool,) for flags, (name of a check,) for the rest
_TOP = {
    "v": (int, 1, 1),
    "seq": (int, 1, _U32),
    "request_id": (int, 1, _U31),
    "device": ("name",),
    "image": ("dict",),
    "artifacts": ("list", 1, ARTIFACTS_MAX),
    "policy": ("dict",),
}
_IMAGE = {
    "sha256": ("hex", 64),
    "size": (int, 1, _U32),
    "version": ("version",),
    "epoch": (int, 0, _U32),
    "vid": ("hex", 32),
    "cid": ("hex", 32),
    "revisions": ("list", 0, REVISIONS_MAX),
}
_ARTIFACT = {
    "encoding": ("encoding",),
    "base": ("base",),
    "block_size": (int, protocol.BLOCK_BYTES_MIN, protocol.BLOCK_BYTES_MAX),
    "blocks": (int, 1, _U32),
    "index_sha256": ("list", 1, PAYLOAD_BYTES_MAX // 64),
    "bytes": (int, 1, _U32),
}
_POLICY = {
    "attempts": (int, 1, 3),
    "confirm_s": (int, 1, 86400),
    "require_unplugged": (bool,),
    "allow_downgrade": (bool,),
    "not_before": (int, 0, _U32 * 2),
    "deadline_s": (int, 0, _YEAR_S),
    "max_deferral_s": (int, 0, _YEAR_S),
    "window": ("window",),
}
_ENCODINGS = ("raw", "deflate", "delta")  # delta: known to the format, not yet to this agent
_HEX = "0123456789abcdef"


class ManifestError(Exception):
    """Why an offer is not taken: `.code` is stable, `.detail` names the field or the numbers."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code + (": " + detail if detail else ""))
        self.code = code
        self.detail = detail


class Artifact:
    """One way to get the image: block size, number of blocks, hashes of the index pages."""

    def __init__(self, fields: "dict[str, Any]") -> None:
        self.encoding: str = fields["encoding"]
        self.block_size: int = fields["block_size"]
        self.blocks: int = fields["blocks"]
        self.bytes: int = fields["bytes"]
        self.page_hashes = b"".join([bytes.fromhex(h) for h in fields["index_sha256"]])
        self.id = protocol.artifact_id([self.page_hashes])

    def page_hash(self, page: int) -> bytes:
        """SHA-256 (32 bytes) that index page number `page` must have."""
        return self.page_hashes[page * 32 : page * 32 + 32]


class Policy:
    """How to activate and confirm; times in seconds, 0 = no limit."""

    def __init__(self, fields: "dict[str, Any]") -> None:
        self.attempts: int = fields["attempts"]
        self.confirm_s: int = fields["confirm_s"]
        self.require_unplugged: bool = fields["require_unplugged"]
        self.allow_downgrade: bool = fields["allow_downgrade"]
        self.not_before: int = fields["not_before"]
        self.deadline_s: int = fields["deadline_s"]
        self.max_deferral_s: int = fields["max_deferral_s"]
        self.window = fields["window"]


# Of a trial that no journal knows, an image put there by hand: confirm it like any other.
DEFAULT_POLICY = {
    "attempts": 3,
    "confirm_s": 600,
    "require_unplugged": False,
    "allow_downgrade": False,
    "not_before": 0,
    "deadline_s": 0,
    "max_deferral_s": 0,
    "window": None,
}


class Manifest:
    """A checked payload. `digest` is the image's container digest, `version` four numbers."""

    def __init__(self, fields: "dict[str, Any]") -> None:
        image = fields["image"]
        self.seq: int = fields["seq"]
        self.request_id: int = fields["request_id"]
        self.device: str = fields["device"]
        self.digest = bytes.fromhex(image["sha256"])
        self.size: int = image["size"]
        self.version = parse_version(image["version"])
        self.epoch: int = image["epoch"]
        self.vid = bytes.fromhex(image["vid"])
        self.cid = bytes.fromhex(image["cid"])
        self.revisions: "list[str]" = image["revisions"]
        self.artifacts = [Artifact(a) for a in fields["artifacts"]]
        self.policy = Policy(fields["policy"])


def _bad(field: str) -> ManifestError:
    return ManifestError("BAD_MANIFEST", field)


def _is_hex(value: "Any", chars: int) -> bool:
    return isinstance(value, str) and len(value) == chars and all(c in _HEX for c in value)


def parse_version(text: "Any") -> "tuple[int, int, int, int]":
    """(major, minor, revision, build) of "1.2.3+4"; ManifestError BAD_MANIFEST otherwise."""
    if not isinstance(text, str) or len(text) > 26 or text.count("+") != 1:
        raise _bad("version")
    base, build = text.split("+")
    parts = base.split(".") + [build]
    if len(parts) != 4 or not all(p and all("0" <= c <= "9" for c in p) for p in parts):
        raise _bad("version")
    numbers = [int(p) for p in parts]
    if max(numbers[:2]) > 0xFF or numbers[2] > 0xFFFF or numbers[3] > _U32:
        raise _bad("version")
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def version_text(version: "Sequence[int]") -> str:
    """(1, 2, 3, 4) -> "1.2.3+4"."""
    return "{}.{}.{}+{}".format(version[0], version[1], version[2], version[3])


def _number_fits(value: "Any", least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _word_fits(rule: "Any", value: "Any") -> bool:
    kind = rule[0]
    if kind == "list":
        return isinstance(value, list) and rule[1] <= len(value) <= rule[2]
    if kind == "hex":
        return _is_hex(value, rule[1])
    if kind == "name":
        return protocol.is_name(value)
    if kind == "dict":
        return isinstance(value, dict)
    if kind == "encoding":
        return value in _ENCODINGS
    if kind == "base":
        return value is None or _is_hex(value, 64)
    if kind == "version":
        return parse_version(value) is not None
    return value is None or isinstance(value, str)  # window


def _check(table: "dict[str, Any]", fields: "Any", where: str) -> None:
    """Exactly the fields of `table`, each of its type and in its range."""
    if not isinstance(fields, dict) or set(fields) != set(table):
        raise _bad(where + " fields")
    for name, rule in table.items():
        value = fields[name]
        if rule[0] is int:
            fits = _number_fits(value, rule[1], rule[2])
        elif rule[0] is bool:
            fits = type(value) is bool
        else:
            fits = _word_fits(rule, value)
        if not fits:
            raise _bad(where + " " + name)


def _check_artifact(artifact: "dict[str, Any]", image_size: int) -> None:
    _check(_ARTIFACT, artifact, "artifact")
    block_size, blocks = artifact["block_size"], artifact["blocks"]
    if block_size & (block_size - 1):
        raise _bad("block_size is no power of two")
    if blocks != (image_size + block_size - 1) // block_size:
        raise _bad("blocks do not cover the image")
    if len(artifact["index_sha256"]) != protocol.page_count(blocks):
        raise _bad("number of index pages")
    if not all(_is_hex(h, 64) for h in artifact["index_sha256"]):
        raise _bad("index_sha256")
    if (artifact["base"] is not None) != (artifact["encoding"] == "delta"):
        raise _bad("base goes with delta, and with nothing else")


def parse(payload: "bytes | bytearray | memoryview") -> Manifest:
    """The manifest in an authenticated payload; ManifestError BAD_MANIFEST otherwise.

    Unknown, missing, mistyped and out-of-range fields are refused alike. MemoryError goes up: it
    says nothing about the payload, because what nests never reaches the parser.
    """
    if not 0 < len(payload) <= PAYLOAD_BYTES_MAX:
        raise _bad("size")
    text = bytes(payload)
    if text.count(b"[") + text.count(b"{") > _BRACKETS_MAX:
        raise _bad("nesting")
    try:
        fields = json.loads(text.decode())
    except (ValueError, UnicodeError):
        raise _bad("not JSON")
    _check(_TOP, fields, "manifest")
    _check(_IMAGE, fields["image"], "image")
    _check(_POLICY, fields["policy"], "policy")
    if not all(protocol.is_name(r) for r in fields["image"]["revisions"]):
        raise _bad("revisions")
    for artifact in fields["artifacts"]:
        _check_artifact(artifact, fields["image"]["size"])
    return Manifest(fields)


class Device:
    """What an offer is judged against.

    `names`: the device and its groups; `epoch`: the stored or the running image's, whichever is
    higher; `image_limit`: most container bytes that the slot takes; `seq` and `request_id`: of the
    last accepted offer; `denied`: hex digests of images that failed their trial here.
    """

    def __init__(
        self,
        names: "Sequence[str]",
        vid: bytes,
        cid: bytes,
        revision: str,
        image_limit: int,
        block_bytes_max: int,
    ) -> None:
        self.names = names
        self.vid = vid
        self.cid = cid
        self.revision = revision
        self.image_limit = image_limit
        self.block_bytes_max = block_bytes_max
        self.seq = 0
        self.request_id = 0
        self.epoch = 0
        self.version = (0, 0, 0, 0)
        self.digest = b""
        self.denied: "list[str]" = []


def _meant_for_us(manifest: Manifest, device: Device) -> None:
    if manifest.device not in device.names:
        raise ManifestError("WRONG_DEVICE", manifest.device)


def _fresh(manifest: Manifest, device: Device) -> None:
    if manifest.seq <= device.seq:
        raise ManifestError("REPLAY", "seq {} <= {}".format(manifest.seq, device.seq))
    if manifest.request_id == device.request_id:
        raise ManifestError("DUPLICATE_REQUEST_ID", str(manifest.request_id))


def _fits_hardware(manifest: Manifest, device: Device) -> None:
    if manifest.vid != device.vid or manifest.cid != device.cid:
        raise ManifestError("WRONG_HW", "hardware class")
    if manifest.revisions and device.revision not in manifest.revisions:
        raise ManifestError("WRONG_HW", "revision " + device.revision)


def _epoch_holds(manifest: Manifest, device: Device) -> None:
    numbers = "epoch {} after {}".format(manifest.epoch, device.epoch)
    if manifest.epoch < device.epoch:
        raise ManifestError("ROLLBACK", numbers)
    if manifest.epoch > device.epoch + EPOCH_STEP_MAX:
        raise ManifestError("EPOCH_JUMP", numbers)


def _version_advances(manifest: Manifest, device: Device) -> None:
    if manifest.digest == device.digest:
        raise ManifestError("ALREADY_INSTALLED", version_text(manifest.version))
    if manifest.version <= device.version and not manifest.policy.allow_downgrade:
        numbers = "{} after {}".format(version_text(manifest.version), version_text(device.version))
        raise ManifestError("DOWNGRADE", numbers)


def _not_denied(manifest: Manifest, device: Device) -> None:
    if manifest.digest.hex() in device.denied:
        raise ManifestError("DENIED", "failed its trial here: " + version_text(manifest.version))


def _fits_slot(manifest: Manifest, device: Device) -> None:
    if manifest.size > device.image_limit:
        numbers = "{} bytes, slot takes {}".format(manifest.size, device.image_limit)
        raise ManifestError("OUT_OF_STORAGE", numbers)


def _can_do(manifest: Manifest, device: Device) -> None:
    # The agent has no wall clock yet: a start time it cannot keep is refused, not ignored.
    if manifest.policy.not_before or manifest.policy.window is not None:
        raise ManifestError("UNSUPPORTED", "policy not_before and window need a clock")
    if not usable(manifest, device):
        raise ManifestError("UNSUPPORTED", "no artifact that this agent can decode")


# In this order: the first rule that fails names the refusal.
RULES = (
    _meant_for_us,
    _fresh,
    _fits_hardware,
    _epoch_holds,
    _version_advances,
    _not_denied,
    _fits_slot,
    _can_do,
)


def judge(manifest: Manifest, device: Device) -> None:
    """ManifestError with the code of the first rule that the manifest breaks on this device."""
    for rule in RULES:
        rule(manifest, device)


def usable(manifest: Manifest, device: Device) -> "list[Artifact]":
    """The artifacts that this agent can decode, in the manifest's order of preference."""
    return [
        a
        for a in manifest.artifacts
        if a.encoding in ("raw", "deflate") and a.block_size <= device.block_bytes_max
    ]
