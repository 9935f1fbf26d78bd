"""Mutants of what keeps a value over power cuts: record log, epoch, regions, the strict flash."""

from __future__ import annotations

from tests.mutate.mutants import Of

_r = Of(
    "bootloader_verify/records.py",
    "tests/unit/test_records.py",
    "tests/power/test_records.py",
    "tests/properties/test_records.py",
    "tests/unit/test_counter.py",
    "tests/unit/test_journal.py",
    "tests/power/test_journal.py",
    "tests/power/test_counter.py",
)
_e = Of(
    "bootloader_verify/counter.py",
    "tests/unit/test_counter.py",
    "tests/power/test_counter.py",
    "tests/properties/test_counter.py",
)
_f = Of("bootloader_verify/flash.py", "tests/unit/test_flash.py")
_u = Of("bootloader_verify/ports/unix.py", "tests/unit/test_nor.py")

MUTANTS = [
    # --- records.py: reading ---
    _r.off("crc", "CRC of a record", "if self._crc(size) != crc:"),
    _r(
        "complement",
        "complement of seq",
        "if seq ^ inverse != _U32 or size",
        "if size",
    ),
    _r(
        "size-most",
        "no record above max_payload",
        " or size > self.max_payload or",
        " or",
    ),
    _r(
        "size-half",
        "no record beyond its half",
        "size > self.max_payload or end > self._half_bytes:",
        "size > self.max_payload:",
    ),
    _r("newest", "the largest seq counts", "if seq > self._seq:", "if True:"),
    _r(
        "read-anew",
        "T46 a record is checked anew when it is loaded",
        "return bool(seq == self._seq and size == self._size and found == crc)",
        "return True",
    ),
    _r(
        "read-anew-seq",
        "T46 the loaded record is the one that was found",
        "return bool(seq == self._seq and size == self._size and found == crc)",
        "return bool(size == self._size and found == crc)",
    ),
    _r(
        "changing",
        "T46 a flash that cannot hold still is an error",
        'raise FlashError(CHANGED, "record {}".format(self._seq))',
        "return 0",
    ),
    # --- records.py: writing ---
    _r.off("payload-most", "no payload above max_payload", "if size > self.max_payload:"),
    _r.off(
        "halves",
        "two halves of whole sectors",
        "if self._half_bytes % region.erase_bytes or not self._half_bytes:",
    ),
    _r.off("room", "a record fits into a half", "if room > self._half_bytes:"),
    _r(
        "step",
        "T55 +2 into the other half",
        "(1 if half == self._newest_half() else 2)",
        "1",
    ),
    _r(
        "behind-torn",
        "T55 nothing behind a torn record",
        "self._ends[half] = at if blank else self._half_bytes",
        "self._ends[half] = at",
    ),
    _r(
        "closed",
        "a write that failed closes its half",
        "        self._ends[half] = self._half_bytes  # closed, should the write fail in the middle\n",
        "",
    ),
    _r(
        "other-half",
        "I3 never erase the half of the newest record",
        "        if self._seq:\n            half = 1 - newest\n        self._ends",
        "        self._ends",
    ),
    _r(
        "erase-closed",
        "an erase that failed closes its half",
        "        self._ends[half] = self._half_bytes\n        self._region.erase",
        "        self._region.erase",
    ),
    _r(
        "erase-half",
        "I10 one half is erased, not both",
        "self._region.erase(half * self._half_bytes, self._half_bytes)",
        "self._region.erase(0, 2 * self._half_bytes)",
    ),
    _r(
        "read-back",
        "T45 a record is read back",
        "program_checked(self._region, start, self._work[:total])",
        "self._region.program(start, self._work[:total])",
    ),
    _r(
        "padding",
        "filled up with the erased value",
        "self._work[i] = self._region.erased",
        "self._work[i] = self._region.erased ^ 0xFF",
    ),
    _r(
        "alternate",
        "a value saved twice stands in both halves",
        "half = 1 - newest if self._alternate and self._seq else newest",
        "half = newest",
    ),
    # --- counter.py ---
    _e("copies", "T24 the epoch stands twice", "_COPIES = 2", "_COPIES = 1"),
    _e(
        "alternate",
        "T24 once in each half",
        "Records(region, _PAYLOAD_BYTES, True)",
        "Records(region, _PAYLOAD_BYTES, False)",
    ),
    _e(
        "steady",
        "I5 nothing is written twice",
        "range(_COPIES - self._records.copies(payload))",
        "range(_COPIES)",
    ),
    _e.off(
        "jump",
        "T22 no jump above 16",
        "if not adopt and stored is not None and epoch > stored + EPOCH_STEP_MAX:",
    ),
    _e(
        "adopt",
        "the factory's epoch is adopted",
        "if not adopt and stored is not None and",
        "if stored is not None and",
    ),
    _e(
        "never-lower",
        "I4 never lower",
        "max(epoch, stored)",
        "epoch",
    ),
    _e(
        "damage",
        "T24 damage is not 0",
        "return 0 if self._never_stored() else None",
        "return 0",
    ),
    _e(
        "first-torn",
        "T23 a torn first record is 0",
        "return is_blank(self._region.read, first, ",
        "return is_blank(self._region.read, 0, ",
    ),
    _e(
        "changing",
        "T24 what cannot be read is damage",
        "except FlashError:\n            return None",
        "except FlashError:\n            return 0",
    ),
    _e("foreign", "a record of another length is damage", "if size == _PAYLOAD_BYTES:", "if size:"),
    # --- flash.py ---
    _f.off(
        "region-sectors",
        "a region is whole sectors",
        "if offset % flash.erase_bytes or size_bytes % flash.erase_bytes or size_bytes <= 0:",
    ),
    _f.off(
        "region-inside",
        "a region is inside of its flash",
        "if offset < 0 or offset + size_bytes > flash.size_bytes:",
    ),
    _f(
        "below",
        "nothing below a region",
        "if offset < 0 or size < 0 or offset + size > self.size_bytes:",
        "if size < 0 or offset + size > self.size_bytes:",
    ),
    _f(
        "above",
        "nothing above a region",
        "if offset < 0 or size < 0 or offset + size > self.size_bytes:",
        "if offset < 0 or size < 0:",
    ),
    _f(
        "negative",
        "no negative size",
        "if offset < 0 or size < 0 or offset + size > self.size_bytes:",
        "if offset < 0 or offset + size > self.size_bytes:",
    ),
    _f.off("read-back", "T45 what was programmed is compared", "if back != part:"),
    _f(
        "read-back-all",
        "T45 all of it",
        "for start in range(0, len(want), _CHECK_BYTES):",
        "for start in range(0, len(want), 2 * _CHECK_BYTES):",
    ),
    _f.off(
        "blank",
        "every byte is looked at",
        "if part != blank[: len(part)]:",
        "tests/unit/test_flash.py",
        "tests/unit/test_ladder.py",
    ),
    # --- ports/unix.py: the chip's rules ---
    _u("file-size", "a file of another size", "elif size != self.size_bytes:", "elif False:"),
    _u("unbuffered", "every byte at once", 'open(path, "r+b", 0)', 'open(path, "r+b")'),
    _u.off("read-bounds", "T47 a read that is short", "if self._file.readinto(buf) != len(buf):"),
    _u.off(
        "bounds",
        "nothing outside of the flash",
        "if offset < 0 or size < 0 or offset + size > self.size_bytes:",
    ),
    _u.off(
        "erase-align", "whole sectors", "if offset % self.erase_bytes or size % self.erase_bytes:"
    ),
    _u.off(
        "program-align",
        "whole write units",
        "if offset % self.write_bytes or len(data) % self.write_bytes:",
    ),
    _u(
        "rewrite",
        "I6 no unit is programmed twice",
        "        self._refuse_rewrite(offset, len(data))\n",
        "",
    ),
    _u(
        "rewrite-all",
        "I6 every unit is looked at",
        "for start in range(0, size, len(self._blank)):",
        "for start in range(0, min(size, 1), len(self._blank)):",
    ),
    _u(
        "erase-all",
        "an erase takes all of its sectors",
        "for start in range(offset, offset + size, self.erase_bytes):",
        "for start in range(offset, offset + self.erase_bytes, self.erase_bytes):",
    ),
    _u(
        "hook-first",
        "power goes before a program",
        """        self._before("program", offset, data)
        self._file.seek(offset)
        self._file.write(data)
""",
        """        self._file.seek(offset)
        self._file.write(data)
        self._before("program", offset, data)
""",
    ),
    _u(
        "hook-each",
        "power can go at every operation",
        "        self.operations += 1\n",
        "",
    ),
]
