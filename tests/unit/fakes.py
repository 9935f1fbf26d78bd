"""Stand-ins for the application, used by several unit tests."""


class App:
    """An application whose answers the test sets; an Exception as an answer is raised."""

    def __init__(self):
        self.answers = {
            "charging": False,
            "contactor_closed": False,
            "connectors": ["Available", "Available"],
            "self_test": (True, "all well"),
        }
        self.held = []

    def _answer(self, name):
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def charging(self):
        return self._answer("charging")

    def contactor_closed(self):
        return self._answer("contactor_closed")

    def connectors(self):
        return self._answer("connectors")

    def self_test(self):
        return self._answer("self_test")

    def hold(self, on):
        self.held.append(on)


def silent(_text):
    """A log that nobody reads."""
