"""Options and shared facts of the test run."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.power.tally import CAMPAIGN, summary

# A run in the background of a shell ignores SIGINT, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the long sweeps as well")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The numbers that tests put down with record_property, also from xdist's workers."""
    campaign = []
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    for report in reports:
        for name, value in report.user_properties:
            if name == CAMPAIGN:
                campaign.append(value)
            else:
                terminalreporter.write_line(f"{name}: {value}")
    for line in summary(campaign, ROOT / "build" / "power-report.txt"):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def micropython() -> str:
    """The MicroPython unix port: from the environment's package or from PATH (1.25 or later)."""
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if not found:
        pytest.skip(
            "no MicroPython here: the package has no wheel for this machine and none is on PATH"
        )
    return found
