"""A whole charger in one process: RAM flash, boot stage, updater, application, server, broker.

Everything that decides is the real code; only radio, clock and charger are played. A life ends by a
reset, by a cut (PowerCut passes through) or when there is nothing more to do.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from agent import protocol, states
from agent.application import Application
from agent.update.parts import Parts
from agent.update.updater import Updater
from bootloader_verify import boot, container, keyset, p256, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.keyset import Key, Keyset
from bootloader_verify.slot import Slot, region
from host_tools import artifact, manifest
from host_tools import container as containers
from tests.power.flash_model import RamNor
from tests.unit.fakes import App
from tests.vectors import signing_DO_NOT_USE as signing

DEVICE = "CP-0001"
TICK_MS = 100
STEPS_MAX = 20_000
VID, CID = bytes(range(16)), bytes(range(16, 32))
# One verification of the same bytes is enough for thousands of cuts: a pure function.
_verify = functools.lru_cache(maxsize=None)(p256.verify)


class TestSigner:
    """A key of tests/vectors as a signer."""

    __test__ = False

    def __init__(self, name: str) -> None:
        self.alg = keyset.ECDSA_P256
        self.public_raw = signing.public_raw(name)
        self.key_id = keyset.key_id(self.alg, self.public_raw)
        self._name = name

    def sign_digest(self, digest: bytes) -> bytes:
        return signing.sign(self._name, digest)


RELEASE, ROLLOUT, STRANGER = (TestSigner(name) for name in ("release_1", "rollout_1", "stranger"))


def keys() -> Keyset:
    trusted = {
        one.key_id: Key(one.key_id, one.alg, role, keyset.ALL_CLASSES, one.public_raw)
        for one, role in ((RELEASE, keyset.RELEASE), (ROLLOUT, keyset.ROLLOUT))
    }
    return Keyset(1, trusted, dict.fromkeys(keyset.ROLES, 1))


@functools.lru_cache
def image(version: str, epoch: int = 1, size: int = 9000, signer: TestSigner = RELEASE) -> bytes:
    """A signed image whose payload depends on the version only in its second half."""
    half = bytes(i * 7 % 251 for i in range(size // 2))
    payload = half + bytes((i + sum(version.encode())) % 253 for i in range(size - size // 2))
    made = containers.build(payload, container.KIND_IMAGE, version, epoch, VID, CID)
    return containers.add_signature(made, signer)


def board_of(sizes: dict[str, int], erase: int, write: int, erased: int, block: int) -> Any:
    """A generated `board` module with regions of these sizes, one behind the other."""
    regions, at = {}, 0
    for name, size in sizes.items():
        regions[name] = (at, size)
        at += size
    return SimpleNamespace(
        VID=VID,
        CID=CID,
        REVISION="A",
        FLASH_SIZE=at,
        ERASE=erase,
        WRITE=write,
        ERASED=erased,
        BLOCK_BYTES_MAX=block,
        REGIONS=regions,
    )


def board(erase: int = 1024, write: int = 8, slot: int = 16_384) -> Any:
    """A map with everything that a board has."""
    sizes = dict.fromkeys(("slot_a", "slot_b"), slot)
    sizes |= dict.fromkeys(("epoch", "keyset"), 2 * erase)
    sizes |= {"journal": 2 * max(erase, 8192)}
    sizes |= dict.fromkeys(("events", "app_data"), 2 * erase)
    return board_of(sizes, erase, write, 0xFF, 4096)


def factory(map_: Any, first: bytes, epoch: int = 1) -> RamNor:
    """A flash as the factory leaves it: `first` confirmed in slot a."""
    flash = RamNor(map_.FLASH_SIZE, map_.ERASE, map_.WRITE)
    slot = Slot(flash, map_, "a")
    rest = -len(first) % map_.WRITE
    slot.region.program(0, first + b"\xff" * rest)
    trailer.arm(slot.region, slot.layout, 1)
    trailer.confirm(slot.region, slot.layout, slot.state())
    EpochCounter(region(flash, map_, "epoch")).raise_to(epoch)
    return flash


def sealed(payload: bytes, seq: int, signer: TestSigner = ROLLOUT) -> bytes:
    """A manifest container."""
    unsigned = containers.build(payload, container.KIND_MANIFEST, f"0.0.0+{seq}")
    return containers.add_signature(unsigned, signer)


@dataclass
class World:
    """What stands around the charger, and what was heard of it."""

    map: Any
    keys: Keyset = field(default_factory=keys)
    offer: bytes = b""
    artifacts: dict[bytes, artifact.Artifact] = field(default_factory=dict)
    ill: set[str] = field(default_factory=set)  # versions whose self-test fails
    statuses: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    boots: list[boot.Booted] = field(default_factory=list)
    fetched: list[int] = field(default_factory=list)  # numbers of the blocks that arrived
    now_ms: int = 0
    witness: Any = None  # hears of every boot (judge.py)

    def publish(self, data: bytes, seq: int, encoding: str = "raw", **policy: Any) -> None:
        """Put an offer of `data` on the broker. Request id = 100 + seq."""
        made = self.artifact(data, encoding)
        rules = manifest.Policy(**({"confirm_s": 60} | policy))
        facts = manifest.read_image(data)
        payload = manifest.build(seq, 100 + seq, DEVICE, facts, [made.entry()], rules)
        self.offer = sealed(payload, seq)

    def artifact(self, data: bytes, encoding: str = "raw") -> artifact.Artifact:
        """Make one and put it on the server."""
        block_size = 1024 if self.map.ERASE < 4096 else 4096
        made = artifact.make(data, encoding, block_size)
        self.artifacts[made.id] = made
        return made

    def words(self, request_id: int) -> list[str]:
        """The status names of one request, each run of equal ones once."""
        found: list[str] = []
        for status in self.statuses:
            if status["request_id"] == request_id and found[-1:] != [status["status"]]:
                found.append(status["status"])
        return found

    def serve(self, request: bytes) -> list[bytes]:
        get = protocol.parse_get(request)
        found = self.artifacts.get(get.artifact_id)
        if found is None:
            return [protocol.pack_data(get.nonce, protocol.KIND_GONE, 0)]
        items = artifact.pages(found.index) if get.kind == protocol.KIND_PAGE else found.blocks
        numbers = [n for first, count in get.ranges for n in range(first, first + count)]
        return [protocol.pack_data(get.nonce, get.kind, n, items[n]) for n in numbers]


class Life:
    """From power or reset to the next one; `restarted` says why it ended, "" for at rest."""

    def __init__(self, flash: RamNor, world: World, cause: str) -> None:
        self.world = world
        stage = boot.Boot(flash, world.map, world.keys, cause)
        self.booted = stage.select()
        world.boots.append(self.booted)
        if world.witness is not None:
            world.witness.booted(flash, self.booted, cause)
        self.app = App()
        running = self.booted.verified
        version = "{}.{}.{}+{}".format(*running.version) if running else ""
        if version in world.ill:
            self.app.answers["self_test"] = (False, "contactor reads closed with its coil off")
        application = Application(self.app if running else None, lambda _text: None)
        parts = Parts(flash, world.map, world.keys, stage, self.booted, application, [DEVICE])
        parts.log = lambda _text: None
        parts.restart = self._restart
        parts.nonce = lambda: 7
        self.restarted = ""
        self.updater = Updater(parts, world.now_ms)
        self.parts = parts
        if world.witness is not None:
            world.witness.resumed(parts.journal)

    def _restart(self, reason: str) -> None:
        self.restarted = reason

    def run(self, until: Any = None) -> str:
        """Live on; `until(life)` True ends it early. Returns `restarted`."""
        self.updater.on_link(True, self.world.now_ms)
        if self.world.offer:
            self.updater.on_message(protocol.OFFER, memoryview(self.world.offer))
        for _ in range(STEPS_MAX):
            self.world.now_ms += TICK_MS
            busy = self.updater.poll(self.world.now_ms)
            busy = self._exchange() or busy
            if self.restarted or (until is not None and until(self)):
                return self.restarted
            if not busy and self.updater.state in states.CLOSED:
                return ""
        raise AssertionError(f"no end in sight, state {self.updater.state}")

    def tick(self) -> None:
        """One step in time."""
        self.world.now_ms += TICK_MS
        self.updater.poll(self.world.now_ms)
        self._exchange()

    def _exchange(self) -> bool:
        """Carry all messages once."""
        some = False
        while (message := self.updater.next_message()) is not None:
            some = True
            leaf, payload = message[0], message[1]
            if leaf == protocol.STATUS:
                self.world.statuses.append(protocol.parse_status(payload))
            elif leaf == protocol.EVENT:
                self.world.events.append(protocol.parse_event(payload))
            self.updater.sent(leaf)
            if leaf == protocol.GET:
                for answer in self.world.serve(payload):
                    self._deliver(answer)
        return some

    def _deliver(self, answer: bytes) -> None:
        header = protocol.parse_data_header(answer)
        assert header is not None
        if header[1] == protocol.KIND_BLOCK:
            self.world.fetched.append(header[3])
        self.updater.on_message(protocol.DATA, memoryview(answer))


def live(flash: RamNor, world: World, cause: str = "power", boots_max: int = 12) -> Life:
    """Lives, one after the other, until one of them has nothing more to do: that one."""
    for _ in range(boots_max):
        life = Life(flash, world, cause)
        if not life.run():
            return life
        cause = "hard"
    raise AssertionError(f"{boots_max} boots and no rest: {[b.mode for b in world.boots]}")


def running(life: Life) -> str:
    assert life.booted.verified is not None
    return "{}.{}.{}".format(*life.booted.verified.version[:3])


def refusal(flash: RamNor, world: World) -> dict[str, Any]:
    """The event that refuses the offer on the broker; nothing else may have happened."""
    before, said = flash.operations, len(world.events)
    life = live(flash, world)
    assert flash.operations == before
    assert life.updater.state in states.CLOSED and life.parts.journal.state == states.J_CLOSED
    (event,) = world.events[said:]
    return event


def payload_for(world: World, data: bytes, seq: int = 1, **policy: Any) -> dict[str, Any]:
    entry = world.artifact(data).entry()
    facts, rules = manifest.read_image(data), manifest.Policy(**policy)
    found: dict[str, Any] = json.loads(
        manifest.build(seq, 100 + seq, DEVICE, facts, [entry], rules)
    )
    return found


def offered(world: World, payload: dict[str, Any], signer: TestSigner = ROLLOUT) -> None:
    world.offer = sealed(json.dumps(payload).encode(), payload["seq"], signer)


def armed(flash: RamNor, world: World, data: bytes) -> None:
    world.publish(data, 1)
    Life(flash, world, "power").run()
    assert Slot(flash, world.map, "b").state().armed


def waiting(flash: RamNor, world: World, **policy: Any) -> Life:
    """A life that has a verified image and a car that charges."""
    world.publish(image("1.1.0"), 1, **policy)
    life = Life(flash, world, "power")
    life.app.answers["charging"] = True
    life.run(until=lambda one: one.updater.state == states.WAITING and one.parts.reporter.idle)
    for _ in range(20):
        life.tick()
    return life


def fast_signatures(monkeypatch: Any) -> None:
    """Remember signatures that were verified before (see _verify)."""
    monkeypatch.setattr(p256, "verify", _verify)
