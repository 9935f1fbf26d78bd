"""Mutants of the boot stage: which slot, how often, and what is looked at once more."""

from __future__ import annotations

from tests.mutate.mutants import Of

BOOT = "tests/power/test_boot.py"
_b = Of("bootloader_verify/boot.py", BOOT, "tests/power/test_update_course.py")
_s = Of("bootloader_verify/slot.py", BOOT)
_d = Of("bootloader_verify/decision.py", "tests/unit/test_decision.py")

MUTANTS = [
    # --- boot.py: looking ---
    _b(
        "unreadable-slot",
        "a slot that cannot be read does not stop the other",
        "return Facts(slot.name, err.code, trailer.TrailerState())",
        "raise",
        "tests/power/test_update_faults.py",
    ),
    _b(
        "note",
        "end of the last attempt is noted",
        "trailer.note_reset(slot.region, slot.layout, state, self._cause)",
        "pass",
    ),
    _b(
        "note-once",
        "a note is written once",
        "if not state.armed or state.ended:",
        "if not state.armed:",
    ),
    _b(
        "note-of-trials",
        "I5 only a trial is noted",
        "if not state.armed or state.ended:",
        "if state.ended:",
    ),
    _b(
        "note-fails",
        "a note that fails costs the attempt, not the slot",
        "pass  # not noted: the attempt counts",
        "raise",
    ),
    _b(
        "epoch",
        "T21 stored epoch at boot",
        "least, confirmed = self._epoch or 0,",
        "least, confirmed = 0,",
    ),
    _b(
        "epoch-jump",
        "T22 no trial of a far epoch",
        "most = None if confirmed or self._epoch is None else least + EPOCH_STEP_MAX",
        "most = None",
    ),
    _b(
        "epoch-confirmed",
        "a confirmed image may be far ahead",
        "most = None if confirmed or self._epoch is None else least + EPOCH_STEP_MAX",
        "most = None if self._epoch is None else least + EPOCH_STEP_MAX",
    ),
    _b(
        "epoch-damaged",
        "T24 damage sets no bound",
        "most = None if confirmed or self._epoch is None else least + EPOCH_STEP_MAX",
        "most = None if confirmed else least + EPOCH_STEP_MAX",
    ),
    _b.off(
        "factory-bad-flag",
        "the factory's image boots, whatever became of its image_ok",
        "if not least and not state.armed:",
    ),
    _b(
        "factory-trial",
        "T22 no trial of a far epoch on a new device",
        "if not least and not state.armed:",
        "if not least:",
    ),
    _b(
        "factory-only",
        "T22 no last resort of a far epoch on another one",
        "if not least and not state.armed:",
        "if not state.armed:",
    ),
    _b(
        "epoch-unreadable",
        "T24 an unreadable epoch is damage, not 0",
        "return EpochCounter(place).read()\n    except FlashError:\n        return None",
        "return EpochCounter(place).read()\n    except FlashError:\n        return 0",
    ),
    _b(
        "exempt-rollback",
        "T21 the last confirmed image is exempt from a raised epoch",
        "code not in (ROLLBACK, REVOKED)",
        "code not in (REVOKED,)",
    ),
    _b(
        "exempt-revoked",
        "T36 the last confirmed image is exempt from a revocation",
        "code not in (ROLLBACK, REVOKED)",
        "code not in (ROLLBACK,)",
    ),
    _b(
        "exempt-twice-wrong",
        "T36 exempt from its age only: everything else is asked again",
        "as_then = keyset.Keyset(self._keys.version, self._keys.keys, self._keys.thresholds)",
        "as_then = keyset.Keyset(self._keys.version, self._keys.keys, {})",
    ),
    # --- boot.py: handing over ---
    _b(
        "mark",
        "T50 mark before the jump",
        "if mode == decision.TRIAL and not self._mark(slot, facts):",
        "if False:",
    ),
    _b(
        "mark-read-back",
        "T49 mark read back",
        "facts.markable = facts.state.boots == boots + 1",
        "facts.markable = True",
    ),
    _b(
        "mark-fails",
        "T49 no mark, no trial",
        "facts.markable = False\n            return False",
        "return True",
    ),
    _b(
        "recheck", "T46 rung 10 before the mount", "ladder.recheck(_reader(view), verified)", "pass"
    ),
    _b(
        "recheck-mapped",
        "T46 the mapped bytes are rechecked",
        "ladder.recheck(_reader(view), verified)",
        "ladder.recheck(slot.region.read, verified)",
    ),
    _b(
        "recheck-excludes",
        "T46 what changed is not chosen again, exempt or not",
        "facts.code, facts.exempt = err.code, False",
        "facts.code = err.code",
    ),
    _b(
        "payload",
        "only the payload is handed over",
        "view[start : start + verified.payload_size]",
        "view[start:]",
    ),
    # --- slot.py: what a device asks of an image ---
    _s("vid", "T27 vendor at boot", "vid=self._board.VID", "vid=None"),
    _s("cid", "T27 class at boot", "cid=self._board.CID", "cid=None"),
    _s("revision", "T27 revision at boot", "revision=self._board.REVISION", "revision=None"),
    _s("min-epoch", "T21 least epoch of a slot", "min_epoch=min_epoch", "min_epoch=0"),
    _s("max-epoch", "T22 highest epoch of a slot", "max_epoch=max_epoch", "max_epoch=None"),
    _s(
        "agent-version",
        "least agent version at boot",
        "agent_version=agent_version",
        "agent_version=None",
    ),
    _s(
        "rom-fixed",
        "T28 slot of a fixed image",
        "slot_offset=self.region.offset",
        "slot_offset=0",
    ),
    _s("erased-value", "T54 this flash's erased value", "erased=self.region.erased", "erased=0xFF"),
    _s(
        "before-trailer",
        "T54 erased before the trailer's fields",
        "        ladder.check_erased(read, limit, self.layout.install, self.region.erased)\n",
        "",
    ),
    _s(
        "limit",
        "an image ends before the trailer's sectors",
        "read, limit = self.region.read, self.layout.image_limit",
        "read, limit = self.region.read, self.layout.install",
    ),
    # --- decision.py ---
    _d(
        "trial-valid",
        "a trial is valid",
        "not slot.code and slot.state.armed and not",
        "slot.state.armed and not",
    ),
    _d(
        "trial-armed",
        "T48 a trial is armed",
        "not slot.code and slot.state.armed and not",
        "not slot.code and not",
    ),
    _d("trial-exhausted", "I7 a trial has attempts left", "and not slot.state.exhausted ", ""),
    _d("trial-markable", "T49 a trial can be marked", " and slot.markable", ""),
    _d(
        "confirmed-valid",
        "I1 a confirmed slot is valid",
        "not slot.code and slot.state.confirmed",
        "slot.state.confirmed",
    ),
    _d(
        "confirmed-confirmed",
        "a confirmed slot is confirmed",
        "return not slot.code and slot.state.confirmed",
        "return not slot.code",
    ),
    _d(
        "resort-valid",
        "I1 the last resort is valid",
        "not slot.code and not slot.state.armed",
        "not slot.state.armed",
    ),
    _d(
        "resort-armed",
        "T50 a failed trial is no last resort",
        "return not slot.code and not slot.state.armed",
        "return not slot.code",
    ),
    _d(
        "last-exempt",
        "I1 only age is forgiven",
        "slot.exempt and slot.state.confirmed",
        "slot.state.confirmed",
    ),
    _d(
        "last-confirmed",
        "T36 only what was confirmed is forgiven",
        "slot.exempt and slot.state.confirmed",
        "slot.exempt",
    ),
    _d(
        "counter",
        "the higher install counter boots",
        "_counter(slot) > _counter(best)",
        "_counter(slot) < _counter(best)",
    ),
    _d(
        "counter-tie",
        "slot a between equals",
        "_counter(slot) > _counter(best)",
        "_counter(slot) >= _counter(best)",
    ),
    _d(
        "order-resort",
        "order of the table: last resort behind confirmed",
        "(CONFIRMED, _is_confirmed, ",
        "(LAST_RESORT, _is_last_resort, ''),\n    (CONFIRMED, _is_confirmed, ",
    ),
    _d(
        "order-forgiven",
        "order of the table: forgiven behind confirmed",
        "(TRIAL, _is_trial, ",
        "(LAST_CONFIRMED, _is_last_confirmed, ''),\n    (TRIAL, _is_trial, ",
    ),
    _d(
        "order-trial",
        "order of the table: trial before confirmed",
        "(TRIAL, _is_trial, ",
        "(CONFIRMED, _is_confirmed, ''),\n    (TRIAL, _is_trial, ",
    ),
]
