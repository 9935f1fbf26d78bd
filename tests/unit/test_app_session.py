"""A charging session from card to unplug, and a contactor that must follow its coil."""

import sys

sys.path.insert(0, __file__.rsplit("tests/unit", 1)[0] + "examples/charger_app/base")

from charger import contactor, meter, session
from charger.contactor import Contactor
from charger.session import Session

CARD = "04A1B2C3"
OTHER = "04FFFFFF"


def step(one, letter, card=None, now_ms=1000, fault=False, refuse=False):
    """One step; returns the state after it."""
    one.step(now_ms, letter, card, fault, refuse)
    return one.state


def charging():
    one = Session()
    assert step(one, "B") == session.PLUGGED
    assert step(one, "B", CARD) == session.READY
    assert step(one, "C") == session.CHARGING
    return one


def test_plug_card_charge_unplug():
    one = charging()
    assert one.running()
    assert step(one, "A") == session.IDLE
    assert one.stop_reason == "EVDisconnected" and not one.running() and one.card == 0


def test_card_first_then_plug():
    one = Session()
    assert step(one, "A", CARD) == session.AUTHORISED
    assert not one.running()
    assert step(one, "C") == session.READY
    assert step(one, "C") == session.CHARGING


def test_a_card_waits_a_minute_for_its_car():
    one = Session()
    step(one, "A", CARD, 1000)
    assert step(one, "A", None, 60999) == session.AUTHORISED
    assert step(one, "A", None, 61000) == session.IDLE


def test_a_second_look_at_the_card_takes_it_back():
    one = Session()
    step(one, "A", CARD)
    assert step(one, "A", OTHER) == session.AUTHORISED
    assert step(one, "A", CARD) == session.IDLE


def test_no_energy_without_a_card():
    one = Session()
    for _ in range(5):
        assert step(one, "C") == session.PLUGGED


def test_a_full_car_pauses_and_may_go_on():
    one = charging()
    assert step(one, "B") == session.READY and one.running()
    assert step(one, "C") == session.CHARGING


def test_ventilation_is_not_to_be_had_here():
    one = charging()
    assert step(one, "D") == session.READY


def test_the_same_card_stops_another_does_not():
    one = charging()
    assert step(one, "C", OTHER) == session.CHARGING
    assert step(one, "C", CARD) == session.FINISHED
    assert one.stop_reason == "Local"
    assert step(one, "C") == session.FINISHED
    assert step(one, "C", OTHER) == session.READY  # the next session, without unplugging
    assert step(one, "A") == session.IDLE


def test_a_fault_ends_the_session_and_refuses_the_next():
    one = charging()
    assert step(one, "C", fault=True) == session.FINISHED
    assert one.stop_reason == "Other"
    assert step(one, "C", CARD, fault=True, refuse=True) == session.FINISHED


def test_refused_cards_begin_nothing_but_still_stop():
    one = Session()
    assert step(one, "A", CARD, refuse=True) == session.IDLE
    assert step(one, "B", CARD, refuse=True) == session.PLUGGED
    one = charging()
    assert step(one, "C", CARD, refuse=True) == session.FINISHED


def test_a_card_that_waits_keeps_its_right_when_the_charger_is_held():
    one = Session()
    step(one, "A", CARD)
    assert step(one, "B", refuse=True) == session.READY


def test_strange_cards_are_no_cards():
    one = Session()
    for card in ("", "x" * 37):
        assert step(one, "A", card) == session.IDLE


def test_after_a_power_loss_the_session_goes_on():
    one = Session()
    one.restore(session.card_number(CARD))
    assert one.running()
    assert step(one, "C") == session.CHARGING
    assert step(one, "C", CARD) == session.FINISHED
    assert one.stop_reason == "Local"


def test_after_a_power_loss_without_a_car_it_ends_once():
    one = Session()
    one.restore(session.card_number(CARD))
    assert step(one, "A") == session.IDLE
    assert one.stop_reason == "PowerLoss"
    assert not one.step(2000, "A", None, False, False)


def test_power_loss_is_the_reason_only_right_after_it():
    one = Session()
    one.restore(session.card_number(CARD))
    step(one, "B")
    step(one, "A")
    assert one.stop_reason == "EVDisconnected"


def test_the_table_has_no_dead_end_and_known_reasons_only():
    states = {state for state, _ in session.TABLE}
    assert states == set(session.TABLE.values())
    for reason in list(session.STOP_REASONS.values()) + [session.POWER_LOSS]:
        assert reason in meter.REASONS


def test_the_contactor_follows():
    one = Contactor()
    assert one.check(False, 0) == ""
    assert one.command(True, 100)
    assert one.check(False, 199) == ""
    assert one.check(True, 210) == ""
    assert not one.command(False, 1000)
    assert one.check(True, 1099) == "" and one.check(False, 1100) == ""


def test_a_contactor_that_does_not_close_is_switched_off_and_stays_off():
    one = Contactor()
    one.command(True, 100)
    assert one.check(False, 200) == contactor.NO_CLOSE
    assert not one.on and not one.command(True, 300)
    one.clear()
    assert one.command(True, 400)


def test_a_contactor_that_falls_open_is_a_fault():
    one = Contactor()
    one.command(True, 0)
    one.check(True, 50)
    assert one.check(False, 5000) == contactor.NO_CLOSE


def test_a_welded_contactor_is_a_fault():
    one = Contactor()
    one.command(True, 0)
    one.check(True, 50)
    one.command(False, 1000)
    assert one.check(True, 1099) == ""
    assert one.check(True, 1100) == contactor.WELDED
    assert one.check(False, 5000) == contactor.WELDED  # not forgotten because it let go later


def test_welded_before_the_start_is_seen_after_it():
    one = Contactor()
    assert one.check(True, 7000) == ""
    assert one.check(True, 7100) == contactor.WELDED
