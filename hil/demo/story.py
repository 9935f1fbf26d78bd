"""How the demo speaks: chapters, commands as a user types them, and claims that held or did not."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_COMMAND_TIMEOUT_S = 60
_LINES_SHOWN = 4


@dataclass(frozen=True)
class Claim:
    """One thing that the demo set out to show."""

    what: str
    held: bool
    seen: str


class Story:
    """Prints the story and keeps its claims; `ok` is true only if all `expected` claims were made
    and every one held."""

    def __init__(self, console: Console, folder: Path, expected: int) -> None:
        self.console = console
        self.folder = folder
        self.expected = expected
        self.claims: list[Claim] = []
        self._began = time.monotonic()
        self._chapter = 0

    @property
    def ok(self) -> bool:
        return len(self.claims) == self.expected and all(claim.held for claim in self.claims)

    def verdict(self) -> str:
        """How many held, of those that a whole story makes."""
        held = sum(claim.held for claim in self.claims)
        return f"{held} of {self.expected} held"

    def chapter(self, title: str) -> None:
        self._chapter += 1
        elapsed_s = time.monotonic() - self._began
        self.console.print()
        self.console.rule(
            f"[bold]{self._chapter}  {title}[/] [dim]{elapsed_s:.0f} s[/]", align="left"
        )

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", highlight=False, soft_wrap=True)

    def claim(self, what: str, held: bool, seen: str) -> None:
        """Record and print one claim; a claim that does not hold fails the demo, but does not end it."""
        self.claims.append(Claim(what, held, seen))
        mark = "[green]✔[/]" if held else "[bold red]✘[/]"
        self.console.print(
            f"  {mark} {what}: [dim]{escape(seen)}[/]", highlight=False, soft_wrap=True
        )

    def show_command(self, *words: str) -> None:
        """Print `chargeflash WORDS` as a user would type it."""
        shown = " ".join(self._short(word) for word in words)
        self.console.print(
            f"  [cyan]$ chargeflash {escape(shown)}[/]", highlight=False, soft_wrap=True
        )

    def command(self, *words: str, expect: int = 0, quiet: bool = False) -> str:
        """Run `chargeflash WORDS`; returns what it printed (both streams).

        DemoFailedError when it does not exit with `expect`.
        """
        self.show_command(*words)
        return self.python("-m", "host_tools", *words, expect=expect, quiet=quiet)

    def python(self, *words: str, expect: int = 0, quiet: bool = False) -> str:
        """Run this Python with `words`; unless `quiet`, the last lines that it prints are shown."""
        done = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_TIMEOUT_S,
        )
        output = (done.stdout + done.stderr).strip()
        for line in [] if quiet else output.splitlines()[-_LINES_SHOWN:]:
            self.console.print(
                f"    [dim]{escape(self._short(line))}[/]", highlight=False, soft_wrap=True
            )
        if done.returncode != expect:
            last = self._short(output.rpartition("\n")[2])
            text = f"{' '.join(words[:4])} … exited {done.returncode}, expected {expect}: {last}"
            raise DemoFailedError(text)
        return output

    def table(self) -> Table:
        table = Table(title="What was shown", title_justify="left", expand=False)
        table.add_column("")
        table.add_column("claim")
        table.add_column("seen", style="dim")
        for claim in self.claims:
            mark = "[green]✔[/]" if claim.held else "[bold red]✘[/]"
            table.add_row(mark, claim.what, escape(claim.seen))
        return table

    def _short(self, text: str) -> str:
        return text.replace(f"{self.folder}/", "")


class DemoFailedError(Exception):
    """The story cannot go on."""
