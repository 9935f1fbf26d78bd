"""The command `chargeflash`. Each command is imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from importlib.metadata import entry_points, version
from typing import cast

import click

from host_tools.errors import EXIT_FAILED

# name -> where its click command is
COMMANDS = {
    "build": "host_tools.build:build",
    "keys": "host_tools.keys:keys",
    "offer": "host_tools.offer:offer",
    "publish": "host_tools.publish:publish",
    "serve": "host_tools.server.command:serve",
    "show": "host_tools.show:show",
    "sign": "host_tools.sign:sign",
    "status": "host_tools.status:status",
    "tell": "host_tools.tell:tell",
    "verify": "host_tools.verify:verify",
}
PLUGINS = "chargeflash.commands"  # entry points: the bench adds its commands here


class LazyGroup(click.Group):
    """Commands of COMMANDS and of the entry points, loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *(point.name for point in entry_points(group=PLUGINS))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = COMMANDS.get(cmd_name)
        if where is not None:
            module, _, name = where.partition(":")
            return cast(click.Command, getattr(importlib.import_module(module), name))
        for point in entry_points(group=PLUGINS, name=cmd_name):
            return cast(click.Command, point.load())
        return None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("chargeflash"), prog_name="chargeflash")
def chargeflash() -> None:
    """Firmware updates for EV chargers that cannot leave a charger dead."""


def main() -> None:
    """Entry point: a foreseeable mistake is one line and an exit code, never a traceback."""
    try:
        # Outside of its standalone mode click returns the code of ctx.exit().
        sys.exit(chargeflash(prog_name="chargeflash", standalone_mode=False) or 0)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as wrong:
        _show_misuse(wrong)
        sys.exit(wrong.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nothing more to say
        sys.exit(1)
    except OSError as error:  # one that nobody foresaw: no right to read it, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error} [OS_ERROR]", err=True)
        _give_up_stdout()
        sys.exit(EXIT_FAILED)
    except Exception as error:
        code = getattr(error, "code", None)
        exit_code = getattr(error, "exit_code", None)
        if code is None or exit_code is None:
            raise  # a defect of ours: show all of it
        click.echo(f"error: {error} [{code}]", err=True)
        sys.exit(exit_code)


def _show_misuse(wrong: click.ClickException) -> None:
    """One line and a hint, in the form of our own errors; a group without a command: its help."""
    if isinstance(wrong, click.exceptions.NoArgsIsHelpError):
        wrong.show()
        return
    click.echo(f"error: {' '.join(wrong.format_message().split())} [USAGE]", err=True)
    ctx = getattr(wrong, "ctx", None)
    if ctx is not None:
        click.echo(f"hint: {ctx.command_path} --help", err=True)


def _give_up_stdout() -> None:
    """What stdout did not take must not be tried, and complained of, again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # a stdout that is no file of the system
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
