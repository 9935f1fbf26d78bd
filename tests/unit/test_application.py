"""An application is asked, never trusted: what fails or is odd counts as the careful answer."""

from agent.application import Application
from agent.update import gate
from agent.update.gate import Gate
from tests.unit.fakes import App, silent


class UnspeakableError(Exception):
    """An error that cannot even be printed."""

    def __str__(self):
        raise ValueError("no text")


ODD = (None, 0, 1, "", "no", [], (), 0.0, b"", RuntimeError("broken"), UnspeakableError())


def make(**answers):
    app = App()
    app.answers.update(answers)
    return app, Application(app, silent)


def test_plain_answers():
    _, one = make()
    assert (one.charging(), one.contactor_closed(), one.plugged()) == (False, False, False)
    assert one.self_test() == (True, "all well")
    _, one = make(charging=True, contactor_closed=True, connectors=["Available", "Occupied"])
    assert (one.charging(), one.contactor_closed(), one.plugged()) == (True, True, True)


def test_only_false_is_no():
    for answer in ODD:
        for name in ("charging", "contactor_closed"):
            _, one = make(**{name: answer})
            assert getattr(one, name)() is True, (name, answer)


def test_connectors():
    for free in ([], ["Available"], ["Unavailable", "Faulted"]):
        assert not make(connectors=free)[1].plugged(), free
    for taken in (["Occupied"], ["Available", "Reserved"]):
        assert make(connectors=taken)[1].plugged(), taken


def test_connectors_that_are_odd_count_as_plugged():
    odd = [answer for answer in ODD if answer != []]
    odd += [("Available",), "Available", ["Charging"], ["available"], [None], [0], [["Available"]]]
    for answer in odd:
        assert make(connectors=answer)[1].plugged() is True, answer


def test_self_test_passes_with_true_alone():
    for passed in (1, "yes", None, [True]):
        assert make(self_test=(passed, "x"))[1].self_test() == (False, "x")
    for answer in (None, True, (), (True,), (True, "a", "b"), [True, "a"], "ok"):
        assert make(self_test=answer)[1].self_test() == (False, "self-test gave no answer")


def test_self_test_detail_is_text_and_bounded():
    assert make(self_test=(True, 5))[1].self_test() == (True, "5")
    assert make(self_test=(True, "x" * 500))[1].self_test() == (True, "x" * 120)
    assert make(self_test=(True, UnspeakableError()))[1].self_test() == (True, "(no text)")


def test_a_self_test_that_fails_says_how():
    _, one = make(self_test=RuntimeError("relay"))
    assert one.self_test() == (False, "self_test: RuntimeError relay")
    assert one.silent


def test_silence_is_of_the_last_question():
    app, one = make(charging=RuntimeError("x" * 500))
    assert one.charging() and one.silent and len(one.fault) == 120
    app.answers["charging"] = False
    assert not one.charging() and not one.silent


def test_an_error_that_cannot_be_printed():
    _, one = make(charging=UnspeakableError())
    assert one.charging() and one.fault == "charging: UnspeakableError (no text)"


def test_an_application_without_a_method_is_silent():
    one = Application(object(), silent)
    assert one.charging() and one.contactor_closed() and one.plugged()
    assert one.silent and not one.self_test()[0] and not one.hold(True)


def test_hold_is_asked_for_on_a_change_only():
    app, one = make()
    for on in (False, True, True, False, False, True):
        assert one.hold(on)
    assert app.held == [True, False, True]


def failing_hold(one_that_fails):
    """An application whose `hold` raises while the list says so."""

    class Deaf(App):
        def hold(self, on):
            if one_that_fails[0]:
                raise RuntimeError("deaf")
            self.held.append(on)

    return Deaf()


def test_a_hold_that_failed_is_not_held_and_is_asked_for_again():
    fails = [True]
    app = failing_hold(fails)
    one = Application(app, silent)
    assert not one.hold(True) and one.silent
    fails[0] = False
    assert one.hold(True) and one.hold(True)
    assert app.held == [True]


def test_g06_without_the_hold_the_gate_stays_closed():
    """A session could begin between question and reset."""
    fails = [True]
    closed = Gate(Application(failing_hold(fails), silent))
    for now_ms in (0, 500, 10_000):
        assert closed.poll(now_ms, False) == gate.APP_SILENT
    fails[0] = False
    assert closed.poll(20_000, False) == gate.SETTLING
    assert closed.poll(20_500, False) == ""


def test_nobody_there():
    one = Application(None, silent)
    assert not one.running
    assert (one.charging(), one.contactor_closed(), one.plugged()) == (False, False, False)
    assert one.self_test() == (False, "no application")
    assert one.hold(True) and one.hold(False)


def test_one_that_stopped_is_asked_no_more():
    said = []
    app = App()
    one = Application(app, said.append)
    one.stopped("OSError " + "x" * 500)
    assert not one.running and len(one.fault) == 120 and len(said) == 1
    app.answers["charging"] = True
    assert not one.charging()
    assert one.self_test() == (False, one.fault)
    one.hold(True)
    assert app.held == []
