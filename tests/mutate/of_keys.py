"""Mutants of keys: what a keyset may say, and how the next one comes into force."""

from __future__ import annotations

from tests.mutate.mutants import Of

_k = Of(
    "bootloader_verify/keyset.py",
    "tests/unit/test_keyset.py",
    "tests/properties/test_keyset.py",
)
_n = Of("bootloader_verify/keyset_store.py", "tests/unit/test_keyset_store.py")

MUTANTS = [
    _k.off("size", "T42 size of the JSON", "if len(payload) > PAYLOAD_BYTES_MAX:"),
    _k(
        "utf-8",
        "T42 UTF-8 on both Pythons",
        'json.loads(str(payload, "utf-8"))',
        "json.loads(bytes(payload))",
    ),
    _k(
        "unknown-field",
        "T42 no unknown field",
        "if not isinstance(fields, dict) or len(fields) != len(names):",
        "if not isinstance(fields, dict):",
    ),
    _k.off("missing-field", "T42 every field", "if name not in fields:"),
    _k(
        "keys-count",
        "1 to 16 keys",
        "if not isinstance(listed, list) or not 1 <= len(listed) <= KEYS_MAX:",
        "if not isinstance(listed, list):",
    ),
    _k.off("key-twice", "T31 one role a key", "if key.id in keys:"),
    _k.off(
        "alg", "T16 known algorithms only", "if not isinstance(alg, str) or alg not in _ALGORITHMS:"
    ),
    _k.off("role", "T31 known roles only", "if role not in ROLES:"),
    _k.off("class", "class ids", "if device_class != ALL_CLASSES:"),
    _k.off(
        "id", "an id is the hash of its key", 'if _hex(fields["id"], 32, "id") != key_id(alg, raw):'
    ),
    _k(
        "threshold-least",
        "T35 a threshold of at least 1",
        '_number(fields[role], 1, "thresholds", KEYS_MAX)',
        '_number(fields[role], 0, "thresholds", KEYS_MAX)',
    ),
    _k(
        "threshold-none",
        "T35 a role that nobody named needs one",
        "self.thresholds.get(role, 1)",
        "self.thresholds.get(role, 0)",
    ),
    _k(
        "revoked-most",
        "T36 at most 32 revoked keys",
        "if not isinstance(listed, list) or len(listed) > REVOKED_MAX:",
        "if not isinstance(listed, list):",
    ),
    _k(
        "revoked-hex",
        "T36 revoked ids are ids",
        'tuple([_hex(item, 32, "revoked") for item in listed])',
        "tuple(listed)",
    ),
    _k(
        "classes-most",
        "at most 16 classes",
        "if not isinstance(fields, dict) or len(fields) > CLASSES_MAX:",
        "if not isinstance(fields, dict):",
    ),
    _k(
        "class-ids",
        "least epochs of class ids",
        '        _hex(name, 16, "min_epoch")\n',
        "",
    ),
    _k(
        "epoch-numbers",
        "T21 least epochs are numbers",
        '        _number(fields[name], 0, "min_epoch")\n',
        "",
    ),
    _k("number-bool", "T41 true is no number", " or isinstance(value, bool)", ""),
    _k("number-range", "T41 numbers in range", " or not least <= value <= most", ""),
    _k(
        "number-type",
        "T41 numbers are whole",
        "if not isinstance(value, int) or isinstance(value, bool)",
        "if isinstance(value, (bool, str, list, dict)) or value is None",
    ),
    _k(
        "hex-length",
        "T41 length of a hex field",
        "if not isinstance(value, str) or len(value) != 2 * size:",
        "if not isinstance(value, str) or len(value) % 2:",
    ),
    _k.off("hex-case", "one spelling of hex", 'if char not in "0123456789abcdef":'),
    _k.off(
        "reachable",
        "T35 a threshold that its keys can meet",
        "if len(keys) < found.threshold(role):",
    ),
    _k(
        "reachable-revoked",
        "T35 revoked keys do not count for it",
        "if one.role == role and one.id not in found.revoked]",
        "if one.role == role]",
        "tests/unit/test_keyset.py",
        "tests/unit/test_keyset_store.py",
    ),
    # --- keyset_store.py ---
    _n.off("size", "T42 size of a keyset", "if len(data) > CONTAINER_BYTES_MAX:"),
    _n(
        "version-next",
        "T35 N + 1 and no other",
        "if found.version != self.keyset.version + 1:",
        "if found.version <= self.keyset.version:",
    ),
    _n(
        "version-back",
        "T35 not N or below",
        "if found.version != self.keyset.version + 1:",
        "if found.version > self.keyset.version + 1:",
    ),
    _n(
        "signed-by-old",
        "T35 signed by the keyset in force",
        "verified = _signed_by(self.keyset, data)",
        "verified = _signed_by(unpack(data), data)",
    ),
    _n("signed-by-new", "T35 signed by itself", "        _signed_by(found, data)\n", ""),
    _n(
        "kind",
        "T29 a keyset and nothing else",
        "ladder.Expect(container.KIND_KEYSET)",
        "ladder.Expect(container.KIND_MANIFEST)",
    ),
    _n(
        "chain-code",
        "T35 its own code",
        "if err.code not in (UNKNOWN_KEY, THRESHOLD):",
        "if True:",
    ),
    _n(
        "stored-first",
        "T55 in force only when it is stored",
        "        records.save(data)\n        self.keyset = self._usable(found)\n",
        "        self.keyset = self._usable(found)\n        records.save(data)\n",
    ),
    _n(
        "second-copy",
        "T36 it stands twice",
        "            records.save(data)\n        except FlashError:\n            pass",
        "            pass\n        except FlashError:\n            pass",
    ),
    _n(
        "second-copy-fails",
        "one copy is enough to go on",
        "        except FlashError:\n            pass",
        "        except FlashError:\n            raise",
    ),
    _n(
        "alternate",
        "T36 once in each half",
        "Records(self._region, CONTAINER_BYTES_MAX, True)",
        "Records(self._region, CONTAINER_BYTES_MAX, False)",
    ),
    _n(
        "mend",
        "a missing copy is written again",
        "range(_COPIES - records.copies(data))",
        "range(0)",
    ),
    _n(
        "mend-once",
        "I5 a steady store writes nothing",
        "range(_COPIES - records.copies(data))",
        "range(_COPIES)",
    ),
    _n("damage", "damage in both halves is an alarm", "elif not blank:", "elif False:"),
    _n(
        "first-cut",
        "a cut of the very first keyset is no alarm",
        "elif not blank:",
        "elif blank != _COPIES:",
    ),
    _n(
        "unreadable",
        "what cannot be read does not stop the boot",
        "        except CodedError:\n            self.damaged = True",
        "        except CodedError:\n            raise",
    ),
    _n(
        "unreadable-said",
        "what cannot be read is an alarm",
        "        except CodedError:\n            self.damaged = True",
        "        except CodedError:\n            pass",
    ),
    _n(
        "newer-factory",
        "a newer base firmware wins",
        "if stored.version > self.keyset.version:",
        "if True:",
    ),
    _n.off(
        "stored",
        "T36 what was taken stays in force after a reset",
        "if stored.version > self.keyset.version:",
    ),
    _n.off("unpack-short", "less than a header", "if len(data) < container.HEADER_BYTES:"),
    _n(
        "unpack-bounds",
        "T3 bounds of a trusted keyset",
        "    container.check_bounds(header, len(data))\n",
        "",
    ),
]
