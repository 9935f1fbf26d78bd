"""The charger is interrupted only when the application says twice that nobody is harmed."""

from agent.application import Application
from agent.update import gate
from agent.update.gate import SETTLE_MS, Gate
from tests.unit.fakes import App, silent


def make():
    app = App()
    return app, Application(app, silent)


def opened(one, now_ms, unplugged=False):
    return one.poll(now_ms, unplugged) == "" or one.poll(now_ms + SETTLE_MS, unplugged) == ""


def test_idle_opens_after_settling_and_not_before():
    app, application = make()
    one = Gate(application)
    assert one.poll(0, False) == gate.SETTLING
    assert one.poll(SETTLE_MS - 1, False) == gate.SETTLING
    assert one.poll(SETTLE_MS, False) == ""
    assert app.held == [True]


def test_g02_a_transaction_keeps_it_closed():
    app, application = make()
    app.answers["charging"] = True
    one = Gate(application)
    for now_ms in (0, 1000, 100_000):
        assert one.poll(now_ms, False) == gate.TX_IN_PROGRESS


def test_g08_a_car_that_comes_while_it_settles_closes_it_again():
    app, application = make()
    one = Gate(application)
    assert one.poll(0, False) == gate.SETTLING
    app.answers["charging"] = True
    assert one.poll(SETTLE_MS, False) == gate.TX_IN_PROGRESS
    app.answers["charging"] = False
    assert one.poll(2 * SETTLE_MS, False) == gate.SETTLING
    assert one.poll(3 * SETTLE_MS, False) == ""


def test_g07_a_welded_contactor_keeps_it_closed():
    app, application = make()
    app.answers["contactor_closed"] = True
    assert Gate(application).poll(0, False) == gate.CONTACTOR_CLOSED


def test_g04_a_plugged_car_counts_only_if_the_policy_says_so():
    app, application = make()
    app.answers["connectors"] = ["Available", "Occupied"]
    assert Gate(application).poll(0, True) == gate.PLUGGED
    assert opened(Gate(application), 0)


def test_g06_no_answer_or_a_strange_one_is_no_yes():
    for name in ("charging", "contactor_closed"):
        for answer in (RuntimeError("broken"), None, 0, "no"):
            app, application = make()
            app.answers[name] = answer
            assert not opened(Gate(application), 0), (name, answer)
    app, application = make()
    app.answers["charging"] = RuntimeError("broken")
    assert Gate(application).poll(0, False) == gate.APP_SILENT


def test_without_an_application_there_is_nobody_to_harm():
    assert opened(Gate(Application(None, silent)), 0, True)


def test_closing_gives_the_hold_back():
    app, application = make()
    one = Gate(application)
    one.poll(0, False)
    one.close()
    assert app.held == [True, False]
    assert one.poll(SETTLE_MS, False) == gate.SETTLING
