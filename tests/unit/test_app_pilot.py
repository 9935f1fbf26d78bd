"""The charger application reads the car's wish from the pilot, and offers current by its duty."""

import sys

sys.path.insert(0, __file__.rsplit("tests/unit", 1)[0] + "examples/charger_app/base")

from charger import pilot
from charger.pilot import Pilot, amps_of_duty, duty_permille, letter_of
from charger.sharing import Sharing

from tests.unit.expect import raises


def settled(one, pilot_mv, from_ms, until_ms):
    """Feed one voltage every 25 ms; returns the letter at the end."""
    for now_ms in range(from_ms, until_ms + 1, 25):
        letter = one.update(pilot_mv, now_ms)
    return letter


def test_levels_of_the_standard():
    for letter, mv in (
        ("A", 12000),
        ("B", 9000),
        ("C", 6000),
        ("D", 3000),
        ("E", 0),
        ("F", -12000),
    ):
        for tolerance_mv in (-1000, 0, 1000):
            assert letter_of(mv + tolerance_mv) == letter


def test_no_voltage_of_the_standard_is_an_error():
    for mv in (13501, 20000, -5000, -1501, -13501):
        assert letter_of(mv) == "E"


def test_hysteresis_keeps_the_letter_around_the_middle():
    assert letter_of(7500, "B") == "B" and letter_of(7500, "C") == "C"
    assert letter_of(7350, "B") == "B" and letter_of(7650, "C") == "C"
    assert letter_of(7299, "B") == "C" and letter_of(7701, "C") == "B"


def test_a_glitch_is_not_a_letter():
    one = Pilot(9000)
    assert settled(one, 9000, 0, 500) == "B"
    assert one.update(0, 525) == "B"
    assert settled(one, 9000, 550, 700) == "B"


def test_noise_between_two_letters_settles_on_neither():
    one = Pilot(9000)
    for now_ms in range(0, 2000, 25):
        assert one.update(6000 if now_ms // 25 % 2 else 9000, now_ms) == "B"


def test_energy_comes_slowly_and_goes_fast():
    one = Pilot(9000)
    assert settled(one, 6000, 0, 175) == "B"
    assert settled(one, 6000, 200, 200) == "C"
    assert one.update(9000, 225) == "C"
    assert settled(one, 9000, 250, 275) == "B"  # 50 ms after the first look: off within 100 ms


def test_first_letter_is_there_at_once():
    assert Pilot(12000).letter == "A"
    assert Pilot(6000).letter == "C"
    assert Pilot(-3000).letter == "E"


def test_duty_of_the_standard():
    assert (duty_permille(6), duty_permille(16), duty_permille(32)) == (100, 266, 533)
    assert (duty_permille(51), duty_permille(63), duty_permille(80)) == (850, 892, 960)


def test_less_than_the_lowest_current_is_no_offer():
    assert duty_permille(0) == duty_permille(5) == pilot.NO_OFFER_PERMILLE
    raises(ValueError, None, duty_permille, 81)


def test_the_car_never_reads_more_than_was_meant():
    for amps in range(6, 81):
        assert amps - 1 <= amps_of_duty(duty_permille(amps)) <= amps


def test_duty_outside_of_the_table_is_no_current():
    for permille in (0, 50, 79, 971, 1000):
        assert amps_of_duty(permille) == 0
    assert amps_of_duty(80) == amps_of_duty(99) == 6


def test_fixed_halves_of_the_supply():
    sharing = Sharing(2)
    assert sharing.update([False, False], 0) == [0, 0]
    assert sharing.update([True, False], 0) == [16, 0]
    assert sharing.update([True, True], 0) == [16, 16]
