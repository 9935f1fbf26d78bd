"""The charger, put together: boot's choice, application, updater, network. See main.py.

A fault in here leaves the agent running, so that a charger can always be sent a better image.
"""

import asyncio
import gc
import sys

from agent import config, link, manifest, protocol, session
from agent.alive import Keeper, Turns
from agent.application import Application
from agent.mqtt import Mqtt
from agent.parts import Parts
from agent.ports.net import Net
from agent.updater import Updater
from bootloader_verify.records import Records
from bootloader_verify.slot import region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.config import Config
    from bootloader_verify.boot import Boot, Booted

LOOK_MS = 500
GOODBYE_MS = 3_000
APP_PATH = "/app"
APP_RECORD_BYTES_MAX = 256
_NONCE_MAX = 0xFFFF


class Services:
    """What the application is given; see examples/charger_app/README.md."""

    def __init__(self, io: "Any", store: Records, version: str) -> None:
        self.io = io
        self.store = store
        self.version = version

    def log(self, text: str) -> None:
        print(text)


class Charger:
    """Everything that runs, put together once. `reserve`: emptied when the buffers are made."""

    def __init__(
        self,
        port: "Any",
        board: "Any",
        flash: "Any",
        keyset: "Any",
        stage: "Boot",
        booted: "Booted",
        watchdog: "Any",
        reserve: "list[bytearray]",
    ) -> None:
        self._port = port
        self._booted = booted
        self._keeper = Keeper(watchdog.feed)
        self._restart = asyncio.Event()
        self._config = _read_config(port)
        self._module = self._load_application(flash, board)
        self._application = Application(self._module, print)
        if self._module is None and booted.slot is not None:
            self._application.stopped(self._load_fault)
        reserve.clear()
        gc.collect()
        self._updater = self._make_updater(board, flash, keyset, stage)
        self._session = self._make_session(board) if self._config is not None else None

    # --- making -------------------------------------------------------------------------------
    def _load_application(self, flash: "Any", board: "Any") -> "Any":
        """The application object, or None; then `_load_fault` says why."""
        self._load_fault = ""
        if self._booted.payload is None or self._booted.verified is None:
            return None
        store = Records(region(flash, board, "app_data"), APP_RECORD_BYTES_MAX)
        version = manifest.version_text(self._booted.verified.version)
        try:
            self._port.mount(self._booted.payload, APP_PATH)
            sys.path.insert(0, APP_PATH)
            import app

            return app.create(Services(self._port.charger_io(), store, version))
        except Exception as err:  # whatever an application may raise
            self._port.show_error(err)
            self._load_fault = "{}: {}".format(type(err).__name__, err)
            return None

    def _make_updater(self, board: "Any", flash: "Any", keyset: "Any", stage: "Boot") -> Updater:
        settings = self._config
        names = [settings.device] + settings.groups if settings is not None else []
        parts = Parts(flash, board, keyset, stage, self._booted, self._application, names)
        parts.restart = self._ask_restart
        parts.nonce = lambda: int(self._port.random_below(_NONCE_MAX))
        return Updater(parts, self._port.now_ms())

    def _make_session(self, board: "Any") -> session.Session:
        settings = self._config
        assert settings is not None
        size = max(protocol.DATA_HEADER_BYTES + board.BLOCK_BYTES_MAX, manifest.CONTAINER_BYTES_MAX)
        rx = memoryview(bytearray(size))
        back_off = link.BackOff(random=self._port.random_below, **settings.back_off)
        return session.Session(
            settings.device,
            Mqtt(settings.device, rx, settings.keepalive_s, session.will(settings.device)),
            link.Link(back_off, settings.keepalive_s, self._port.now_ms()),
            Net(self._port, settings),
            self._updater,
            print,
            self._on_defect,
        )

    # --- running ------------------------------------------------------------------------------
    async def run(self) -> None:
        """Until the reset."""
        used, free = self._port.heap()
        print("heap: {} bytes used, {} free".format(used, free))
        app_task = None
        if self._module is not None:
            app_task = asyncio.create_task(self._run_application())
        work = self._session.run() if self._session is not None else self._run_alone()
        agent_task = asyncio.create_task(self._run_agent(work))
        feeder = asyncio.create_task(self._keep_alive())
        await self._restart.wait()
        if app_task is not None:
            app_task.cancel()  # its outputs are safe on every way out
            await self._port.sleep_ms(1)
        if self._session is not None:
            await self._session.goodbye(GOODBYE_MS)
        agent_task.cancel()
        feeder.cancel()
        self._port.reset()

    async def _run_application(self) -> None:
        turns = Turns(self._module.run())
        self._keeper.watch("application", lambda: turns.count)
        try:
            await turns
            why = "run() ended"
        except Exception as err:
            self._port.show_error(err)
            why = "{}: {}".format(type(err).__name__, err)
        finally:
            self._keeper.forget("application")
        self._application.stopped(why)

    async def _run_agent(self, work: "Any") -> None:
        if self._session is not None:
            watched = self._session
            self._keeper.watch("agent", lambda: watched.turns)
        try:
            await work
        except Exception as err:  # ours: shown, then a clean start
            self._on_defect(err)
            self._ask_restart("a defect of the agent")

    async def _run_alone(self) -> None:
        """Without settings there is no broker, but a trial ends and the application runs."""
        while True:
            busy = self._updater.poll(self._port.now_ms())
            await self._port.sleep_ms(0 if busy else session.TICK_MS)

    async def _keep_alive(self) -> None:
        while True:
            late = self._keeper.look()
            if late:
                print("watchdog: waiting for {}".format(", ".join(late)))
            await self._port.sleep_ms(LOOK_MS)

    def _ask_restart(self, reason: str) -> None:
        if not self._restart.is_set():
            print("restart: " + reason)
            self._restart.set()

    def _on_defect(self, err: Exception) -> None:
        self._port.show_error(err)
        self._updater.on_defect()


def _read_config(port: "Any") -> "Config | None":
    try:
        return config.parse(port.read_file("device.json"))
    except (OSError, config.ConfigError) as err:
        print("settings: {}; going on without a broker".format(err))
        return None
