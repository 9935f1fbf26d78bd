"""Mounts the slot, loads the application and runs it. Nothing that it does ends the agent."""

import asyncio
import sys

from agent import manifest
from agent.alive import Turns
from bootloader_verify.records import Records
from bootloader_verify.slot import region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.alive import Keeper
    from agent.application import Application
    from bootloader_verify.boot import Booted

APP_PATH = "/app"
APP_RECORD_BYTES_MAX = 256


class Services:
    """What the application is given; see examples/charger_app/README.md."""

    def __init__(self, io: "Any", store: Records, version: str) -> None:
        self.io = io
        self.store = store
        self.version = version

    def log(self, text: str) -> None:
        print(text)


class AppHost:
    """`application` hears of everything that happens; `ended` True: the reset has begun."""

    def __init__(
        self,
        port: "Any",
        board: "Any",
        flash: "Any",
        booted: "Booted",
        application: "Application",
        keeper: "Keeper",
    ) -> None:
        self._port, self._board, self._flash = port, board, flash
        self._booted = booted
        self._application = application
        self._keeper = keeper
        self._app: "Any" = None
        self.ended = False

    def load(self) -> None:
        """Mount and create it; in recovery there is nothing to load."""
        if self._booted.payload is None or self._booted.verified is None:
            return
        version = manifest.version_text(self._booted.verified.version)
        try:
            store = Records(region(self._flash, self._board, "app_data"), APP_RECORD_BYTES_MAX)
            self._port.mount(self._booted.payload, APP_PATH)
            sys.path.insert(0, APP_PATH)
            import app

            self._app = app.create(Services(self._port.charger_io(), store, version))
        except (Exception, SystemExit) as err:  # whatever an application may raise
            self._stopped(err)
            return
        self._application.started(self._app)

    async def run(self) -> None:
        """Until it ends. Its outputs are its own to make safe, on every way out."""
        if self._app is None:
            return
        try:
            turns = Turns(self._app.run())
            self._keeper.watch("application", lambda: turns.count)
            await turns
            self._application.stopped("run() ended")
        except asyncio.CancelledError as err:
            if self.ended:
                raise
            self._stopped(err)  # a task of its own was cancelled: that is a fault like any other
        except (Exception, SystemExit) as err:
            self._stopped(err)
        finally:
            self._keeper.forget("application")

    def _stopped(self, err: "Any") -> None:
        self._port.show_error(err)
        self._application.stopped("{}: {}".format(type(err).__name__, err))
