"""Carries messages between the broker and the updater over one connection after another.

No socket, no clock, no asyncio in here: `net` brings them.
    net.now_ms() -> int         net.connect() -> awaitable stream (see ports/unix.py)
    net.sleep_ms(ms) -> awaitable       net.start(coroutine) -> task with cancel()
    net.event() -> set(), clear(), awaitable wait()
`handler` is the updater: on_message(leaf, payload), on_link(up, now_ms), poll(now_ms) -> bool,
next_message() -> (leaf, payload, qos, retain) or None, sent(leaf).

One task reads, one writes, `run` does the rest; whatever ends a connection ends both and closes it.
"""

from agent import protocol
from agent.net import link as links
from agent.net import mqtt as events
from agent.net.mqtt import Mqtt
from agent.net.mqtt_out import MqttError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from agent.net.link import Link

TICK_MS = 50  # how often the updater is asked when nothing happens
ONLINE_YES, ONLINE_NO = b"1", b"0"
_NOT_POISON = ("REFUSED", "SUBSCRIBE_REFUSED")  # the broker's decision, not a broken packet
_QOS = {protocol.OFFER: 1, protocol.DATA: 0, protocol.CMD: 1}  # PROTOCOL.md
_GOODBYE_TICK_MS = 10


def will(device: str) -> "tuple[str, bytes, int, bool]":
    """What the broker says about a device that vanished: `online` is 0."""
    return (protocol.topic(device, protocol.ONLINE), ONLINE_NO, 1, True)


def _one_line(err: Exception) -> str:
    return " ".join("{} {}".format(type(err).__name__, err).split())


