"""What can go wrong on a bench: one line a person can act on, and a stable code."""

from __future__ import annotations

from host_tools.errors import EXIT_DEVICE, EXIT_INFRASTRUCTURE


class BenchError(Exception):
    """A fault of the bench, not of the firmware under test.

    `code` is stable (tests and scripts match it); the text says whose fault it is and what to do;
    `exit_code` is what a command ends with.
    """

    def __init__(self, code: str, text: str, exit_code: int = EXIT_INFRASTRUCTURE) -> None:
        super().__init__(text)
        self.code = code
        self.exit_code = exit_code


class NotSeenError(BenchError):
    """A wait ended without what it waited for; the text holds what came instead."""

    def __init__(self, text: str) -> None:
        super().__init__("NOT_SEEN", text, EXIT_DEVICE)
