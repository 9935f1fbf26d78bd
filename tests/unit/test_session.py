"""The session's rules on a scheduler of our own: what is said when, what survives a lost line."""

from agent.net import link, session
from agent.net.mqtt import Mqtt
from tests.unit.test_mqtt import publish

CONNACK, CONNACK_KEPT = b"\x20\x02\x00\x00", b"\x20\x02\x01\x00"
SUBACK = b"\x90\x05\x00\x01\x01\x00\x01"
ONLINE = b"ota/v1/CP/online\x00\x02" + b"1"


class Pause:
    """Gives the turn away until `ready()`."""

    def __init__(self, ready):
        self.ready = ready

    def __await__(self):
        yield
        while not self.ready():
            yield

    __iter__ = __await__


class Event:
    def __init__(self):
        self.is_set = False

    def set(self):
        self.is_set = True

    def clear(self):
        self.is_set = False

    def wait(self):
        return Pause(lambda: self.is_set)


class Task:
    def __init__(self, coroutine):
        self.coroutine = coroutine

    def cancel(self):
        self.coroutine = None

    def step(self):
        if self.coroutine is not None:
            try:
                self.coroutine.send(None)
            except StopIteration:
                self.coroutine = None


class Stream:
    """The far end in a test's hands: `feed` what it sends, read `sent`."""

    def __init__(self):
        self.sent = b""
        self.incoming = b""
        self.broken = self.closed = False

    async def readinto(self, buf):
        await Pause(lambda: self.incoming or self.broken)
        if self.broken:
            raise OSError("broken")
        part = self.incoming[: len(buf)]
        buf[: len(part)] = part
        self.incoming = self.incoming[len(part) :]
        return len(part)

    async def write(self, buf):
        self.sent += bytes(buf)
        await Pause(lambda: True)
        return len(buf)

    def close(self):
        self.closed = True


class Net:
    def __init__(self):
        self.time_ms = 0
        self.tasks = []
        self.streams = []
        self.refuse = False

    def now_ms(self):
        return self.time_ms

    def sleep_ms(self, duration_ms):
        until_ms = self.time_ms + duration_ms
        return Pause(lambda: self.time_ms >= until_ms)

    def start(self, coroutine):
        self.tasks.append(Task(coroutine))
        return self.tasks[-1]

    def event(self):
        return Event()

    async def connect(self):
        if self.refuse:
            raise OSError("refused")
        self.streams.append(Stream())
        return self.streams[-1]


class Hand:
    """An updater that says what it is told to, and remembers what it heard."""

    def __init__(self):
        self.heard = []
        self.to_say = []

    def on_message(self, leaf, payload):
        self.heard.append((leaf, bytes(payload)))
        if payload == b"crash":
            raise RuntimeError("crash")

    def on_link(self, up, now_ms):
        self.heard.append("up" if up else "down")

    def poll(self, now_ms):
        return False

    def next_message(self):
        return self.to_say.pop(0) if self.to_say else None

    def sent(self, leaf):
        self.heard.append(("sent", leaf))


class Bench:
    def __init__(self):
        self.net, self.hand, self.lines = Net(), Hand(), []
        back_off = link.BackOff(1, 0, 0, lambda n: 0)
        mqtt = Mqtt("CP", memoryview(bytearray(64)), 60, session.will("CP"))
        line = link.Link(back_off, 60, 0)
        self.session = session.Session(
            "CP", mqtt, line, self.net, self.hand, self.lines.append, self.lines.append
        )
        self.running = Task(self.session.run())
        self.run()

    def run(self, for_ms=200):
        end_ms = self.net.time_ms + for_ms
        while self.net.time_ms < end_ms:
            for task in [self.running] + self.net.tasks:
                task.step()
            self.net.time_ms += 5

    @property
    def stream(self):
        return self.net.streams[-1]

    def feed(self, data):
        """The broker sends `data`; returns what the device answered."""
        self.stream.sent = b""
        self.stream.incoming += data
        self.run()
        return self.stream.sent

    def up(self, connack=CONNACK):
        self.feed(connack)
        suback = bytearray(SUBACK)
        suback[2:4] = self.stream.sent[2:4]
        said = self.feed(bytes(suback))
        assert self.session.is_up
        return said

    def acknowledge(self, said):
        at = said.index(b"\x00", said.index(b"ota/v1/CP/") + 1)
        return self.feed(b"\x40\x02" + said[at : at + 2])


