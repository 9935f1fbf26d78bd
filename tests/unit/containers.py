"""Builds small containers for tests, on both Pythons. The keys are in the open: DO NOT USE them.

MicroPython cannot sign, so a signature is looked up by (key, digest) in vectors_DO_NOT_USE.py. After
a change of what the unit tests build, run `python -m tests.vectors.make_unit_vectors`. CPython tests
that build freely set `containers.signer = tests.vectors.signing_DO_NOT_USE.sign` (their conftest).
"""

import hashlib
import json
import struct

from bootloader_verify import container, ladder
from bootloader_verify.keyset import (
    ECDSA_P256,
    RELEASE,
    ROLLOUT,
    ROOT,
    RSA3072_PSS,
    Key,
    Keyset,
    key_id,
)
from tests.unit import vectors_DO_NOT_USE as vectors

VID = bytes(range(16))
CID = bytes(range(16, 32))
REVISION = "A"
PAYLOAD = bytes([i * 7 & 0xFF for i in range(100)])
# name -> (algorithm, role)
KEYS = {
    "root_1": (ECDSA_P256, ROOT),
    "root_2": (ECDSA_P256, ROOT),
    "root_3": (ECDSA_P256, ROOT),
    "release_1": (ECDSA_P256, RELEASE),
    "release_2": (ECDSA_P256, RELEASE),
    "release_rsa": (RSA3072_PSS, RELEASE),
    "rollout_1": (ECDSA_P256, ROLLOUT),
    "stranger": (ECDSA_P256, RELEASE),  # in no keyset
}
KNOWN = [name for name in sorted(KEYS) if name != "stranger"]
_ROLE_KEY = {1: "release_1", 2: "rollout_1", 3: "root_1", 4: "rollout_1"}

signer = None  # a function (key name, digest) -> signature, on CPython


def sign(name, digest):
    """The signature of `digest` by the key of that name."""
    if signer:
        return signer(name, digest)
    found = vectors.SIGNATURES.get(name + ":" + digest.hex())
    if found is None:
        raise LookupError("run `python -m tests.vectors.make_unit_vectors` once more")
    return bytes.fromhex(found)


def raw(name):
    """x‖y, or the modulus."""
    return bytes.fromhex(vectors.PUBLIC[name])


def hash_of(name):
    return key_id(KEYS[name][0], raw(name))


# --- keysets ----------------------------------------------------------------------------------------
def keyset(names=None, device_class="all", thresholds=None, revoked=(), min_epoch=None):
    """A Keyset of the keys of these names, by default all but the stranger."""
    keys = {}
    for name in names or KNOWN:
        alg, role = KEYS[name]
        keys[hash_of(name)] = Key(hash_of(name), alg, role, device_class, raw(name))
    limits = {ROOT: 2, RELEASE: 1, ROLLOUT: 1}
    limits.update(thresholds or {})
    return Keyset(1, keys, limits, tuple([hash_of(name) for name in revoked]), min_epoch)


def keyset_fields(names=None):
    """The JSON fields of such a keyset, to be bent by a test."""
    listed = [
        {
            "id": hash_of(name).hex(),
            "alg": KEYS[name][0],
            "role": KEYS[name][1],
            "class": "all",
            "key": raw(name).hex(),
        }
        for name in names or KNOWN
    ]
    return {
        "version": 1,
        "keys": listed,
        "thresholds": {ROOT: 2, RELEASE: 1, ROLLOUT: 1},
        "revoked": [],
        "min_epoch": {},
    }


def keyset_text(version, names=None, revoked=(), root_threshold=2):
    """Such a keyset as JSON that is the same on both Pythons (MicroPython's dicts have no order)."""
    keys = [
        '{{"id":"{}","alg":"{}","role":"{}","class":"all","key":"{}"}}'.format(
            hash_of(name).hex(), KEYS[name][0], KEYS[name][1], raw(name).hex()
        )
        for name in names or KNOWN
    ]
    return (
        '{{"version":{},"keys":[{}],"thresholds":{{"root":{},"release":1,"rollout":1}},'
        '"revoked":[{}],"min_epoch":{{}}}}'
    ).format(
        version,
        ",".join(keys),
        root_threshold,
        ",".join(['"{}"'.format(hash_of(name).hex()) for name in revoked]),
    )


def keyset_container(version, signers, names=None, revoked=(), root_threshold=2):
    """A signed keyset: kind 3."""
    text = keyset_text(version, names, revoked, root_threshold)
    return other(container.KIND_KEYSET, signers, text.encode())


