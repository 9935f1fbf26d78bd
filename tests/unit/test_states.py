"""The tables: every pair of state and event, every way back after a reset, every word."""

from agent import protocol, states
from agent.states import StateError
from tests.unit.expect import raises

EVENTS = (
    states.OFFER,
    states.START,
    states.MISSING,
    states.COMPLETE,
    states.LINK_DOWN,
    states.LINK_UP,
    states.ANOTHER,
    states.DAMAGED,
    states.VERIFIED,
    states.GATE_OPEN,
    states.ARMED,
    states.HEALTHY,
    states.UNHEALTHY,
    states.PROVED,
    states.ABORT,
    states.CANCEL,
)


def test_names_are_distinct():
    for names in (states.STATES, EVENTS, states.JOURNAL_STATES, states.FACTS):
        assert len(set(names)) == len(names)


def test_the_tables_know_no_other_name():
    for (state, event), target in states.TRANSITIONS.items():
        assert state in states.STATES and target in states.STATES and event in EVENTS
    for event in EVENTS:  # and none of these is dead
        assert any(row[1] == event for row in states.TRANSITIONS), event


def test_every_pair_outside_of_the_table_is_a_defect():
    for state in states.STATES:
        for event in EVENTS:
            if (state, event) in states.TRANSITIONS:
                assert states.after(state, event) == states.TRANSITIONS[(state, event)]
            else:
                err = raises(StateError, "BAD_TRANSITION", states.after, state, event)
                assert err.detail == event + " in " + state
    raises(StateError, "BAD_TRANSITION", states.after, states.IDLE, "no such event")


def test_the_way_of_an_update_without_a_fault():
    state = states.IDLE
    for event, target in (
        (states.OFFER, states.ACCEPTED),
        (states.START, states.SCANNING),
        (states.MISSING, states.DOWNLOADING),
        (states.COMPLETE, states.VERIFYING),
        (states.VERIFIED, states.WAITING),
        (states.GATE_OPEN, states.ARMING),
        (states.ARMED, states.REBOOTING),
    ):
        state = states.after(state, event)
        assert state == target
    state = states.resume(states.J_ARMING, states.RUNS_TRIAL)
    for event in (states.HEALTHY, states.PROVED):
        state = states.after(state, event)
    assert state == states.CONFIRMED


def reachable():
    found = {states.IDLE}
    for row in states.RESUME.values():
        found.add(row[0])
    while True:
        new = {target for (state, _), target in states.TRANSITIONS.items() if state in found}
        if new <= found:
            return found
        found |= new


def test_every_state_can_be_reached():
    assert reachable() == set(states.STATES)


def test_every_state_but_one_that_waits_for_a_reset_can_be_left():
    for state in states.STATES:
        leaves = any(
            row[0] == state and states.TRANSITIONS[row] != state for row in states.TRANSITIONS
        )
        assert leaves != (state in (states.REBOOTING, states.GIVING_UP)), state


def test_until_it_is_armed_a_job_can_be_replaced_canceled_and_aborted():
    assert len(states.REPLACEABLE) == 6 and states.ARMING not in states.REPLACEABLE
    for state in states.REPLACEABLE:
        assert states.after(state, states.OFFER) == states.ACCEPTED
        assert states.after(state, states.CANCEL) == states.IDLE
        assert states.after(state, states.ABORT) == states.FAILED
    for state in states.STATES:
        if state not in states.REPLACEABLE:
            raises(StateError, "BAD_TRANSITION", states.after, state, states.CANCEL)
        if state not in states.REPLACEABLE + states.CLOSED:
            raises(StateError, "BAD_TRANSITION", states.after, state, states.OFFER)


def test_only_a_closed_job_takes_an_offer_without_replacing_one():
    for state in states.CLOSED:
        assert states.after(state, states.OFFER) == states.ACCEPTED


def test_a_reset_is_answered_whatever_the_journal_and_boot_say():
    pairs = {(said, fact) for said in states.JOURNAL_STATES for fact in states.FACTS}
    assert set(states.RESUME) == pairs
    for said, fact in pairs:
        target = states.resume(said, fact)
        assert target in states.STATES and states.RESUME[(said, fact)][1]
        assert (target == states.TRIAL) == (fact in (states.RUNS_TRIAL, states.RUNS_OTHER))


def test_a_reset_ends_in_failed_only_for_what_was_armed():
    failed = {row for row in states.RESUME if states.RESUME[row][0] == states.FAILED}
    assert failed == {
        (states.J_ARMING, states.USED_UP),
        (states.J_ARMING, states.REFUSED),
    }


def test_every_state_says_a_word_of_ocpp_or_none():
    assert set(states.STATUS_OF) == set(states.STATES)
    for word in states.STATUS_OF.values():
        assert word is None or word in protocol.STATUSES


def test_all_rows_are_printed():
    lines = list(states.table_lines())
    assert len(lines) == 3 + len(states.TRANSITIONS) + len(states.RESUME)
    cut = lines.index("")
    for (state, event), target in states.TRANSITIONS.items():
        said = states.STATUS_OF[target]
        want = [state, event, "->", target] + (["(" + said + ")"] if said else [])
        assert want in [line.split() for line in lines[:cut]]
    for (said, fact), row in states.RESUME.items():
        want = [said, fact, "->", row[0]] + row[1].split()
        assert want in [line.split() for line in lines[cut:]]
