"""What can go wrong with the host tools: one line a person can act on, a stable code, an exit code."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_VERIFICATION = 4
EXIT_DEVICE = 5
EXIT_INFRASTRUCTURE = 6


class ToolError(Exception):
    """`code` is stable (scripts match it); the text says whose fault it is and what to do."""

    def __init__(self, code: str, text: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.code = code
        self.exit_code = exit_code
