"""Any JSON, any bytes: a keyset comes out whole or BAD_KEYSET does."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bootloader_verify import keyset
from bootloader_verify.errors import BAD_KEYSET, VerifyError
from tests.unit.containers import keyset_fields, keyset_json

ANYTHING: Any = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["all", "root", "00" * 16, "ab" * 32, "ecdsa-p256"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


def parsed(payload: bytes) -> keyset.Keyset | None:
    try:
        return keyset.parse(payload)
    except VerifyError as error:
        assert error.code == BAD_KEYSET
        return None


@given(st.binary(max_size=200))
def test_any_bytes(payload: bytes) -> None:
    assert parsed(payload) is None


@given(ANYTHING)
def test_any_json(value: Any) -> None:
    assert parsed(json.dumps(value).encode()) is None


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for name in value:
            found += places(value[name], (*path, name))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += places(item, (*path, i))
    return found


GOOD = keyset_fields(["root_1", "root_2", "release_1", "release_rsa", "rollout_1"])
assert keyset.parse(keyset_json(GOOD))
PLACES = places(GOOD)


@settings(max_examples=300)
@given(st.sampled_from(PLACES[1:]), ANYTHING)
def test_any_value_in_any_place(path: tuple[Any, ...], value: Any) -> None:
    """What is accepted has every field in its type and range."""
    fields = copy.deepcopy(GOOD)
    inside: Any = fields
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    found = parsed(json.dumps(fields).encode())
    if found is None:
        return
    assert type(found.version) is int and 1 <= found.version <= 0xFFFFFFFF
    for key_id, key in found.keys.items():
        assert key_id == key.id == keyset.key_id(key.alg, key.raw)
        assert key.role in keyset.ROLES
        assert key.device_class == "all" or len(bytes.fromhex(key.device_class)) == 16
    assert all(1 <= found.threshold(role) <= 16 for role in keyset.ROLES)
    assert all(len(one) == 32 for one in found.revoked)
    assert all(type(e) is int and 0 <= e <= 0xFFFFFFFF for e in found.min_epoch.values())


@settings(max_examples=300)
@given(st.integers(0, 1 << 20), st.integers(0, 3), st.binary(max_size=3))
def test_mangled_text(at: int, cut: int, new: bytes) -> None:
    text = bytearray(keyset_json(GOOD))
    at %= len(text)
    text[at : at + cut] = new
    parsed(bytes(text))