def test_it_subscribes_then_says_online_then_lets_the_updater_speak():
    bench = Bench()
    assert bench.stream.sent[:1] == b"\x10" and b"ota/v1/CP/online" in bench.stream.sent
    bench.hand.to_say = [("status", b"fine", 1, True), ("get", b"more", 0, False)]
    asked = bench.feed(CONNACK)
    assert asked[0] == 0x82 and asked.count(b"ota/v1/CP/") == 3
    assert bench.hand.heard == []
    assert bench.feed(SUBACK) == b"\x33\x15\x00\x10" + ONLINE
    assert bench.hand.heard == ["up"]
    said = bench.feed(b"\x40\x02\x00\x02")
    assert b"ota/v1/CP/status\x00\x03fine" in said and b"ota/v1/CP/getmore" in said
    assert bench.hand.heard == ["up", ("sent", "get")]
    bench.feed(b"\x40\x02\x00\x03")
    assert bench.hand.heard == ["up", ("sent", "get"), ("sent", "status")]


def test_a_message_is_acknowledged_even_if_it_meets_a_defect_of_the_updater():
    bench = Bench()
    bench.up()
    for text in (b"fine", b"crash"):
        assert bench.feed(publish(b"ota/v1/CP/cmd", text, 1)) == b"\x40\x02\x00\x07"
        assert bench.hand.heard[-1] == ("cmd", text)
    assert "crash" in str(bench.lines[-1]) and bench.session.is_up


def test_a_message_that_is_none_of_ours_is_left_alone():
    bench = Bench()
    bench.up()
    heard = len(bench.hand.heard)
    assert bench.feed(publish(b"ota/v1/CP/get", b"x", 1)) == b"\x40\x02\x00\x07"
    assert len(bench.hand.heard) == heard
    assert bench.lines[-1] == "message on ota/v1/CP/get: not ours"


def test_the_reason_of_a_lost_line_is_one_log_line_and_the_updater_hears_of_it():
    bench = Bench()
    bench.up()
    first = bench.stream
    first.broken = True
    bench.run()
    assert first.closed
    assert bench.lines[-1] == "link down: OSError broken; next try in 1000 ms"
    assert bench.hand.heard[-1] == "down"
    bench.run(1_200)
    assert len(bench.net.streams) == 2


def test_what_was_in_flight_goes_out_again_and_then_what_waited_behind_it():
    bench = Bench()
    bench.hand.to_say = [("status", b"first", 1, True), ("event", b"second", 1, False)]
    assert b"first" in bench.acknowledge(bench.up())
    bench.stream.broken = True
    bench.run(1_500)
    again = bench.feed(CONNACK_KEPT)
    assert again[:1] == b"\x3b" and b"first" in again  # with DUP
    suback = bytearray(SUBACK)
    suback[3] = 4
    bench.feed(bytes(suback))
    bench.feed(b"\x40\x02\x00\x03")
    said = bench.feed(b"\x40\x02\x00\x05")
    assert b"second" in said and bench.hand.heard.count("up") == 2


def test_a_try_that_fails_is_told_to_nobody_but_the_log():
    bench = Bench()
    bench.stream.broken = True
    bench.net.refuse = True
    bench.run(3_000)
    assert bench.hand.heard == []
    assert bench.lines[-1] == "link down: OSError refused; next try in 1000 ms"


def test_after_a_broken_packet_the_broker_is_asked_to_forget_what_it_kept():
    bench = Bench()
    bench.up()
    bench.feed(b"\xf0\x00")
    assert bench.lines[-1].startswith("link down: UNEXPECTED")
    bench.run(1_200)
    assert bench.stream.sent[9] & 0x02  # clean session
    bench.stream.broken = True
    bench.run(1_200)
    assert not bench.stream.sent[9] & 0x02


def test_goodbye_says_offline_and_disconnects():
    bench = Bench()
    bench.acknowledge(bench.up())
    bench.stream.sent = b""
    bye = Task(bench.session.goodbye(1_000))
    bench.net.tasks.append(bye)
    bench.run()
    assert bench.stream.sent == b"\x31\x13\x00\x10ota/v1/CP/online0\xe0\x00"
    assert bye.coroutine is None


def test_goodbye_does_not_wait_for_ever_for_a_broker_that_is_silent():
    bench = Bench()
    bench.up()
    bye = Task(bench.session.goodbye(1_000))
    bench.net.tasks.append(bye)
    bench.run(900)
    assert bye.coroutine is not None
    bench.run(300)
    assert bye.coroutine is None
