"""How far the download is, while something is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self, TypeVar

from rich.progress import BarColumn, Progress, TextColumn

from hil.demo.story import DemoFailedError, Story

T = TypeVar("T")
_STEP_S = 0.05
_DOWNLOAD_S = 60.0


class Bar:
    """How many bytes are over the line, while something is waited for: a bar, or plain lines."""

    def __init__(self, story: Story, total: int, moved: Callable[[], int]) -> None:
        self._story, self._total, self._moved = story, total, moved
        columns = (TextColumn("  1.1.0"), BarColumn(), TextColumn("{task.completed:,} bytes"))
        self._shown = story.console.is_terminal
        self._progress = Progress(*columns, console=story.console, disable=not self._shown)
        self._task = self._progress.add_task("download", total=total)
        self._told = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def wait(self, found: Callable[[], T | None], what: str) -> T:
        """What `found` finds; DemoFailedError if it does not in time."""
        deadline = time.monotonic() + _DOWNLOAD_S
        while (answer := found()) is None:
            if time.monotonic() > deadline:
                raise DemoFailedError(f"{what} did not come within {_DOWNLOAD_S:g} s")
            self._show()
            time.sleep(_STEP_S)
        self._show()
        return answer

    def wait_bytes(self, size: int) -> None:
        """Until so many are over the line."""
        self.wait(lambda: self._moved() >= size or None, f"byte {size:,} on the line")

    def _show(self) -> None:
        moved = self._moved()
        self._progress.update(self._task, completed=moved)
        quarters = min(4, 4 * moved // self._total)
        if not self._shown and quarters > self._told:
            self._story.say(f"{25 * quarters} % of the artifact's size is over the line")
            self._told = quarters
