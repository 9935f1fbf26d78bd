"""The journal against a plain variable: restarts, cuts, a bad bit now and then; and any record's bytes."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent import states
from agent.update.journal import DENIED_MAX, record_bytes
from tests.power.flash_model import PowerCut, RamNor
from tests.power.test_journal import MOST, after_reset
from tests.unit.test_journal import fresh, json_record, raw_record, said, whole

HALF = 2048
TORN = st.one_of(
    st.sampled_from(["before", "after"]),
    st.integers(1, 400).map(lambda n: f"prefix-{n}"),
    st.integers(1, HALF).map(lambda n: f"suffix-{n}"),
    st.integers(0, 8).map(lambda n: f"mask-{n}"),
)
CHANGES = st.one_of(
    st.tuples(st.just("open"), st.binary(min_size=1, max_size=MOST)),
    st.tuples(st.sampled_from(["arming", "reopen"])),
    st.tuples(st.just("note"), st.text(" az~", max_size=20)),
    st.tuples(
        st.just("close"),
        st.sampled_from(["Installed", "DownloadFailed"]),
        st.just("Canceled"),
        st.just(""),
        st.none() | st.binary(min_size=32, max_size=32),
    ),
)


class JournalLife(RuleBasedStateMachine):
    """`said`: what a reset must find. One bad bit is allowed for after each whole change."""

    def __init__(self) -> None:
        super().__init__()
        self.flash = RamNor(2 * HALF, HALF, 8)
        self.seq = 0
        self.is_spent = False
        self.said = after_reset(self.flash)[1]

    def act(self, change: tuple[object, ...]) -> None:
        """Do it, if a job is open or it needs none. Once it is through, both copies are whole."""
        one, _ = after_reset(self.flash)
        name, *given_ = change
        if name == "open":
            self.seq += 1
            given_ += [self.seq, self.seq % 5 + 1]
        if name == "open" or name == "close" or one.state != states.J_CLOSED:
            getattr(one, str(name))(*given_)
            self.is_spent = False

    @rule(change=CHANGES)
    def whole_change(self, change: tuple[object, ...]) -> None:
        self.act(change)
        self.said = after_reset(self.flash)[1]
        assert self.said[2] == self.seq

    @rule(change=CHANGES, operation=st.integers(0, 3), torn=TORN)
    def cut_change(self, change: tuple[object, ...], operation: int, torn: str) -> None:
        before = self.flash, self.seq, self.is_spent
        self.flash = self.flash.clone()
        self.act(change)
        new = after_reset(self.flash)[1]
        self.flash, self.seq, self.is_spent = before
        self.flash.cut_at(operation, torn)
        try:
            self.act(change)
        except PowerCut:
            self.is_spent = True
        self.flash = self.flash.clone()
        found = after_reset(self.flash)[1]
        assert found in (self.said, new)
        self.said = found
        self.seq = int(str(found[2]))

    @rule(at=st.integers(0, 2 * HALF - 1), bit=st.integers(0, 7))
    def bad_bit(self, at: int, bit: int) -> None:
        if not self.is_spent:
            self.flash.flip(at, 1 << bit)
            self.is_spent = True

    @invariant()
    def a_reset_finds_what_was_said(self) -> None:
        self.flash = self.flash.clone()
        assert after_reset(self.flash)[1] == self.said


TestJournalLife = JournalLife.TestCase
TestJournalLife.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


def well_typed(record: bytes) -> None:
    flash = fresh()
    one, kept = raw_record(flash, record)
    state, request_id, seq, *words, denied = said(one)
    assert state in states.JOURNAL_STATES and (kept is None) == (state == states.J_CLOSED)
    assert type(request_id) is int and type(seq) is int and min(request_id, seq) >= 0
    assert all(isinstance(word, str) for word in words)
    assert all(isinstance(digest, str) for digest in denied) and len(denied) <= DENIED_MAX
    one.open(b"goes on", seq + 1, 1)


@settings(deadline=None)
@given(st.binary(max_size=record_bytes(64)))
def test_any_bytes_are_a_record_or_none(record: bytes) -> None:
    well_typed(record)


@settings(deadline=None)
@given(st.sampled_from(sorted(whole())), JSON)
def test_any_value_of_any_field_is_taken_or_not(name: str, value: object) -> None:
    text = json.dumps(whole(**{name: value})).encode()
    if len(text) < 900:
        well_typed(json_record(text, b"m"))
