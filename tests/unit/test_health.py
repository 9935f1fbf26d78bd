"""A new image stays only if the charger works with it."""

from agent.application import Application
from agent.update.health import HEALTHY, STEADY_MS, UNHEALTHY, WAIT, Health
from tests.unit.fakes import App, silent

CONFIRM_S = 60
DEADLINE_MS = CONFIRM_S * 1000


def make():
    app = App()
    application = Application(app, silent)
    return app, application, Health(application, CONFIRM_S, 0)


def test_steady_tested_and_reached_is_healthy():
    _, _, one = make()
    assert one.poll(0, True, 0) == WAIT
    assert one.poll(STEADY_MS - 1, True, 0) == WAIT
    assert one.poll(STEADY_MS, True, 0) == WAIT  # the self-test runs in this step
    assert one.poll(STEADY_MS, False, 0) == HEALTHY  # the broker was reached before
    assert one.detail == "all well"


def test_a_failed_self_test_decides_at_once_and_says_why():
    app, _, one = make()
    app.answers["self_test"] = (False, "contactor stays closed")
    assert one.poll(STEADY_MS, True, 0) == UNHEALTHY
    assert one.detail == "contactor stays closed"


def test_only_true_passes_a_self_test():
    for answer in ((1, "x"), ("yes", "x"), (None, "x"), True, None, (True,), RuntimeError("no")):
        app, _, one = make()
        app.answers["self_test"] = answer
        assert one.poll(STEADY_MS, True, 0) == UNHEALTHY, answer


def test_an_application_that_stops_is_unhealthy():
    _, application, one = make()
    application.stopped("ValueError: x")
    assert one.poll(0, True, 0) == UNHEALTHY
    assert one.detail == "ValueError: x"


def test_a_trial_without_application_is_unhealthy():
    one = Health(Application(None, silent), CONFIRM_S, 0)
    assert one.poll(STEADY_MS, True, 0) == UNHEALTHY


def test_b05_a_broker_that_stays_away_extends_once_and_then_local_health_confirms():
    _, _, one = make()
    assert one.poll(STEADY_MS, False, 0) == WAIT
    assert one.poll(DEADLINE_MS, False, 0) == WAIT
    assert one.poll(2 * DEADLINE_MS - 1, False, 0) == WAIT
    assert one.poll(2 * DEADLINE_MS, False, 0) == HEALTHY
    assert "without the broker" in one.detail


def test_b03_no_broker_and_errors_of_the_agent_is_unhealthy():
    _, _, one = make()
    assert one.poll(STEADY_MS, False, 0) == WAIT
    assert one.poll(DEADLINE_MS - 1, False, 1) == WAIT
    assert one.poll(DEADLINE_MS, False, 1) == UNHEALTHY
