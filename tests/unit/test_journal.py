"""The job's memory without power cuts: those are in tests/power/test_journal.py."""

import json

from agent import protocol, states
from agent.update import journal
from agent.update.journal import Journal, offer_id, record_bytes
from bootloader_verify.errors import FlashError
from bootloader_verify.flash import Region
from bootloader_verify.records import Records
from tests.power.flash_model import RamNor
from tests.unit.expect import raises

MOST = 64  # manifest bytes
SECTOR = 4096
ONE, TWO = b"manifest one " * 3, b"manifest two"
FIELDS = ("state", "request_id", "seq", "offer", "outcome", "reason", "detail", "denied")
EMPTY = (states.J_CLOSED, 0, 0, "", "", "", "", [])


def store(flash):
    return Records(Region(flash, 0, flash.size_bytes), record_bytes(MOST), True)


def fresh():
    return RamNor(2 * SECTOR, SECTOR, 8)


def loaded(flash):
    """(journal, bytes of the kept manifest or None), as after a reset."""
    one = Journal(store(flash), memoryview(bytearray(record_bytes(MOST))))
    kept = one.load()
    return one, None if kept is None else bytes(kept)


def said(one):
    return tuple([getattr(one, name) for name in FIELDS])


def opened(flash=None, manifest=ONE):
    flash = flash or fresh()
    one, _ = loaded(flash)
    one.open(manifest, 7, 70)
    return flash, one


def raw_record(flash, record):
    """What another agent, or chance, left there, with a valid CRC."""
    store(flash).save(record)
    return loaded(flash)


def json_record(fields, manifest=b""):
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return bytes([len(text) & 0xFF, len(text) >> 8]) + text + manifest


def whole(**changes):
    fields = {
        "copy": 2,
        "state": states.J_OPEN,
        "request_id": 70,
        "seq": 7,
        "offer": offer_id(ONE),
        "outcome": "Installed",
        "reason": "r",
        "detail": "d",
        "denied": ["ab"],
    }
    fields.update(changes)
    return fields


# --- the life of a job ------------------------------------------------------------------------------
def test_a_new_device():
    one, kept = loaded(fresh())
    assert (said(one), kept) == (EMPTY, None)


def test_an_open_job_is_kept_with_its_manifest():
    flash, one = opened()
    want = (states.J_OPEN, 70, 7, offer_id(ONE), "", "", "", [])
    assert said(one) == want
    again, kept = loaded(flash)
    assert (said(again), kept) == (want, ONE)


def test_arming_note_and_reopen_keep_the_manifest():
    flash, one = opened()
    for step, state, detail in (
        (one.arming, states.J_ARMING, ""),
        (lambda: one.note("why"), states.J_ARMING, "why"),
        (one.reopen, states.J_OPEN, "why"),
        (one.arming, states.J_ARMING, "why"),
    ):
        step()
        again, kept = loaded(flash)
        assert (again.state, again.detail, kept) == (state, detail, ONE)
        assert said(again) == said(one)


def test_close_keeps_the_outcome_and_no_manifest():
    flash, one = opened()
    one.arming()
    one.close("InstallationFailed", "TrialBootFailed", "relay", b"\xab\x01")
    again, kept = loaded(flash)
    want = ("InstallationFailed", "TrialBootFailed", "relay", ["ab01"])
    assert (said(again), kept) == ((states.J_CLOSED, 70, 7, offer_id(ONE)) + want, None)


def test_a_new_job_replaces_the_old_one_and_forgets_its_outcome():
    flash, one = opened()
    one.close("Installed", "", "x", b"\x01")
    one.open(TWO, 8, 71)
    again, kept = loaded(flash)
    assert (said(again), kept) == ((states.J_OPEN, 71, 8, offer_id(TWO), "", "", "", ["01"]), TWO)
    one.open(ONE, 9, 72)
    assert loaded(flash)[1] == ONE


