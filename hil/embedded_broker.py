"""The broker where mosquitto is not installed: amqtt, in a thread of this process.

Three things are added to it: sessions of clients without a name live on while they are away; a
shared subscription is served as a plain one (so every server answers: one server, then); retained
messages survive a restart. Its sessions do not survive one, as with a broker that failed over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

from amqtt import __version__ as version
from amqtt.broker import Broker
from amqtt.errors import AMQTTError
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from hil.errors import BenchError

__all__ = ["EmbeddedBroker", "version"]
_TIMEOUT_S = 10.0
_SETTLE_S = 0.2  # amqtt acknowledges a message before it retains it
_SHARE = "$share/"


class Open(BaseAuthPlugin):  # type: ignore[misc]
    """Lets everybody in, and keeps their sessions."""

    async def authenticate(self, *, session: Session) -> bool:
        return True


class _Broker(Broker):  # type: ignore[misc]
    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        topic, qos = subscription
        if topic.startswith(_SHARE):
            topic = topic[len(_SHARE) :].partition("/")[2]
        return int(await super().add_subscription((topic, qos), session))


class EmbeddedBroker:
    """Starts and stops on one port, as often as wanted; BenchError BROKER_FAILED if it cannot."""

    def __init__(self, host: str, port: int, log: Path) -> None:
        self._bind = f"{host}:{port}"
        self._retained: dict[str, Any] = {}
        self._broker: _Broker | None = None
        _log_to(log)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="amqtt", daemon=True)
        self._thread.start()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_TIMEOUT_S)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_TIMEOUT_S)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_TIMEOUT_S)
        self._loop.close()

    async def _start(self) -> None:
        listener = {"type": "tcp", "bind": self._bind}
        config = {"listeners": {"default": listener}, "plugins": {f"{__name__}.Open": {}}}
        broker = _Broker(config)
        try:
            await broker.start()
        except AMQTTError as error:
            raise BenchError("BROKER_FAILED", f"amqtt does not start: {error}") from error
        broker._retained_messages.update(self._retained)
        self._broker = broker

    async def _stop(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            await asyncio.sleep(_SETTLE_S)
            self._retained = dict(broker._retained_messages)
            await broker.shutdown()


def _log_to(path: Path) -> None:
    handler = logging.FileHandler(path)
    for name in ("amqtt", "transitions"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.WARNING)
        logger.propagate = False
