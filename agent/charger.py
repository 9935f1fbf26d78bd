"""The charger, put together: boot's choice, application, updater, network. See main.py.

A fault in here leaves the agent running, so that a charger can always be sent a better image.
"""

import asyncio
import gc

from agent import config, manifest, protocol, states
from agent.alive import Keeper
from agent.app_host import AppHost
from agent.application import Application
from agent.net import link, session
from agent.net.mqtt import Mqtt
from agent.ports.net import Net
from agent.update.parts import Parts
from agent.update.updater import Updater

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.config import Config
    from bootloader_verify.boot import Boot, Booted
    from bootloader_verify.keyset_store import KeysetStore

LOOK_MS = 500
GOODBYE_MS = 3_000
# Behind a hang of a confirmed application the agent runs alone for so long, then as long as a job is
# open: an image that hangs at once can still be replaced.
ALONE_MS = 20_000
FREE_MS = 3_600_000  # an agent that met a defect lets a running session go on for so long
_STEP_MS = 200
_NONCE_MAX = 0xFFFF


class Charger:
    """Everything that runs, put together once. `reserve`: emptied when the buffers are made.

    `hung`: the watchdog ended the last life of an image that is no trial.
    """

    def __init__(
        self,
        port: "Any",
        board: "Any",
        flash: "Any",
        keysets: "KeysetStore",
        stage: "Boot",
        booted: "Booted",
        watchdog: "Any",
        reserve: "list[bytearray]",
        hung: bool,
    ) -> None:
        self._port = port
        self._booted = booted
        self._hung = hung
        self._keeper = Keeper(watchdog.feed)
        self._restart = asyncio.Event()
        self._config = _read_config(port)
        self._application = Application(None, print)
        self._host = AppHost(port, board, flash, booted, self._application, self._keeper)
        if not hung:
            self._host.load()
        reserve.clear()
        gc.collect()
        self._updater: "Updater | None" = None
        self._session: "session.Session | None" = None
        try:
            self._updater = self._make_updater(board, flash, keysets, stage)
            if self._config is not None:
                self._session = self._make_session(board, self._updater)
        except Exception as err:  # ours: the charger works on, without updates until the next reset
            port.show_error(err)

    # --- making -------------------------------------------------------------------------------
    def _make_updater(
        self, board: "Any", flash: "Any", keysets: "KeysetStore", stage: "Boot"
    ) -> Updater:
        settings = self._config
        names = [settings.device] + settings.groups if settings is not None else []
        keys = keysets.keyset
        parts = Parts(flash, board, keys, stage, self._booted, self._application, names)
        parts.keyset_store = keysets
        parts.restart = self._ask_restart
        parts.nonce = lambda: int(self._port.random_below(_NONCE_MAX))
        return Updater(parts, self._port.now_ms())

    def _make_session(self, board: "Any", updater: Updater) -> session.Session:
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
            updater,
            print,
            self._on_defect,
        )

    # --- running ------------------------------------------------------------------------------
    async def run(self) -> None:
        """Until the reset."""
        used, free = self._port.heap()
        print("heap: {} bytes used, {} free".format(used, free))
        work = self._session.run() if self._session is not None else self._run_alone()
        tasks = [
            asyncio.create_task(self._run_application()),
            asyncio.create_task(self._run_agent(work)),
            asyncio.create_task(self._keep_alive()),
        ]
        await self._restart.wait()
        self._host.ended = True
        try:
            tasks[0].cancel()  # its outputs are safe on every way out
            await self._port.sleep_ms(1)
            if self._session is not None:
                await self._session.goodbye(GOODBYE_MS)
        except Exception as err:
            self._port.show_error(err)
        self._port.reset()

    async def _run_application(self) -> None:
        if self._hung:
            print("the application hung: the agent runs alone for a while")
            await self._agent_first()
            self._host.load()
        await self._host.run()

    async def _agent_first(self) -> None:
        began_ms = self._port.now_ms()
        while self._port.now_ms() - began_ms < ALONE_MS or self._job_is_open():
            await self._port.sleep_ms(_STEP_MS)

    def _job_is_open(self) -> bool:
        return self._updater is not None and self._updater.state not in states.CLOSED

    async def _run_agent(self, work: "Any") -> None:
        if self._session is not None:
            watched = self._session
            self._keeper.watch("agent", lambda: watched.turns)
        try:
            await work
        except Exception as err:  # ours: shown, then a clean start, but not while a car charges
            self._on_defect(err)
            self._keeper.forget("agent")
            await self._until_free()
            self._ask_restart("a defect of the agent")

    async def _until_free(self) -> None:
        began_ms = self._port.now_ms()
        while self._application.charging() and self._port.now_ms() - began_ms < FREE_MS:
            await self._port.sleep_ms(_STEP_MS)

    async def _run_alone(self) -> None:
        """Without settings there is no broker, but a trial ends and the application runs."""
        while True:
            busy = self._updater is not None and self._updater.poll(self._port.now_ms())
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
        if self._updater is not None:
            self._updater.on_defect()


def _read_config(port: "Any") -> "Config | None":
    try:
        return config.parse(port.read_file("device.json"))
    except (OSError, config.ConfigError) as err:
        print("settings: {}; going on without a broker".format(err))
        return None