def keyset_json(fields=None):
    return json.dumps(fields or keyset_fields()).encode()


# --- containers -------------------------------------------------------------------------------------
def tlv(kind, value):
    return struct.pack("<HH", kind, len(value)) + value


def area(magic, entries):
    body = b"".join(entries)
    return struct.pack("<HH", magic, 4 + len(body)) + body


def protected_entries(kind=1, epoch=1, vid=VID, cid=CID, revisions=None, least_agent=None):
    """The usual entries in imgtool's order; None leaves one out."""
    entries = []
    if epoch is not None:
        entries.append(tlv(container.TLV_SEC_CNT, struct.pack("<I", epoch)))
    if vid is not None:
        entries.append(tlv(container.TLV_VID, vid))
    if cid is not None:
        entries.append(tlv(container.TLV_CID, cid))
    if kind is not None:
        entries.append(tlv(container.TLV_KIND, bytes([kind])))
    if revisions is not None:
        entries.append(tlv(container.TLV_REVISIONS, revisions))
    if least_agent is not None:
        entries.append(tlv(container.TLV_LEAST_AGENT, struct.pack("<BBHI", *least_agent)))
    return entries


def header(payload_size, protect_tlv_size, **bent):
    """The 32-byte header; any field can be bent by its name."""
    fields = {
        "magic": container.MAGIC,
        "load_addr": 0,
        "hdr_size": 32,
        "protect_tlv_size": protect_tlv_size,
        "img_size": payload_size,
        "flags": 0,
        "version": (1, 2, 3, 4),
        "pad": 0,
    }
    fields.update(bent)
    return struct.pack(
        container.HEADER,
        fields["magic"],
        fields["load_addr"],
        fields["hdr_size"],
        fields["protect_tlv_size"],
        fields["img_size"],
        fields["flags"],
        *(tuple(fields["version"]) + (fields["pad"],)),
    )


def body(entries=None, payload=PAYLOAD, **bent):
    """What is under the digest: header, payload, protected area."""
    protected = area(0x6908, protected_entries() if entries is None else entries)
    size = len(protected)
    hdr_size = bent.get("hdr_size", 32)
    head = header(len(payload), bent.pop("protect_tlv_size", size), **bent)
    return head + bytes(max(0, hdr_size - 32) if hdr_size <= 4096 else 0) + payload + protected


def pair(name, digest, keyhash=None, signature=None, kind=None):
    """(KEYHASH, signature) of the key of that name; each part can be bent."""
    if signature is None:
        signature = sign(name, digest)
    if kind is None:
        kind = container.TLV_RSA3072_PSS if KEYS[name][0] == RSA3072_PSS else container.TLV_ECDSA
    return tlv(container.TLV_KEYHASH, keyhash or hash_of(name)) + tlv(kind, signature)


def digest_of(signed):
    return hashlib.sha256(signed).digest()


def seal(signed, names=("release_1",), pairs=None):
    """`signed` and its unprotected area: SHA256, then a pair for each name, or the given pairs."""
    digest = digest_of(signed)
    if pairs is None:
        pairs = [pair(name, digest) for name in names]
    return signed + area(0x6907, [tlv(container.TLV_SHA256, digest)] + pairs)


def image(names=("release_1",), payload=PAYLOAD, bent=None, **claims):
    """A signed image; `bent` are header fields, `claims` those of protected_entries."""
    return seal(body(protected_entries(**claims), payload, **(bent or {})), names)


def other(kind, names=None, payload=b'{"a": 1}', **claims):
    """A signed container of another kind: manifest 2, keyset 3, ticket 4."""
    entries = protected_entries(kind, None, None, None, **claims)
    signed = body(entries, payload, flags=container.FLAG_NON_BOOTABLE)
    return seal(signed, names or (_ROLE_KEY[kind],))


def expect(kind=1, **changes):
    """What a device asks of an image."""
    asked = {
        "vid": VID,
        "cid": CID,
        "revision": REVISION,
        "min_epoch": 1,
        "max_epoch": 17,
        "agent_version": (1, 0, 0, 0),
    }
    asked.update(changes)
    return ladder.Expect(kind, **asked)


def reader(data):
    """A `read` over bytes that refuses to read outside of them."""

    def read(offset, buf):
        assert offset >= 0 and offset + len(buf) <= len(data), "read outside of the container"
        buf[:] = data[offset : offset + len(buf)]

    return read


def check(data, keys=None, asked=None, size=None):
    """The ladder over `data`."""
    room = len(data) if size is None else size
    return ladder.check(reader(data), room, keys or keyset(), asked or expect())
