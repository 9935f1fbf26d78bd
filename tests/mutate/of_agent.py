"""Mutants of the agent's writes: blocks into the slot, arming, confirming, the journal."""

from __future__ import annotations

from tests.mutate.mutants import Of

RIG = (
    "tests/power/test_update_rules.py",
    "tests/power/test_update_course.py",
    "tests/power/test_update_faults.py",
)
_DOWNLOADS = (
    "tests/unit/test_download.py",
    "tests/unit/test_download_damage.py",
    "tests/power/test_download.py",
    "tests/properties/test_download.py",
)
_w = Of("agent/fetch/slot_writer.py", "tests/unit/test_slot_writer.py", *_DOWNLOADS)
_d = Of("agent/fetch/download.py", *_DOWNLOADS)
_b = Of("agent/fetch/blocks.py", "tests/unit/test_blocks.py", *_DOWNLOADS)
_i = Of("agent/update/install.py", "tests/power/test_install.py", *RIG)
_a = Of("agent/update/activation.py", "tests/power/test_install.py", *RIG)
_u = Of("agent/update/updater.py", *RIG)
_j = Of(
    "agent/update/journal.py",
    "tests/unit/test_journal.py",
    "tests/properties/test_journal.py",
    "tests/power/test_journal.py",
)

_BOOT_ROWS = "tests/power/test_boot_rows.py"
_FAULTS = "tests/power/test_faults.py"

