"""Mutants of the slot trailer: where its fields stand, in which order they are written, what they say."""

from __future__ import annotations

from tests.mutate.mutants import Of

_t = Of(
    "bootloader_verify/trailer.py",
    "tests/unit/test_trailer.py",
    "tests/power/test_trailer.py",
    "tests/properties/test_trailer.py",
    "tests/power/test_boot.py",
)

MUTANTS = [
    # --- trailer.py: layout ---
    _t(
        "unit",
        "unit of the trailer is at least 8",
        "unit = max(8, write_bytes)",
        "unit = write_bytes",
    ),
    _t(
        "marks-between",
        "T55 marks stand between magic and install record",
        """        self.marks = swap_size - MAX_BOOTS * unit
        self.notes = self.marks - MAX_BOOTS * unit
        self.install = self.notes - align_up(_INSTALL_BYTES, unit)
        self.image_limit = slot_size - align_up(slot_size - self.install, erase_bytes)""",
        """        self.install = swap_size - align_up(_INSTALL_BYTES, unit)
        self.marks = self.install - MAX_BOOTS * unit
        self.notes = self.marks - MAX_BOOTS * unit
        self.image_limit = slot_size - align_up(slot_size - self.notes, erase_bytes)""",
        "tests/power/test_trailer.py",
    ),
    _t(
        "own-sectors",
        "the trailer has sectors of its own",
        "self.image_limit = slot_size - align_up(slot_size - self.install, erase_bytes)",
        "self.image_limit = self.install",
    ),
    _t.off("no-room", "a slot has room for an image", "if self.image_limit < erase_bytes:"),
    _t("magic-unit", "MCUboot's magic above unit 8", "if self.unit == 8:", "if True:"),
    # --- trailer.py: states ---
    _t(
        "confirmed-magic",
        "T48 confirmed needs the magic",
        "return self.magic == SET and self.image_ok == SET and",
        "return self.image_ok == SET and",
    ),
    _t(
        "confirmed-flag",
        "T48 confirmed needs image_ok",
        "self.image_ok == SET and self.counter",
        "self.image_ok != ERASED and self.counter",
    ),
    _t(
        "confirmed-record",
        "T48 confirmed needs the install record",
        "and self.image_ok == SET and self.counter is not None",
        "and self.image_ok == SET",
    ),
    _t(
        "armed-magic",
        "T48 armed needs the magic",
        "return self.magic == SET and self.counter is not None and self.image_ok == ERASED",
        "return self.counter is not None and self.image_ok == ERASED",
    ),
    _t(
        "armed-record",
        "T48 armed needs the install record",
        "return self.magic == SET and self.counter is not None and self.image_ok == ERASED",
        "return self.magic == SET and self.image_ok == ERASED",
    ),
    _t(
        "armed-torn",
        "T48 a torn image_ok is no trial",
        "and self.image_ok == ERASED",
        "and self.image_ok != SET",
    ),
    _t(
        "attempts",
        "T50 attempts end a trial",
        "return self.attempts_used >= self.attempts or self.boots >= MAX_BOOTS",
        "return self.boots >= MAX_BOOTS",
    ),
    _t(
        "boots",
        "T50 boots end a trial, whatever the causes",
        "return self.attempts_used >= self.attempts or self.boots >= MAX_BOOTS",
        "return self.attempts_used >= self.attempts",
    ),
    _t(
        "one-more",
        "I7 not one attempt more",
        "return self.attempts_used >= self.attempts or",
        "return self.attempts_used > self.attempts or",
    ),
    # --- trailer.py: writing ---
    _t(
        "magic-last",
        "T55 the magic is written last",
        """    program_checked(region, layout.install, _padded(layout, record))
    start = layout.magic // layout.unit * layout.unit
    blank = bytes([layout.erased]) * (layout.magic - start)
    program_checked(region, start, blank + layout.magic_value())
""",
        """    start = layout.magic // layout.unit * layout.unit
    blank = bytes([layout.erased]) * (layout.magic - start)
    program_checked(region, start, blank + layout.magic_value())
    program_checked(region, layout.install, _padded(layout, record))
""",
        "tests/power/test_trailer.py",
    ),
    _t(
        "record-read-back",
        "T45 install record read back",
        "program_checked(region, layout.install, ",
        "region.program(layout.install, ",
    ),
    _t(
        "magic-read-back",
        "T45 magic read back",
        "program_checked(region, start, ",
        "region.program(start, ",
    ),
    _t(
        "padding",
        "units are filled up with the erased value",
        "return data + bytes([layout.erased]) * (align_up(len(data), layout.unit) - len(data))",
        "return data + bytes(align_up(len(data), layout.unit) - len(data))",
    ),
    _t(
        "magic-padding",
        "the magic's unit is filled up with the erased value",
        "blank = bytes([layout.erased]) * (layout.magic - start)",
        "blank = bytes(layout.magic - start)",
    ),
    _t(
        "erase-all",
        "disarming erases all of the trailer",
        "region.erase(layout.image_limit, layout.slot_size - layout.image_limit)",
        "region.erase(layout.slot_size - region.erase_bytes, region.erase_bytes)",
    ),
    _t.off("no-mark-left", "T50 no mark beyond the last", "if state.boots >= MAX_BOOTS:"),
    _t(
        "copy-done-once",
        "I6 copy_done is programmed once",
        "if state.copy_done == ERASED:",
        "if True:",
    ),
    _t.off("copy-done", "MCUboot sees what was booted", "if state.copy_done == ERASED:"),
    _t(
        "mark-read-back",
        "T49 mark read back",
        "program_checked(region, layout.mark(state.boots), ",
        "region.program(layout.mark(state.boots), ",
    ),
    _t(
        "note-read-back",
        "T45 note read back",
        "program_checked(region, layout.note(state.boots - 1), ",
        "region.program(layout.note(state.boots - 1), ",
    ),
    _t(
        "note-unknown",
        "an unknown cause is no power loss",
        "_NOTES.get(cause, _NOTES[UNKNOWN])",
        "_NOTES.get(cause, _NOTES[POWER])",
    ),
    _t("note-code", "no torn note reads as a power loss", "POWER: 0xA0", "POWER: 0x50"),
    _t.off("confirm-twice", "T51 confirmed twice", "if state.confirmed:"),
    _t.off("confirm-armed", "T51 only a trial is confirmed", "if not state.armed:"),
    _t(
        "confirm-read-back",
        "T45 image_ok read back",
        "program_checked(region, layout.image_ok, ",
        "region.program(layout.image_ok, ",
    ),
    # --- trailer.py: reading ---
    _t(
        "magic-whole",
        "T48 the whole magic counts",
        "if got == layout.magic_value():",
        "if got[2:] == layout.magic_value()[2:]:",
    ),
    _t(
        "flag-whole",
        "T48 the whole unit of a flag counts",
        "return SET if unit == _flag_bytes(layout) else BAD",
        "return SET if unit[0] == _FLAG_SET else BAD",
    ),
    _t(
        "flag-bad",
        "T48 a bad flag is not set",
        "return SET if unit == _flag_bytes(layout) else BAD",
        "return SET",
    ),
    _t(
        "flag-erased",
        "T48 a torn flag is not erased",
        "if unit == bytes([layout.erased]) * layout.unit:",
        "if unit[0] == layout.erased:",
    ),
    _t(
        "record-counter",
        "T48 complement of the install counter",
        "if counter ^ inverse == _U32 and attempts ^ attempts_inverse == _U32:",
        "if attempts ^ attempts_inverse == _U32:",
    ),
    _t(
        "record-attempts",
        "T48 complement of the attempts",
        "if counter ^ inverse == _U32 and attempts ^ attempts_inverse == _U32:",
        "if counter ^ inverse == _U32:",
    ),
    _t(
        "attempts-most",
        "I7 no more than three attempts",
        "max(1, min(attempts, ATTEMPTS_DEFAULT))",
        "max(1, attempts)",
    ),
    _t(
        "attempts-least",
        "at least one attempt",
        "max(1, min(attempts, ATTEMPTS_DEFAULT))",
        "min(attempts, ATTEMPTS_DEFAULT)",
    ),
    _t(
        "torn-mark",
        "T50 a torn mark is a boot",
        "if _flag(read, layout, layout.mark(i)) == ERASED:",
        "if _flag(read, layout, layout.mark(i)) != SET:",
    ),
    _t(
        "mark-gap",
        "a mark behind a gap counts",
        "state.boots = i + 1",
        "state.boots += 1",
    ),
    _t(
        "note-whole",
        "only a whole note excuses an attempt",
        "if unit != power_note:",
        "if unit[0] != power_note[0]:",
    ),
    _t(
        "excuse",
        "only a power loss excuses an attempt",
        "if unit != power_note:",
        "if not state.ended:",
    ),
]
