"""Mutants of rungs 1 to 10: what is looked at before, with and behind the signature."""

from __future__ import annotations

from tests.mutate.mutants import Of

UNIT, LADDER = "tests/unit/test_container.py", "tests/unit/test_ladder.py"
_c = Of("bootloader_verify/container.py", UNIT, LADDER, "tests/properties/test_container.py")
_l = Of("bootloader_verify/ladder.py", LADDER, UNIT, "tests/properties/test_ladder_rungs.py")

MUTANTS = [
    # --- rungs 1 and 2: the header ---
    _c.off("magic", "T1 magic", "if fields[0] != MAGIC:"),
    _c(
        "hdr-size-least",
        "T2 hdr_size at least 32",
        "if not HEADER_BYTES <= header.hdr_size <= HEADER_BYTES_MAX:",
        "if not header.hdr_size <= HEADER_BYTES_MAX:",
    ),
    _c(
        "hdr-size-most",
        "T2 hdr_size at most 4096",
        "if not HEADER_BYTES <= header.hdr_size <= HEADER_BYTES_MAX:",
        "if not HEADER_BYTES <= header.hdr_size:",
    ),
    _c.off("hdr-size-room", "T2 header inside of the room", "if header.hdr_size > size:"),
    _c.off("flags", "T8 unknown flags", "if header.flags not in _FLAGS:"),
    _c(
        "flags-both",
        "T8 two flags at once",
        "_FLAGS = (0, FLAG_NON_BOOTABLE, FLAG_ROM_FIXED)",
        "_FLAGS = (0, FLAG_NON_BOOTABLE, FLAG_ROM_FIXED, FLAG_NON_BOOTABLE | FLAG_ROM_FIXED)",
    ),
    _c.off("pad", "T8 pad is 0", "if fields[10] != 0:"),
    _c.off(
        "load-addr",
        "T8 load_addr only with ROM_FIXED",
        "if header.load_addr != 0 and header.flags != FLAG_ROM_FIXED:",
    ),
    _c.off("no-payload", "T4 img_size 0", "if header.img_size == 0:"),
    _c.off(
        "size",
        "T3 image inside of the room",
        "if header.tlv_offset + header.protect_tlv_size + AREA_BYTES > size:",
    ),
    _c(
        "size-wraps",
        "T3 sums are not masked to 32 bit",
        "if header.tlv_offset + header.protect_tlv_size + AREA_BYTES > size:",
        "if (header.tlv_offset + header.protect_tlv_size + AREA_BYTES) & 0xFFFFFFFF > size:",
    ),
    # --- rung 3: the walk ---
    _c.off(
        "protect-size",
        "T5 protect_tlv_size is the area's",
        "if len(protected) != header.protect_tlv_size:",
    ),
    _c(
        "room-shared",
        "T19 2 KiB for both areas together",
        "room = TLV_BYTES_MAX - len(protected)",
        "room = TLV_BYTES_MAX",
    ),
    _c(
        "room",
        "T19 no area above 2 KiB",
        "if not AREA_BYTES <= total <= room or offset + total > size:",
        "if not AREA_BYTES <= total or offset + total > size:",
    ),
    _c(
        "area-end",
        "T6, T7 area inside of the room",
        "if not AREA_BYTES <= total <= room or offset + total > size:",
        "if not AREA_BYTES <= total <= room:",
    ),
    _c.off("area-magic", "T5 magic of an area", "if found != magic:"),
    _c.off("area-changed", "T46 an area's head read twice alike", "if area[:AREA_BYTES] != head:"),
    _c(
        "stray-bytes",
        "T6 1 to 3 bytes left over",
        'raise VerifyError(BAD_TLV, "{} stray bytes".format(len(area) - at))',
        "break",
    ),
    _c.off("entry-end", "T6 an entry that crosses the end", "if at + size > len(area):"),
    # --- rung 4: types, places, lengths, counts ---
    _c(
        "types",
        "unknown and misplaced entries",
        "lengths.get(kind, (1, 0))",
        "lengths.get(kind, (0, 4096))",
    ),
    _c.off("lengths", "T9, T20 lengths of entries", "if not least <= size <= most:"),
    _c("length-epoch", "T20 length of the epoch", "TLV_SEC_CNT: (4, 4)", "TLV_SEC_CNT: (0, 8)"),
    _c("length-vid", "length of the vendor id", "TLV_VID: (16, 16)", "TLV_VID: (1, 64)"),
    _c("length-cid", "length of the class id", "TLV_CID: (16, 16)", "TLV_CID: (1, 64)"),
    _c("length-kind", "length of the kind", "TLV_KIND: (1, 1)", "TLV_KIND: (0, 4)"),
    _c(
        "length-revisions",
        "length of the revisions",
        "TLV_REVISIONS: (1, 64)",
        "TLV_REVISIONS: (0, 999)",
    ),
    _c(
        "length-agent",
        "length of the least agent",
        "TLV_LEAST_AGENT: (8, 8)",
        "TLV_LEAST_AGENT: (0, 16)",
    ),
    _c("length-sbom", "length of the SBOM hash", "TLV_SBOM: (32, 32)", "TLV_SBOM: (0, 999)"),
    _c(
        "length-dependency",
        "length of a dependency",
        "TLV_DEPENDENCY: (12, 12)",
        "TLV_DEPENDENCY: (0, 99)",
    ),
    _c("length-keyhash", "length of KEYHASH", "TLV_KEYHASH: (32, 32)", "TLV_KEYHASH: (0, 64)"),
    _c("length-sha256", "T9 length of SHA256", "TLV_SHA256: (32, 32)", "TLV_SHA256: (0, 64)"),
    _c("length-ecdsa", "T17 length of ECDSA", "TLV_ECDSA: (8, 72)", "TLV_ECDSA: (0, 255)"),
    _c("length-rsa", "length of RSA", "TLV_RSA3072_PSS: (384, 384)", "TLV_RSA3072_PSS: (0, 512)"),
    _c(
        "epoch-code",
        "T20 a misplaced epoch has its own code",
        "return BAD_EPOCH if kind == TLV_SEC_CNT else BAD_TLV",
        "return BAD_TLV",
    ),
    _c.off("twice", "T20 a protected entry twice", "if kind in found.protected:"),
    _c(
        "no-entries",
        "T9 no entry at all",
        "if not entries or entries[0][0] != TLV_SHA256:",
        "if entries and entries[0][0] != TLV_SHA256:",
    ),
    _c(
        "sha256-first",
        "T9 SHA256 is there and first",
        "if not entries or entries[0][0] != TLV_SHA256:",
        "if not entries:",
    ),
    _c(
        "half-a-pair",
        "half a pair",
        "if len(rest) % 2 or len(rest) // 2 > SIGNATURES_MAX:",
        "if len(rest) // 2 > SIGNATURES_MAX:",
    ),
    _c(
        "five-pairs",
        "T19 a fifth pair",
        "if len(rest) % 2 or len(rest) // 2 > SIGNATURES_MAX:",
        "if len(rest) % 2:",
    ),
    _c(
        "pair-keyhash",
        "a pair begins with KEYHASH",
        "if key[0] != TLV_KEYHASH or signature[0] not in SIGNATURE_TYPES:",
        "if signature[0] not in SIGNATURE_TYPES:",
    ),
    _c(
        "pair-signature",
        "a pair ends with a signature",
        "if key[0] != TLV_KEYHASH or signature[0] not in SIGNATURE_TYPES:",
        "if key[0] != TLV_KEYHASH:",
    ),
    # --- rungs 1 to 5 in the ladder ---
    _l.off("short", "T7 less than a header", "if size < len(head):"),
    _l(
        "rung-2",
        "rung 2",
        "    _rung_2_bounds(header, size)\n",
        "",
    ),
    _l(
        "rung-5",
        "rung 5",
        "    yield from _rung_5_digest(read, head, header, tlvs)\n",
        "",
    ),
    _l.off("digest", "T11 digest", "if hasher.digest() != tlvs.sha256:"),
    _l(
        "digest-header",
        "T46 the parsed header is hashed",
        "hasher = hashlib.sha256(head)\n    yield from _hash(hasher, read, len(head), header.tlv_offset)",
        "hasher = hashlib.sha256()\n    yield from _hash(hasher, read, 0, header.tlv_offset)",
    ),
    _l(
        "digest-tlvs",
        "T46 the parsed TLVs are hashed",
        "hasher.update(tlvs.raw)",
        "yield from _hash(hasher, read, header.tlv_offset, header.tlv_offset + len(tlvs.raw))",
    ),
    # --- rung 6: keys ---
    _l(
        "rung-6",
        "rung 6",
        "    _rung_6_keys(header, tlvs, keyset, expect)\n",
        "",
    ),
    _l.off("unsigned", "T10 no signature", "if not tlvs.pairs:"),
    _l.off("revoked", "T36 revoked key", "if key_id in keyset.revoked:"),
    _l.off("algorithm", "T16 algorithm is the key's", "if key.signature_tlv != tlv:"),
    _l(
        "roles",
        "T31 role and class of the key",
        "        _check_role(key, header, tlvs, expect)\n    if not known:",
        "    if not known:",
    ),
    _l.off("unknown", "T12 no known key", "if not known:"),
    _l.off("role", "T31 role of the key", "if key.role != ROLE_OF_KIND[expect.kind]:"),
    _l(
        "role-image",
        "T31 images by RELEASE",
        "container.KIND_IMAGE: RELEASE",
        "container.KIND_IMAGE: ROLLOUT",
    ),
    _l(
        "role-manifest",
        "T31 manifests by ROLLOUT",
        "container.KIND_MANIFEST: ROLLOUT",
        "container.KIND_MANIFEST: RELEASE",
    ),
    _l(
        "role-keyset",
        "T31 keysets by ROOT",
        "container.KIND_KEYSET: ROOT",
        "container.KIND_KEYSET: RELEASE",
    ),
    _l(
        "role-ticket",
        "T31 tickets by ROLLOUT",
        "container.KIND_TICKET: ROLLOUT",
        "container.KIND_TICKET: ROOT",
    ),
    _l(
        "misplaced",
        "T29 a misplaced kind has its own code",
        "WRONG_KIND if misplaced else WRONG_ROLE",
        "WRONG_ROLE",
    ),
    _l.off(
        "class",
        "class of the key",
        "if key.device_class != ALL_CLASSES and bytes.fromhex(key.device_class) != cid:",
    ),
    # --- rung 7: signatures ---
    _l(
        "rung-7",
        "rung 7",
        "    _rung_7_signatures(tlvs, keyset, expect)\n",
        "",
    ),
    _l(
        "every-pair",
        "T13, T15 every pair of a known key",
        'raise VerifyError(BAD_SIGNATURE, "key {}".format(short(key_id)))',
        "continue",
    ),
    _l(
        "distinct",
        "T35 distinct keys",
        "signers.add(key_id)",
        "signers.add((key_id, len(signers)))",
    ),
    _l(
        "threshold",
        "T35 threshold",
        "if len(signers) < max(1, needed):",
        "if not signers:",
    ),
    _l(
        "threshold-role",
        "T35 threshold of the role that is asked for",
        "needed = keyset.threshold(ROLE_OF_KIND[expect.kind])",
        "needed = keyset.threshold(RELEASE)",
    ),
    # --- rung 8: claims ---
    _l.off("kind", "T29 kind", "if kind != expect.kind:"),
    _l(
        "non-bootable",
        "T29 kind and NON_BOOTABLE agree",
        "return kind if bootable == (kind == container.KIND_IMAGE) else 0",
        "return kind",
    ),
    _l(
        "hardware",
        "T27 hardware",
        "        _check_hardware(tlvs, expect)\n        epoch",
        "        epoch",
    ),
    _l("no-vid", "T27 vendor id is there", "if vid is None or cid is None:", "if cid is None:"),
    _l("no-cid", "T27 class id is there", "if vid is None or cid is None:", "if vid is None:"),
    _l.off("vid", "T27 vendor", "if expect.vid is not None and vid != expect.vid:"),
    _l.off("cid", "T27 class", "if expect.cid is not None and cid != expect.cid:"),
    _l.off("revision", "T27 revision", 'if expect.revision.encode() not in revisions.split(b","):'),
    _l(
        "revision-part",
        "T27 a whole revision, not a part of one",
        'not in revisions.split(b","):',
        "not in revisions:",
    ),
    _l(
        "no-epoch",
        "T20 epoch is there",
        'raise VerifyError(BAD_EPOCH, "no security counter")',
        "return expect.min_epoch",
    ),
    _l.off("rollback", "T21 epoch not below the stored one", "if epoch < least:"),
    _l(
        "epoch-class",
        "T21 least epoch of the keyset",
        "least = max(expect.min_epoch, keyset.min_epoch.get(cid, 0))",
        "least = expect.min_epoch",
    ),
    _l(
        "epoch-stored",
        "T21 stored epoch beside the keyset's",
        "least = max(expect.min_epoch, keyset.min_epoch.get(cid, 0))",
        "least = keyset.min_epoch.get(cid, expect.min_epoch)",
    ),
    _l.off(
        "epoch-jump",
        "T22 epoch not too far ahead",
        "if expect.max_epoch is not None and epoch > expect.max_epoch:",
    ),
    _l.off(
        "rom-fixed",
        "T28 made for this slot",
        "if header.flags == container.FLAG_ROM_FIXED and header.load_addr != expect.slot_offset:",
    ),
    _l.off(
        "agent-version",
        "least agent version",
        "if (tuple(expect.agent_version) + _ANY_VERSION)[:4] < least:",
    ),
    # --- rungs 9 and 10 ---
    _l(
        "rung-9",
        "T54 rung 9",
        "    _rung_9_erased(read, tlvs.end, size, expect.erased)\n",
        "",
    ),
    _l.off(
        "erased", "T54 erased behind the container", "if not is_blank(read, start, size, erased):"
    ),
    _l.off("recheck", "T46 rung 10", "if hasher.digest() != verified.digest:"),
]