def test_a_journal_closed_without_a_manifest_notes_nothing_of_one():
    flash, one = opened()
    one.close("Installed", "", "")
    one.note("x")
    assert loaded(flash)[0].detail == "x" and loaded(flash)[1] is None
    record = json_record(whole(state=states.J_CLOSED), ONE)  # another agent may have kept one
    flash = fresh()
    raw_record(flash, record)[0].note("x")
    kept = bytearray(record_bytes(MOST))
    assert ONE not in kept[: store(flash).load(kept)]


def test_the_oldest_denied_image_leaves_first():
    flash, one = opened()
    for number in (1, 2, 3, 3, 4, 5):
        one.close("InstallationFailed", "", "", bytes([number]))
    assert one.denied == ["02", "03", "04", "05"] and journal.DENIED_MAX == 4
    assert loaded(flash)[0].denied == one.denied
    one.close("Installed", "", "")
    assert loaded(flash)[0].denied == one.denied


def test_the_fullest_record_fits():
    flash = fresh()
    one, _ = loaded(flash)
    one.denied = ["f" * 64] * 4
    one.open(bytes(MOST), 0xFFFFFFFF, 0x7FFFFFFF)
    one.note('"' * protocol.DETAIL_CHARS_MAX)
    one.outcome, one.reason = "InstallVerificationFailed", "x" * 20
    one.arming()
    assert loaded(flash)[1] == bytes(MOST)


def test_a_manifest_that_is_too_large_is_an_error_and_the_old_job_stays():
    flash, one = opened()
    raises(FlashError, "RECORD_TOO_LARGE", one.open, bytes(2 * SECTOR), 8, 71)
    assert loaded(flash)[1] == ONE and loaded(flash)[0].seq == 7
    assert said(one) == said(loaded(flash)[0])


def test_offer_id():
    assert offer_id(b"a") == offer_id(memoryview(b"a")) != offer_id(b"b")
    assert len(offer_id(b"")) == journal.OFFER_ID_CHARS


# --- two copies -------------------------------------------------------------------------------------
def test_every_change_stands_in_both_halves():
    flash, one = opened()
    one.arming()
    for half in (0, 1):
        lost = flash.clone()
        lost.erase(half * SECTOR, SECTOR)
        again, kept = loaded(lost)
        assert (said(again), kept) == (said(one), ONE)


def test_a_missing_copy_is_written_once():
    flash, _ = opened()
    for half in (0, 1):
        lost = flash.clone()
        lost.erase(half * SECTOR, SECTOR)
        loaded(lost)
        mended = lost.clone()
        loaded(mended)
        assert mended.operations == 0
        if lost.operations > 1:  # the first copy was the one left, now the other stands again
            assert lost.image()[half * SECTOR : half * SECTOR + 16] != b"\xff" * 16


def test_loading_goes_on_when_the_missing_copy_cannot_be_written():
    flash, one = opened()
    last_copy = flash.trace[-1][1]
    flash.flip(last_copy + 40, 0x10)

    def refuses(offset, _):
        raise FlashError("FLASH_READBACK", str(offset))

    flash.erase = flash.program = refuses
    again, kept = loaded(flash)
    assert (said(again), kept) == (said(one), ONE)


def test_no_bad_bit_in_the_newest_record_brings_an_older_seq_back():
    flash, one = opened()
    one.open(TWO, 8, 71)
    start, size = flash.trace[-1][1], flash.trace[-1][2]
    for at in range(0, size, 7):
        aged = flash.clone()
        aged.flip(start + at, 1 << at % 8)
        again, kept = loaded(aged)
        assert (again.seq, kept) == (8, TWO), at


def test_the_manifest_of_an_older_job_never_gets_into_a_newer_one():
    flash, one = opened()
    first = flash.operations
    one.open(TWO, 8, 71)
    for _, start, _ in flash.trace[first:]:
        flash.flip(start + 30, 0x01)  # both copies of the newer job are lost
    one.arming()
    again, kept = loaded(flash)
    assert (again.seq, again.offer, kept) == (8, offer_id(TWO), b"")


