"""The lives that the campaign cuts: from a prepared flash to rest, with the real boot stage and agent.

A scene's names are part of a cut's id. `act` is the life that is cut; after a cut the charger goes on
by `goes_on`, with nothing but its flash and what the broker still holds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass

from agent import protocol, states
from bootloader_verify import container, keyset, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import FlashError
from bootloader_verify.keyset_store import KeysetStore
from bootloader_verify.slot import Slot, region
from host_tools import container as containers
from host_tools import manifest
from tests.power import rig
from tests.power.chip import Chip
from tests.power.geometry import Geometry
from tests.power.judge import Place, Witness
from tests.power.rig import RELEASE, ROLLOUT, Life, TestSigner, World, live

OLD, GOOD, ILL, NEXT = "1.0.0", "1.1.0", "1.2.0", "1.3.0"
_EPOCHS = {OLD: 1, GOOD: 2, ILL: 1, NEXT: 3}
_ADOPTED, _ADOPTED_NEXT = "2.0.0", "2.1.0"  # of a factory that began with epoch 30
_EPOCHS |= {_ADOPTED: 30, _ADOPTED_NEXT: 31}
Act = Callable[[Chip, World], Life]


@dataclass(frozen=True)
class Scene:
    """`prepare` leaves the flash before the cuts and a world with the offer on its broker.

    ends: words of the last status -> version that then runs; the first one is that of a life without a
    cut. epoch_top: the highest epoch that the prepared flash confirmed. must_boot: it holds an image.
    """

    name: str
    prepare: Callable[[Geometry, World], Chip]
    ends: dict[str, str]
    act: Act = live
    goes_on: Act = live
    epoch_top: int = 1
    must_boot: bool = True


def image(geometry: Geometry, version: str) -> bytes:
    return rig.image(version, _EPOCHS[version], geometry.image_bytes)


def epoch_of(version: str) -> int:
    return _EPOCHS[version]


# --- beginnings -------------------------------------------------------------------------------------
def _factory(geometry: Geometry, version: str = OLD, epoch: int | None = 1) -> Chip:
    """`version` confirmed in slot a; `epoch` None: never stored."""
    chip, board = geometry.chip(), geometry.board()
    slot, data = Slot(chip, board, "a"), image(geometry, version)
    slot.region.program(0, data + bytes([chip.erased]) * (-len(data) % geometry.write))
    trailer.arm(slot.region, slot.layout, 1)
    trailer.confirm(slot.region, slot.layout, slot.state())
    if epoch is not None:
        EpochCounter(region(chip, board, "epoch")).raise_to(epoch)
    return chip


def _offers(version: str) -> Callable[[Geometry, World], Chip]:
    def prepare(geometry: Geometry, world: World) -> Chip:
        world.publish(image(geometry, version), 1)
        return _factory(geometry)

    return prepare


def _second(geometry: Geometry, world: World) -> Chip:
    """1.1.0 came over the air and runs in slot b; 1.3.0 is to go where 1.0.0 stands."""
    chip = _offers(GOOD)(geometry, world)
    live(chip, world)
    world.publish(image(geometry, NEXT), 2)
    return chip


def _armed(geometry: Geometry, world: World) -> Chip:
    chip = _offers(GOOD)(geometry, world)
    Life(chip, world, "power").run()
    return chip


def _half_way(geometry: Geometry, world: World) -> Chip:
    """A job in the middle of its download, and a newer offer on the broker."""
    chip = _offers(GOOD)(geometry, world)
    Life(chip, world, "power").run(until=lambda _life: len(world.fetched) >= 2)
    world.publish(image(geometry, NEXT), 2)
    return chip


def _failed_before(geometry: Geometry, world: World) -> Chip:
    """1.2.0 was given up and stands in slot b with all its attempts used; 1.3.0 is to go there."""
    chip = _offers(ILL)(geometry, world)
    live(chip, world)
    world.publish(image(geometry, NEXT), 2)
    return chip


def _empty(geometry: Geometry, world: World) -> Chip:
    world.publish(image(geometry, GOOD), 1)
    return geometry.chip()


def _adopted(geometry: Geometry, world: World) -> Chip:
    world.publish(image(geometry, _ADOPTED_NEXT), 1)
    return _factory(geometry, _ADOPTED, None)


# --- lives ------------------------------------------------------------------------------------------
def _losing(chip: Chip, world: World) -> Life:
    """Five trials that end by a power loss before anything is proved, then a quiet one."""
    for _ in range(5):
        Life(chip, world, "power")
    return live(chip, world)


def _cancelling(chip: Chip, world: World) -> Life:
    life = Life(chip, world, "power")
    life.run(until=lambda one: one.updater.state == states.WAITING)
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_CANCEL, 101)))
    life.run()
    return live(chip, world)


# --- keysets ----------------------------------------------------------------------------------------
_ROOT = TestSigner("root_1")
_NEW_KEYSETS = 2  # of one life
_BOOTS_MAX = 4


@functools.lru_cache
def keyset_container(version: int) -> bytes:
    """Each one denies another key than the one before it."""
    keys = [
        {"id": one.key_id.hex(), "alg": one.alg, "role": role, "class": "all"}
        | {"key": one.public_raw.hex()}
        for one, role in ((_ROOT, "root"), (RELEASE, "release"), (ROLLOUT, "rollout"))
    ]
    fields = {
        "version": version,
        "keys": keys,
        "thresholds": dict.fromkeys(keyset.ROLES, 1),
        "revoked": [version.to_bytes(32, "big").hex()],
        "min_epoch": {},
    }
    payload = json.dumps(fields).encode()
    return containers.add_signature(
        containers.build(payload, container.KIND_KEYSET, f"0.0.0+{version}"), _ROOT
    )


def _store(chip: Chip, world: World) -> KeysetStore:
    return KeysetStore(region(chip, world.map, "keyset"), keyset_container(1))


def _take_keysets(store: KeysetStore, newest: int) -> None:
    while store.keyset.version < newest:
        store.accept(keyset_container(store.keyset.version + 1))


def _first_keysets(geometry: Geometry, world: World) -> Chip:
    world.map.NEWEST_KEYSET = 1 + _NEW_KEYSETS
    return _offers(OLD)(geometry, world)


def _later_keysets(geometry: Geometry, world: World) -> Chip:
    """Both halves of the store are full: the next copies erase them."""
    chip = _offers(OLD)(geometry, world)
    half = world.map.REGIONS["keyset"][1] // 2
    full = half // (len(keyset_container(1)) + 16)
    _take_keysets(_store(chip, world), 1 + full)
    world.map.NEWEST_KEYSET = 1 + full + _NEW_KEYSETS
    return chip


def _rotating(chip: Chip, world: World) -> Life:
    """Boots that trust the stored keyset, mend it, and take those that came since; what the flash
    refuses is tried again at the next boot."""
    for _ in range(_BOOTS_MAX):
        store = _store(chip, world)
        if world.witness is not None:
            world.witness.trusts(store.keyset.version, store.damaged)
        world.keys = store.keyset
        life = Life(chip, world, "power")
        life.run()
        try:
            store.mend()
            _take_keysets(store, world.map.NEWEST_KEYSET)
            return life
        except FlashError:
            pass
    if world.witness is None or not world.witness.damaged:
        raise AssertionError("the newest keyset cannot be stored")
    return life


SCENES = {
    one.name: one
    for one in (
        Scene("install", _offers(GOOD), {"Installed": GOOD}),
        Scene("revert", _offers(ILL), {"InstallationFailed": OLD}),
        Scene("second", _second, {"Installed": NEXT}, epoch_top=2),
        Scene("retry", _failed_before, {"Installed": NEXT}),
        Scene("losses", _armed, {"Installed": GOOD}, act=_losing),
        Scene("replace", _half_way, {"Installed": NEXT}),
        Scene("cancel", _offers(GOOD), {"Idle": OLD, "Installed": GOOD}, act=_cancelling),
        Scene("rescue", _empty, {"Installed": GOOD}, epoch_top=0, must_boot=False),
        Scene("adopt", _adopted, {"Installed": _ADOPTED_NEXT}, epoch_top=30),
        Scene("keyset", _first_keysets, {"Idle": OLD}, act=_rotating, goes_on=_rotating),
        Scene("keyset2", _later_keysets, {"Idle": OLD}, act=_rotating, goes_on=_rotating),
    )
}


def begin(scene: Scene, geometry: Geometry) -> tuple[Chip, World, Witness]:
    """The flash before the first cut, its world, and a witness that saw nothing yet."""
    board = geometry.board()
    world = World(board, ill={ILL + "+0"})
    chip = scene.prepare(geometry, world).clone()
    chip.wear = [0] * len(chip.wear)
    images = {}
    for version in _EPOCHS:
        data = image(geometry, version)
        images[manifest.read_image(data).digest] = (data, epoch_of(version))
    witness = Witness(Place(board), images, scene.must_boot, scene.epoch_top)
    return chip, world, witness


def again(world: World, witness: Witness) -> World:
    """The same surroundings, nothing heard yet."""
    return World(
        world.map,
        offer=world.offer,
        artifacts=world.artifacts,
        keys=world.keys,
        ill=world.ill,
        witness=witness,
    )
