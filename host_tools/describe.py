"""What stands in a container, for people and for JSON. Nothing here authenticates anything.

Reads as far as it can: what is damaged is named by its code, what can be read is shown.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from bootloader_verify import container as form
from bootloader_verify.errors import BAD_HASH, NOT_ERASED, VerifyError
from host_tools import container, romfs
from host_tools.errors import ToolError

Facts = dict[str, Any]

_TLV_NAMES = {
    form.TLV_KEYHASH: "KEYHASH",
    form.TLV_SHA256: "SHA256",
    form.TLV_ECDSA: "ECDSA",
    form.TLV_RSA3072_PSS: "RSA3072_PSS",
    form.TLV_DEPENDENCY: "DEPENDENCY",
    form.TLV_SEC_CNT: "SEC_CNT",
    form.TLV_VID: "UUID_VID",
    form.TLV_CID: "UUID_CID",
    form.TLV_KIND: "KIND",
    form.TLV_REVISIONS: "REVISIONS",
    form.TLV_LEAST_AGENT: "LEAST_AGENT",
    form.TLV_SBOM: "SBOM_SHA256",
}
_AREAS = {form.PROTECTED_MAGIC: "protected", form.UNPROTECTED_MAGIC: "unprotected"}
_FLAG_NAMES = {form.FLAG_NON_BOOTABLE: "NON_BOOTABLE", form.FLAG_ROM_FIXED: "ROM_FIXED"}
_JSON_KINDS = (form.KIND_MANIFEST, form.KIND_KEYSET, form.KIND_TICKET)
_TLVS_MAX = 64  # shown of a damaged area; a sound one of the profile has fewer


def describe(data: bytes, erased: int = 0xFF) -> Facts:
    """The container at the beginning of `data`; `erased`: what may stand behind it.

    `code` is "" for a container that climbs the ladder up to the digest, else the rung's code;
    header, digest, tlvs, signatures and payload are there as far as they can be read.
    """
    code, detail = _fault(data, erased)
    facts: Facts = {"what": "container", "bytes": len(data), "code": code, "detail": detail}
    facts["authenticated"] = False
    if len(data) < form.HEADER_BYTES:
        return facts
    fields = struct.unpack_from(form.HEADER, data, 0)
    facts["header"] = _header(fields)
    if fields[0] != form.MAGIC:
        return facts
    header = form.Header(fields)
    tlvs, end = _tlvs(data, header.tlv_offset)
    kind = _kind(tlvs)
    return facts | {
        "kind": container.KIND_NAMES.get(kind, f"unknown ({kind})"),
        "digest": _digest(data, header, tlvs),
        "tlvs": [_shown(area, tlv, value) for area, tlv, value in tlvs],
        "signatures": _signatures(tlvs),
        "payload": _payload(data[header.hdr_size : header.tlv_offset], kind),
        "end": end,
    }


def _fault(data: bytes, erased: int) -> tuple[str, str]:
    """("", "") or the first rung, up to the digest, that the bytes do not climb."""
    try:
        header, tlvs = container.rungs_1_to_4(data)
        if container.digest_of(data, header) != tlvs.sha256:
            raise VerifyError(BAD_HASH, "the bytes are not those that were signed")
        if data[tlvs.end :].strip(bytes([erased])):
            raise VerifyError(NOT_ERASED, f"bytes behind {tlvs.end}")
    except VerifyError as error:
        return error.code, error.detail
    return "", ""


def _header(fields: tuple[int, ...]) -> Facts:
    return {
        "magic": f"0x{fields[0]:08x}",
        "load_addr": fields[1],
        "hdr_size": fields[2],
        "protect_tlv_size": fields[3],
        "img_size": fields[4],
        "flags": f"0x{fields[5]:x}",
        "flag_names": [name for flag, name in _FLAG_NAMES.items() if fields[5] & flag],
        "version": container.version_text(fields[6:10]),
    }


def _tlvs(data: bytes, at: int) -> tuple[list[tuple[str, int, bytes]], int]:
    """([(area, type, value)], where the areas end), as far as it makes sense."""
    found: list[tuple[str, int, bytes]] = []
    for magic, area in _AREAS.items():
        head = data[at : at + form.AREA_BYTES]
        if len(head) < form.AREA_BYTES or struct.unpack(form.AREA, head)[0] != magic:
            continue  # no protected area, or nothing that can be read
        end = min(at + struct.unpack(form.AREA, head)[1], len(data))
        at += form.AREA_BYTES
        while at + form.AREA_BYTES <= end and len(found) < _TLVS_MAX:
            tlv, size = struct.unpack_from(form.AREA, data, at)
            at += form.AREA_BYTES
            found.append((area, tlv, data[at : min(at + size, end)]))
            at += size
        at = end
    return found, at


def _kind(tlvs: list[tuple[str, int, bytes]]) -> int:
    """As the verifier reads it: of the protected area only; an image if there is none."""
    for area, tlv, value in tlvs:
        if (area, tlv, len(value)) == ("protected", form.TLV_KIND, 1):
            return value[0]
    return form.KIND_IMAGE


def _digest(data: bytes, header: form.Header, tlvs: list[tuple[str, int, bytes]]) -> Facts:
    stored = next((value.hex() for _, tlv, value in tlvs if tlv == form.TLV_SHA256), "")
    whole = header.tlv_offset + header.protect_tlv_size <= len(data)
    computed = container.digest_of(data, header).hex() if whole else ""
    return {"stored": stored, "computed": computed, "fits": bool(stored) and stored == computed}


def _signatures(tlvs: list[tuple[str, int, bytes]]) -> list[Facts]:
    """The pairs, by key id; whether they are good only `verify` says."""
    found, key = [], ""
    for area, tlv, value in tlvs:
        if area == "unprotected" and tlv == form.TLV_KEYHASH:
            key = value.hex()
        elif area == "unprotected" and tlv in form.SIGNATURE_TYPES:
            found.append({"key": key, "type": _TLV_NAMES[tlv], "bytes": len(value)})
    return found


def _shown(area: str, tlv: int, value: bytes) -> Facts:
    name = _TLV_NAMES.get(tlv, "?")
    entry = {"area": area, "type": f"0x{tlv:02x}", "name": name, "bytes": len(value)}
    return entry | {"value": _value(tlv, value)}


def _value(tlv: int, value: bytes) -> str:
    if tlv == form.TLV_SEC_CNT and len(value) == 4:
        return str(int.from_bytes(value, "little"))
    if tlv == form.TLV_KIND and len(value) == 1:
        return f"{value[0]} {container.KIND_NAMES.get(value[0], 'unknown')}"
    if tlv == form.TLV_REVISIONS:
        return value.decode("ascii", "backslashreplace")
    if tlv == form.TLV_LEAST_AGENT and len(value) == 8:
        return container.version_text(struct.unpack("<BBHI", value))
    return value.hex()


def _payload(payload: bytes, kind: int) -> Facts:
    """A ROMFS as its files, JSON as its fields, anything else by its length and hash."""
    facts: Facts = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    if kind in _JSON_KINDS:
        return facts | _json(payload)
    try:
        files = [{"path": path, "bytes": size} for path, size in romfs.listing(payload)]
    except ToolError as error:
        return facts | {"format": "unknown", "code": error.code, "detail": str(error)}
    return facts | {"format": "romfs", "files": files}


def _json(payload: bytes) -> Facts:
    """The fields, if they are JSON that can be given out as JSON again."""
    try:
        fields = json.loads(payload.decode())
        json.dumps(fields, allow_nan=False)
    except (ValueError, RecursionError) as error:
        return {"format": "unknown", "code": "BAD_JSON", "detail": str(error)}
    return {"format": "json", "json": fields}