MUTANTS = [
    # --- what failed, and what cannot be confirmed ---
    _i(
        "spoil",
        "I7 what failed its trial gets no attempt back",
        "            self.spare.region.erase(0, self.spare.region.erase_bytes)",
        "            pass",
        _FAULTS,
    ),
    _u(
        "spoil-last",
        "I3 the last image is not erased",
        "if self._p.booted.slot is not None:  # else",
        "if True:  # else",
        _BOOT_ROWS,
    ),
    _i(
        "alone",
        "I2 the only image is not given up for its trailer",
        "return bool(self._booted.codes.get(self.spare.name))",
        "return False",
        _BOOT_ROWS,
    ),
    _a(
        "alone-asked",
        "what cannot be confirmed gives way to the other image",
        "if not self._p.installer.alone:",
        "if False:",
        _BOOT_ROWS,
    ),
    _i(
        "unconfirmed",
        "it boots as a last resort, not as a trial again",
        "        assert slot is not None\n        trailer.erase(slot.region, slot.layout)",
        "        assert slot is not None",
        _BOOT_ROWS,
    ),
    # --- slot_writer.py ---
    _w(
        "erase-first",
        "erased before it is programmed",
        "if self.per_sector == 1 or not self._fresh.get(block // self.per_sector):",
        "if False:",
    ),
    _w(
        "blank-proves-nothing",
        "T55 only sectors erased by this object are trusted",
        "if self.per_sector == 1 or not self._fresh.get(block // self.per_sector):",
        "if not self.is_blank(block * self.block_size, block * self.block_size + len(data)):",
    ),
    _w("start-trusts", "T47 a new start trusts no sector", "        self._fresh.reset()\n", ""),
    _w(
        "failed-sector",
        "a sector that failed is erased again",
        "self._fresh.clear(block // self.per_sector)",
        "pass",
    ),
    _w(
        "read-back",
        "T45 a block is read back",
        "            self._compare(block * self.block_size, data)\n",
        "",
    ),
    _w.off("compare", "T45 a block is compared", "if got != want:"),
    _w(
        "compare-all",
        "T45 all of a block",
        "for at in range(0, len(data), _CHUNK_BYTES):",
        "for at in range(0, len(data) - _CHUNK_BYTES + 1, _CHUNK_BYTES):",
    ),
    _w.off(
        "stands-hash",
        "T47 flash is hashed, nothing claimed",
        "if digest[: protocol.SHA16_BYTES] != decoded_sha16:",
    ),
    _w(
        "stands-tail",
        "I9 the rest of the last sector is erased",
        "return self.is_blank(start + len(view), self._room_end(block))",
        "return True",
    ),
    _w.off("blank", "every byte is looked at", "if self._chunk[:n] != self._blank[:n]:"),
    _w(
        "erase-trailer",
        "the trailer is erased",
        "self._region.erase(self.limit, self._region.size_bytes - self.limit)",
        "pass",
    ),
    _w(
        "erase-whole",
        "a block's whole room is erased",
        "end = max(start + sector, min((block + 1) * self.block_size, self.limit))",
        "end = start + sector",
    ),
    _w(
        "erase-limit",
        "an erase never reaches into the trailer",
        "end = max(start + sector, min((block + 1) * self.block_size, self.limit))",
        "end = max(start + sector, (block + 1) * self.block_size)",
    ),
    _w.off("tail", "I9 what an older image left is erased", "if not self.is_blank(offset, end):"),
    _w(
        "padding",
        "the last unit is filled up with the erased value",
        "            self._unit[rest:] = self._blank[: len(self._unit) - rest]\n",
        "",
    ),
    _w(
        "trailer-sectors",
        "a block never reaches into the trailer",
        "return min(max(end, -(-end // sector) * sector), self.limit)",
        "return max(end, -(-end // sector) * sector)",
    ),
    # --- download.py and blocks.py: the order of writes ---
    _d(
        "trailer-first",
        "T55 the trailer is erased before all else",
        "if not self.writer.trailer_is_blank():",
        "if False:",
    ),
    _d(
        "first-block-gone",
        "T55 then the first block",
        "if not self.writer.first_is_blank():",
        "if False:",
    ),
    _d(
        "trailer-then-first",
        "T55 in this order",
        "if not self._trailer_clear:",
        "if not self._trailer_clear and self.writer.first_is_blank():",
    ),
    _d(
        "first-erased-once-more",
        "T55 a torn first block is erased once more",
        "if self.blocks.only_first_left:\n            self.writer.erase_first()",
        "if False:\n            self.writer.erase_first()",
    ),
    _d(
        "first-block-last",
        "T55 the first block is written last",
        "if block == 0 and not self.blocks.only_first_left:",
        "if False:",
    ),
    _d(
        "tail-cleared",
        "I9 complete means the rest is erased",
        "if self._tail_at < self.writer.limit:",
        "if False:",
    ),
    _d("crc", "T38 CRC of a block", "if not protocol.crc_holds(crc, payload):", "if False:"),
    _d(
        "encoded-hash",
        "T38, T44 nothing is decoded before its hash matched",
        "elif len(payload) != encoded_len or protocol.sha16(payload) != encoded_sha16:",
        "elif False:",
    ),
    _d(
        "decoded-hash",
        "T38 nothing is written before its hash matched",
        "if protocol.sha16(data) != decoded_sha16:",
        "if False:",
    ),
    _d(
        "lost-sector",
        "a failed write loses its whole sector",
        "            self.blocks.lose_sector(block)\n            self._flash_failed(err)",
        "            self._flash_failed(err)",
    ),
    _b(
        "sector-together",
        "a wrong block makes its sector's blocks missing",
        "if not all(self._done.get(n) for n in range(max(first, 1), end)):",
        "if False:",
    ),
    _b(
        "only-first",
        "T55 block 0 waits for all others",
        "return self.scanned and self.done_count == self.count - 1 and not self._done.get(0)",
        "return not self._done.get(0)",
    ),
    # --- install.py ---
    _i(
        "named",
        "T30 the image that the manifest names",
        "if (found.digest, found.end, tuple(found.version), found.epoch) != named:",
        "if False:",
    ),
    _i(
        "named-digest",
        "T30 by its digest",
        "if (found.digest, found.end, tuple(found.version), found.epoch) != named:",
        "if (found.end, tuple(found.version), found.epoch) != named[1:]:",
    ),
    _i(
        "named-size",
        "T40 of the named size",
        "if (found.digest, found.end, tuple(found.version), found.epoch) != named:",
        "if (found.digest, tuple(found.version), found.epoch) != (named[0], named[2], named[3]):",
    ),
    _i(
        "named-version",
        "T26 of the named version",
        "if (found.digest, found.end, tuple(found.version), found.epoch) != named:",
        "if (found.digest, found.end, found.epoch) != (named[0], named[1], named[3]):",
    ),
    _i(
        "named-epoch",
        "T21 of the named epoch",
        "if (found.digest, found.end, tuple(found.version), found.epoch) != named:",
        "if (found.digest, found.end, tuple(found.version)) != named[:3]:",
    ),
    _i(
        "epoch-running",
        "T24 not below the running image's epoch",
        "max(self._booted.epoch or 0, running.epoch if running else 0)",
        "self._booted.epoch or 0",
    ),
    _i(
        "epoch-stored",
        "T21 not below the stored epoch",
        "max(self._booted.epoch or 0, running.epoch if running else 0)",
        "running.epoch if running else 0",
    ),
    _i(
        "epoch-jump",
        "T22 not too far above it",
        "boot.VERSION, least, most)",
        "boot.VERSION, least, None)",
    ),
    _i(
        "recheck",
        "T46 rung 10 before arming",
        "        ladder.recheck(slot.region.read, verified)\n",
        "",
    ),
    _i.off(
        "erase-trailer", "T55 a trailer that is not blank is erased first", "if not state.blank:"
    ),
    _i(
        "next-counter",
        "the new image has the highest counter",
        "min(last + 1, _U32)",
        "min(last, _U32)",
    ),
    _i(
        "counter-all",
        "higher than that of every slot",
        "last = max(last, slot.state().counter or 0)",
        "last = slot.state().counter or 0",
    ),
    _i("counter-end", "the counter does not wrap", "min(last + 1, _U32)", "(last + 1) & _U32"),
    _i(
        "counter-unreadable",
        "an unreadable slot does not stop arming",
        "pass  # it cannot be read: it cannot win either",
        "raise",
    ),
    _i(
        "disarm",
        "T53 what failed is disarmed",
        "trailer.erase(self.target.region, self.target.layout)",
        "pass",
    ),
    _i(
        "settle-confirmed",
        "I4 only a confirmed image's epoch counts",
        "if self._booted.mode == decision.CONFIRMED and verified is not None:",
        "if verified is not None:",
    ),
    _i(
        "settle",
        "T24 a damaged epoch is mended at boot",
        "if self._booted.mode == decision.CONFIRMED and verified is not None:",
        "if False:",
    ),
    # --- activation.py ---
    _a(
        "arming-noted",
        "the journal knows of arming before the trailer does",
        "        self._p.journal.arming()\n        try:",
        "        try:",
    ),
    _a(
        "confirm-then-epoch",
        "T23, I4 the epoch rises behind the confirm",
        "            self._p.installer.confirm()\n",
        "            self._p.installer.raise_epoch()\n            self._p.installer.confirm()\n",
    ),
    _a(
        "epoch-rises",
        "T21 the epoch rises with a confirm",
        "            self._p.installer.raise_epoch()\n",
        "            pass\n",
    ),
    # --- journal.py ---
    _j(
        "second-copy",
        "I4 every change stands twice",
        "            self._save_copy(2, manifest)\n",
        "            pass\n",
    ),
    _j(
        "mend",
        "a missing copy is written at the next load",
        'if fields.get("copy") == 1 and fields.get("state") == self.state:',
        "if False:",
    ),
    _j(
        "mend-once",
        "I5 a steady journal writes nothing",
        'if fields.get("copy") == 1 and fields.get("state") == self.state:',
        "if True:",
    ),
    _j(
        "mend-foreign",
        "what a newer agent said is left as it is",
        'if fields.get("copy") == 1 and fields.get("state") == self.state:',
        'if fields.get("copy") == 1:',
    ),
    _j(
        "mend-fails",
        "one copy is enough to go on",
        "self._save_copy(2, manifest)\n        except FlashError:\n            pass",
        "self._save_copy(2, manifest)\n        except FlashError:\n            raise",
    ),
    _j(
        "states",
        "an unknown state is no open job",
        "state if state in states.JOURNAL_STATES else states.J_CLOSED",
        "state",
    ),
    _j(
        "numbers",
        "T32 a seq is a number of 0 or more",
        "value if type(value) is int and value >= 0 else 0",
        "value",
    ),
    _j(
        "words",
        "a word is text",
        'value if isinstance(value, str) else ""',
        "value",
    ),
    _j.off("outcome", "an outcome is a status", "if self.outcome not in protocol.STATUSES:"),
    _j(
        "denied-text",
        "a denied image is a digest",
        "[digest for digest in listed if isinstance(digest, str)]",
        "listed",
    ),
    _j(
        "denied-read",
        "no more denied images than are kept, read",
        "if isinstance(digest, str)][-DENIED_MAX:]",
        "if isinstance(digest, str)]",
    ),
    _j(
        "denied-kept",
        "no more denied images than are kept, written",
        "(self.denied + [denied.hex()])[-DENIED_MAX:]",
        "(self.denied + [denied.hex()])",
    ),
    _j(
        "denied",
        "a failed image is remembered",
        "if denied is not None and denied.hex() not in self.denied:",
        "if False:",
    ),
    _j(
        "older-manifest",
        "the manifest of an older job never gets into a newer one",
        'if fields.get("offer") != self.offer:',
        "if False:",
    ),
    _j(
        "closed-manifest",
        "a closed job keeps no manifest",
        'if fields is None or fields.get("state") == states.J_CLOSED:',
        "if fields is None:",
    ),
    _j(
        "failed-save",
        "a save that failed changes nothing",
        "self._take(_split(self._scratch, self._records.load(self._scratch))[0] or {})\n            raise",
        "raise",
    ),
    _j.off("long-json", "a length beyond the record", "if start > length:"),
    _j.off("no-object", "JSON that is no object", "if not isinstance(fields, dict):"),
]
