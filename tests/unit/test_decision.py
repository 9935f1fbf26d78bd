"""Every combination of two slots boots what the table says, and nothing that is not valid."""

from bootloader_verify import decision
from bootloader_verify.decision import Facts, decide
from bootloader_verify.trailer import BAD, ERASED, SET, TrailerState


def trailer(magic=SET, image_ok=ERASED, copy_done=ERASED, counter=1, used=0):
    state = TrailerState()
    state.magic, state.image_ok, state.copy_done = magic, image_ok, copy_done
    state.counter, state.attempts_used, state.boots = counter, used, used
    return state


def trailers(counter):
    """Every kind of trailer, by name."""
    return {
        "blank": trailer(magic=ERASED, counter=None),
        "torn magic": trailer(magic=BAD, counter=counter),
        "torn record": trailer(counter=None),
        "armed": trailer(counter=counter),
        "running": trailer(copy_done=SET, counter=counter, used=2),
        "used up": trailer(copy_done=SET, counter=counter, used=3),
        "torn copy_done": trailer(copy_done=BAD, counter=counter),
        "confirmed": trailer(image_ok=SET, copy_done=SET, counter=counter),
        "torn confirm": trailer(image_ok=BAD, copy_done=SET, counter=counter),
    }


TRIALS = ("armed", "running", "torn copy_done")
NEITHER = ("blank", "torn magic", "torn record", "torn confirm")


def slots_of_all_kinds(name, counter):
    for kind, state in trailers(counter).items():
        for code in ("", "BAD_HASH"):
            yield kind, Facts(name, code, state)
        yield kind, Facts(name, "ROLLBACK", state, kind == "confirmed")


def expected(a, b):
    """The same rules once more, in words: (mode, names that may be meant)."""
    pair = ((a[0], a[1]), (b[0], b[1]))
    for mode, kinds, fits in (
        (decision.TRIAL, TRIALS, lambda s: not s.code),
        (decision.CONFIRMED, ("confirmed",), lambda s: not s.code),
        (decision.LAST_RESORT, NEITHER, lambda s: not s.code),
        (decision.LAST_CONFIRMED, ("confirmed",), lambda s: s.exempt),
    ):
        found = [s for kind, s in pair if kind in kinds and fits(s)]
        if found:
            return mode, found
    return decision.RECOVERY, [None]


def test_all_combinations():
    combinations = 0
    for a_counter, b_counter in ((1, 2), (2, 1), (7, 7)):
        for a in slots_of_all_kinds("a", a_counter):
            for b in slots_of_all_kinds("b", b_counter):
                mode, slot = decide([a[1], b[1]])
                want_mode, candidates = expected(a, b)
                assert mode == want_mode, (a[0], a[1].code, b[0], b[1].code, mode)
                assert slot in candidates
                assert slot is None or not slot.code or slot.exempt
                if len(candidates) == 2 and None not in [c.state.counter for c in candidates]:
                    assert slot.state.counter == max([c.state.counter for c in candidates])
                combinations += 1
    assert combinations == 3 * 27 * 27


def test_a_trial_whose_mark_cannot_be_read_back_does_not_start():
    a = Facts("a", "", trailer(image_ok=SET))
    b = Facts("b", "", trailer(counter=2))
    assert decide([a, b]) == (decision.TRIAL, b)
    b.markable = False
    assert decide([a, b]) == (decision.CONFIRMED, a)
    a.code = "BAD_HASH"
    assert decide([a, b]) == (decision.RECOVERY, None)


def test_a_trial_that_used_up_its_attempts_is_no_last_resort():
    a = Facts("a", "BAD_HASH", trailer(image_ok=SET))
    b = Facts("b", "", trailer(counter=2, used=3))
    assert decide([a, b]) == (decision.RECOVERY, None)


def test_the_bound_on_trial_boots_holds_whatever_the_causes_were():
    state = trailer(counter=2, used=0)
    state.boots = 12
    assert decide([Facts("b", "", state)]) == (decision.RECOVERY, None)


def test_the_table_can_be_printed():
    lines = list(decision.table_lines())
    assert [line.split()[0] for line in lines] == [
        "trial",
        "confirmed",
        "last_resort",
        "last_confirmed",
        "recovery",
    ]


def test_between_equal_counters_slot_a_boots():
    for state in ({"image_ok": SET}, {}, {"counter": None}):
        a, b = Facts("a", "", trailer(**state)), Facts("b", "", trailer(**state))
        assert decide([a, b])[1] is a
        assert decide([b])[1] is b


def test_only_what_was_confirmed_is_forgiven():
    for state in (trailer(), trailer(counter=None), trailer(magic=ERASED)):
        assert decide([Facts("a", "ROLLBACK", state, True)]) == (decision.RECOVERY, None)
    confirmed = Facts("a", "ROLLBACK", trailer(image_ok=SET), True)
    assert decide([confirmed]) == (decision.LAST_CONFIRMED, confirmed)