def test_when_both_copies_of_the_only_job_are_lost_it_can_still_be_ended():
    flash, one = opened()
    for _, start, _ in list(flash.trace):
        flash.flip(start + 30, 0x01)
    one.arming()
    again, kept = loaded(flash)
    assert (again.state, again.seq, kept) == (states.J_ARMING, 7, b"")
    one.close("DownloadFailed", "", "")
    assert loaded(flash)[1] is None


def test_a_change_is_two_writes():
    """One more would wear the flash for nothing."""
    flash, one = opened()
    for change in (one.arming, one.reopen, lambda: one.close("Idle", "Canceled", "")):
        begun = len(flash.trace)
        change()
        assert [kind for kind, _, _ in flash.trace[begun:]].count("program") == 2


# --- records of another agent's making --------------------------------------------------------------
def test_records_that_are_none_of_ours():
    text = b'{"state": "open"}'
    for record in (
        b"",
        b"\0",
        b"\0\0",
        b"\xff\xff",
        b"\x05\0{}",  # longer than the record
        b"\x02\0{]x" + ONE,
        json_record(b"[1]"),
        json_record(b"null"),
        json_record(b"7"),
        json_record(b"\xff\xfe{}"),
        json_record(text[:-1]),
        json_record(b"[" * 900),
        bytes(200),
        bytes([0xFF] * 200),
    ):
        one, kept = raw_record(fresh(), record)
        assert (said(one), kept) == (EMPTY, None), record


def test_a_length_beyond_the_record_reads_nothing_of_an_older_one():
    records = store(fresh())
    record = json_record(whole())
    one = Journal(records, memoryview(bytearray(record + bytes(2000))))
    records.save(record[:60])  # the rest of it is in the scratch buffer
    assert (one.load(), said(one)) == (None, EMPTY)


def test_a_foreign_record_is_no_end():
    flash = fresh()
    one, _ = raw_record(flash, b"\x02\0[]" + ONE)
    one.open(TWO, 3, 30)
    assert loaded(flash)[1] == TWO


def test_what_is_understood_counts_and_the_rest_is_as_new():
    defaults = dict(zip(FIELDS, EMPTY))
    for name in FIELDS:
        fields = whole()
        del fields[name]
        for odd in (None, 1.5, -1, True, {}, [], [1], "no such word", 7):
            for bent in (fields, whole(**{name: odd})):
                one, _ = raw_record(fresh(), json_record(bent, ONE))
                for other in FIELDS:
                    got, kept = getattr(one, other), whole()[other]
                    if other != name:
                        assert got == kept, (name, odd, other)
                    elif bent is fields:
                        assert got == defaults[name], name
                    else:
                        assert type(got) is type(kept) and got in (defaults[name], odd, []), odd


def test_an_unknown_state_is_no_open_job_and_seq_stays():
    one, kept = raw_record(fresh(), json_record(whole(state="of version 9"), ONE))
    assert (one.state, one.seq, one.denied, kept) == (states.J_CLOSED, 7, ["ab"], None)


def test_what_a_newer_agent_said_of_its_job_is_left_as_it_is():
    flash = fresh()
    store(flash).save(json_record(whole(state="of version 9", copy=1), ONE))
    before = flash.image()
    loaded(flash)
    assert flash.image() == before


def test_an_outcome_that_is_no_status_is_none():
    """It is said again as a status after every boot, and a status has only the words of OCPP."""
    for word in ("", "no such word", "installed"):
        one, _ = raw_record(fresh(), json_record(whole(state=states.J_CLOSED, outcome=word)))
        assert (one.outcome, one.seq) == ("", 7), word


def test_unknown_fields_are_no_fault():
    one, kept = raw_record(fresh(), json_record(whole(new_field=[1, {}]), ONE))
    assert (one.state, one.seq, kept) == (states.J_OPEN, 7, ONE)


def test_more_denied_images_than_are_kept():
    one, _ = raw_record(fresh(), json_record(whole(denied=[1, "a", "b", "c", "d", "e", None])))
    assert one.denied == ["b", "c", "d", "e"]