class Session:
    """`run` for ever; `turns` counts its rounds, as a sign of life. `is_up`: messages flow.

    `on_defect` shows an error that only a defect of the agent can make.
    """

    def __init__(
        self,
        device: str,
        mqtt: Mqtt,
        link: "Link",
        net: "Any",
        handler: "Any",
        log: "Callable[[str], None]",
        on_defect: "Callable[[Exception], None]",
    ) -> None:
        self._mqtt = mqtt
        self._link = link
        self._net = net
        self._handler = handler
        self._log = log
        self._on_defect = on_defect
        self._topics = {leaf: protocol.topic(device, leaf) for leaf in protocol.UP}
        self._down = [(protocol.topic(device, leaf), _QOS[leaf]) for leaf in protocol.DOWN]
        self._leaves = {protocol.topic(device, leaf): leaf for leaf in protocol.DOWN}
        self._wake = net.event()
        self._stream: "Any" = None
        self._tasks: "list[Any]" = []
        self._ended = ""  # why the connection ended, until it is closed
        self._poisoned = False  # what the broker keeps for us would end every connection
        self._talks = False  # what waits to be written is more than a ping
        self._announce = False  # `online` is still to be said on this connection
        self._held: "tuple[str, Any, int, bool] | None" = None
        self.is_up = False
        self.turns = 0

    # --- the rounds ---------------------------------------------------------------------------
    async def run(self) -> None:
        """Until cancelled."""
        while True:
            busy = self.turn()
            await self._net.sleep_ms(0 if busy else TICK_MS)

    def turn(self) -> bool:
        """One round: what the link wants, one piece of the updater's work. True: more is ready."""
        now_ms = self._net.now_ms()
        if self._ended:
            self._close(now_ms, self._ended)
        asked = self._link.poll(now_ms)
        if asked == links.CONNECT:
            self._tasks = [self._net.start(self._live())]
        elif asked == links.PING:
            self._mqtt.ping()
            self._wake.set()
        elif asked == links.DROP:
            self._close(now_ms, self._link.reason)
        busy = bool(self._handler.poll(now_ms))
        self._collect()
        self.turns += 1
        return busy

    def _close(self, now_ms: int, reason: str) -> None:
        """Both tasks and the stream go; the link decides when to come back."""
        for task in self._tasks:
            task.cancel()
        if self._stream is not None:
            self._stream.close()
        self._stream, self._tasks, self._ended = None, [], ""
        if self._held is not None and not self._held[2]:
            self._held = None  # a request of the connection that is gone
        was_up, self.is_up = self.is_up, False
        self._link.down(now_ms, reason)
        wait_ms = self._link.wait_ms(now_ms)
        self._log("link down: {}; next try in {} ms".format(self._link.reason, wait_ms))
        if was_up:
            self._handler.on_link(False, now_ms)

    # --- one connection -----------------------------------------------------------------------
    async def _live(self) -> None:
        """From connect to the end of the connection; says in `_ended` why it ended."""
        try:
            self._stream = await self._net.connect()
            self._mqtt.connect(self._poisoned)
            self._poisoned = False
            self._wake.set()
            self._tasks.append(self._net.start(self._write(self._stream)))
            await self._read(self._stream)
        except MqttError as err:
            self._poisoned = err.code not in _NOT_POISON
            self._ended = self._ended or str(err)
        except OSError as err:
            self._ended = self._ended or _one_line(err)
        except Exception as err:  # ours: shown, and the connection begins anew
            self._on_defect(err)
            self._ended = "defect"

    async def _read(self, stream: "Any") -> None:
        while not self._ended:
            n = await stream.readinto(self._mqtt.get_buffer())
            if not n:
                self._ended = "closed by the broker"
                return
            self._mqtt.received(n)
            if self._take_events(self._net.now_ms()):
                self._collect()
                await self._net.sleep_ms(
                    0
                )  # the others' turn: data may come faster than it is used

    async def _write(self, stream: "Any") -> None:
        try:
            while True:
                if not self._mqtt.has_outgoing:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                talks, self._talks = self._talks, False
                self._mqtt.wrote(await stream.write(self._mqtt.outgoing()))
                self._link.sent(self._net.now_ms(), talks)
        except OSError as err:
            self._ended = self._ended or _one_line(err)

    # --- what came ----------------------------------------------------------------------------
    def _take_events(self, now_ms: int) -> bool:
        """Act on what the bytes meant; True if that was more than a piece of a packet."""
        some = False
        event = self._mqtt.event()
        while event != events.NOTHING:
            some = True
            if event == events.CONNECTED:
                self._on_connected(now_ms)
            self._link.heard(now_ms, event != events.PONG)
            if event == events.MESSAGE:
                self._on_message()
            elif event == events.SUBSCRIBED:
                self._on_subscribed(now_ms)
            elif event == events.ACKNOWLEDGED:
                self._on_acknowledged()
            elif event == events.SKIPPED:
                text = "message of {} bytes on {} is too long: not taken"
                self._log(text.format(self._mqtt.skipped_bytes, self._mqtt.topic))
            event = self._mqtt.event()
        if not some:
            self._link.heard(now_ms, False)
        if self._mqtt.has_outgoing:
            self._wake.set()
        return some

    def _on_connected(self, now_ms: int) -> None:
        self._link.up(now_ms)
        self._mqtt.subscribe(self._down)
        self._talks = True

    def _on_subscribed(self, now_ms: int) -> None:
        kept = "kept" if self._mqtt.session_present else "new"
        self._log("link up, session {}".format(kept))
        self.is_up = self._announce = True
        self._handler.on_link(True, now_ms)

    def _on_message(self) -> None:
        """A message counts as taken when the handler came back: only then it is acknowledged.

        One that meets a defect of ours counts as well, or the broker sends it again for ever.
        """
        leaf = self._leaves.get(self._mqtt.topic)
        if leaf is None:
            self._log("message on {}: not ours".format(self._mqtt.topic))
        else:
            try:
                self._handler.on_message(leaf, self._mqtt.payload)
            except Exception as err:
                self._on_defect(err)
        self._mqtt.accept()

    def _on_acknowledged(self) -> None:
        leaf = self._mqtt.topic_sent.split("/")[-1]
        if leaf != protocol.ONLINE:
            self._handler.sent(leaf)

    # --- what goes out ------------------------------------------------------------------------
    def _collect(self) -> None:
        """Everything that the updater wants to say and that has room now."""
        while self.is_up:
            if self._announce:
                message = (protocol.ONLINE, ONLINE_YES, 1, True)
            else:
                self._held = self._held or self._handler.next_message()
                if self._held is None:
                    return
                message = self._held
            if not self._mqtt.publish(self._topics[message[0]], message[1], message[2], message[3]):
                return
            self._note_published(message[0], message[2])

    def _note_published(self, leaf: str, qos: int) -> None:
        self._talks = True
        self._wake.set()
        if self._announce:
            self._announce = False
            return
        self._held = None
        if not qos:
            self._handler.sent(leaf)

    async def goodbye(self, timeout_ms: int) -> None:
        """Before a reset: wait for what is in flight, say offline, disconnect; all in the time."""
        until_ms = self._net.now_ms() + timeout_ms
        while self._mqtt.in_flight and self.is_up and self._net.now_ms() < until_ms:
            await self._net.sleep_ms(_GOODBYE_TICK_MS)
        if not self.is_up:
            return
        if self._mqtt.publish(self._topics[protocol.ONLINE], ONLINE_NO, 0, True):
            self._mqtt.disconnect()
            self._wake.set()
        while self._mqtt.has_outgoing and not self._ended and self._net.now_ms() < until_ms:
            await self._net.sleep_ms(_GOODBYE_TICK_MS)
