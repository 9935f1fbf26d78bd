"""The charger that most of these tests begin with."""

from __future__ import annotations

import pytest

from tests.power import rig
from tests.power.flash_model import RamNor
from tests.power.rig import World, board, factory, image


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    rig.fast_signatures(monkeypatch)


@pytest.fixture
def world() -> World:
    """A broker, a server, and 1.2.0 known to fail its self-test."""
    return World(board(), ill={"1.2.0+0"})


@pytest.fixture
def flash(world: World) -> RamNor:
    """1.0.0 in slot a, as the factory left it."""
    return factory(world.map, image("1.0.0"))
