"""Who may sign what: the keys that a device trusts. FORMATS section 6.

`parse` takes the JSON payload of a keyset container and is strict: unknown, missing or mistyped
fields are refused, and a key's id must be the hash of the key. It is called on authentic bytes only.
"""

import hashlib
import json

from bootloader_verify import p256
from bootloader_verify.container import TLV_ECDSA, TLV_RSA3072_PSS
from bootloader_verify.errors import BAD_KEYSET, VerifyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

PAYLOAD_BYTES_MAX = 12288  # sixteen RSA keys; eight P-256 keys take 3 KiB
KEYS_MAX = 16
REVOKED_MAX = 32
CLASSES_MAX = 16
ROOT, RELEASE, ROLLOUT = "root", "release", "rollout"
ROLES = (ROOT, RELEASE, ROLLOUT)
ALL_CLASSES = "all"
ECDSA_P256 = "ecdsa-p256"
RSA3072_PSS = "rsa-3072-pss"
RSA_EXPONENT = 65537
# algorithm -> (signature TLV, key bytes, DER in front of them, DER behind them); the id is the
# SHA-256 of that DER: SubjectPublicKeyInfo for EC, PKCS#1 RSAPublicKey for RSA.
_ALGORITHMS = {
    ECDSA_P256: (
        TLV_ECDSA,
        p256.KEY_BYTES,
        bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"),
        b"",
    ),
    RSA3072_PSS: (
        TLV_RSA3072_PSS,
        384,
        bytes.fromhex("3082018a0282018100"),
        bytes.fromhex("0203010001"),
    ),
}
_FIELDS = ("version", "keys", "thresholds", "revoked", "min_epoch")
_KEY_FIELDS = ("id", "alg", "role", "class", "key")
_U32 = 0xFFFFFFFF


class Key:
    """One trusted key. `device_class` is "all" or the hex of the class id that it may sign for.

    table: a P-256 key's multiples (p256_comb.py) where the base firmware has them, else None.
    """

    def __init__(self, key_id: bytes, alg: str, role: str, device_class: str, raw: bytes) -> None:
        self.id = key_id
        self.alg = alg
        self.role = role
        self.device_class = device_class
        self.raw = raw  # x‖y, or the modulus
        self.signature_tlv = _ALGORITHMS[alg][0]
        self.table: "Optional[bytes]" = None


class Keyset:
    """Version, keys by id, thresholds by role, revoked ids, least epochs by class."""

    def __init__(
        self,
        version: int,
        keys: "dict[bytes, Key]",
        thresholds: "dict[str, int]",
        revoked: "tuple[bytes, ...]" = (),
        min_epoch: "Optional[dict[str, int]]" = None,
    ) -> None:
        self.version = version
        self.keys = keys
        self.thresholds = thresholds
        self.revoked = revoked
        self.min_epoch = min_epoch or {}

    def find(self, key_id: bytes) -> "Optional[Key]":
        return self.keys.get(key_id)

    def threshold(self, role: str) -> int:
        return self.thresholds.get(role, 1)


def key_id(alg: str, raw: bytes) -> bytes:
    """KEYHASH of a key: SHA-256 of its DER."""
    _, _, front, behind = _ALGORITHMS[alg]
    return hashlib.sha256(front + raw + behind).digest()


def parse(payload: "bytes | bytearray | memoryview") -> Keyset:
    """A keyset from its JSON payload, or VerifyError BAD_KEYSET that names the field."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise _bad("more than {} bytes".format(PAYLOAD_BYTES_MAX))
    try:
        fields = json.loads(str(payload, "utf-8"))  # CPython would take UTF-16 bytes too
    except (ValueError, UnicodeError, RuntimeError):  # RuntimeError: nested too deep
        raise _bad("not JSON")
    _exactly(fields, _FIELDS, "keyset")
    found = Keyset(
        _number(fields["version"], 1, "version"),
        _keys(fields["keys"]),
        _thresholds(fields["thresholds"]),
        _revoked(fields["revoked"]),
        _min_epochs(fields["min_epoch"]),
    )
    for role in ROLES:
        _check_reachable(found, role)
    return found


def _check_reachable(found: Keyset, role: str) -> None:
    """A threshold that no keys of the role can meet would lock a device for ever."""
    keys = [one for one in found.keys.values() if one.role == role and one.id not in found.revoked]
    if len(keys) < found.threshold(role):
        raise _bad(
            "{} keys for a threshold of {}: {}".format(len(keys), found.threshold(role), role)
        )


def _keys(listed: "Any") -> "dict[bytes, Key]":
    if not isinstance(listed, list) or not 1 <= len(listed) <= KEYS_MAX:
        raise _bad("keys")
    keys = {}
    for fields in listed:
        key = _key(fields)
        if key.id in keys:
            raise _bad("a key twice")  # a key has one role
        keys[key.id] = key
    return keys


def _key(fields: "Any") -> Key:
    _exactly(fields, _KEY_FIELDS, "key")
    alg, role = fields["alg"], fields["role"]
    if not isinstance(alg, str) or alg not in _ALGORITHMS:
        raise _bad("alg")
    if role not in ROLES:
        raise _bad("role")
    device_class = fields["class"]
    if device_class != ALL_CLASSES:
        _hex(device_class, 16, "class")
    raw = _hex(fields["key"], _ALGORITHMS[alg][1], "key")
    if _hex(fields["id"], 32, "id") != key_id(alg, raw):
        raise _bad("id is not the hash of the key")
    return Key(key_id(alg, raw), alg, role, device_class, raw)


def _thresholds(fields: "Any") -> "dict[str, int]":
    _exactly(fields, ROLES, "thresholds")
    return {role: _number(fields[role], 1, "thresholds", KEYS_MAX) for role in ROLES}


def _revoked(listed: "Any") -> "tuple[bytes, ...]":
    if not isinstance(listed, list) or len(listed) > REVOKED_MAX:
        raise _bad("revoked")
    return tuple([_hex(item, 32, "revoked") for item in listed])


def _min_epochs(fields: "Any") -> "dict[str, int]":
    if not isinstance(fields, dict) or len(fields) > CLASSES_MAX:
        raise _bad("min_epoch")
    for name in fields:
        _hex(name, 16, "min_epoch")
        _number(fields[name], 0, "min_epoch")
    return fields


def _exactly(fields: "Any", names: "tuple[str, ...]", where: str) -> None:
    """No sorting of the names: MicroPython's parser gives keys of any type."""
    if not isinstance(fields, dict) or len(fields) != len(names):
        raise _bad("fields of " + where)
    for name in names:
        if name not in fields:
            raise _bad("fields of " + where)


def _number(value: "Any", least: int, where: str, most: int = _U32) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _bad(where)
    return value


def _hex(value: "Any", size: int, where: str) -> bytes:
    """`size` bytes written as lower-case hex; one spelling only."""
    if not isinstance(value, str) or len(value) != 2 * size:
        raise _bad(where)
    for char in value:
        if char not in "0123456789abcdef":
            raise _bad(where)
    return bytes.fromhex(value)


def _bad(detail: str) -> VerifyError:
    return VerifyError(BAD_KEYSET, detail)
