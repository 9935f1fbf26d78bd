"""No bytes and no JSON make `parse` raise anything but ManifestError, and what passes has its types."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from agent import manifest, protocol
from agent.manifest import Manifest, ManifestError
from tests.unit.test_manifest import device, each_field, fields, hexed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
GOOD = json.dumps(fields()).encode()


def parse(payload: bytes) -> Manifest | None:
    try:
        found = manifest.parse(payload)
    except ManifestError as error:
        assert error.code == "BAD_MANIFEST"
        return None
    return found


def use(found: Manifest) -> None:
    """All that the agent does with it: a rule's refusal or nothing."""
    try:
        manifest.judge(found, device())
    except ManifestError as error:
        assert error.code and error.code != "BAD_MANIFEST"
    for one in manifest.usable(found, device()):
        assert protocol.page_count(one.blocks) * 32 == len(one.page_hashes)
        assert 0 <= found.size - (one.blocks - 1) * one.block_size <= one.block_size
    assert len(found.digest) == 32 and len(found.vid) == len(found.cid) == 16
    assert protocol.is_name(found.device) and all(protocol.is_name(r) for r in found.revisions)
    assert found.seq > 0 and found.request_id > 0 and found.policy.attempts > 0


@given(st.binary(max_size=5000))
@example(GOOD)
def test_any_bytes(payload: bytes) -> None:
    found = parse(payload)
    assert (found is None) == (payload != GOOD)


@given(JSON)
def test_any_json(value: object) -> None:
    assert parse(json.dumps(value).encode()) is None


@given(st.data())
def test_any_value_of_any_field(data: st.DataObject) -> None:
    made: Any = copy.deepcopy(fields())
    for path in data.draw(st.lists(st.sampled_from(sorted(each_field())), min_size=1, max_size=3)):
        at = made
        names = path.split(".")
        try:
            for name in names[:-1]:
                at = at[0] if isinstance(at, list) else at[name]
            at[names[-1]] = data.draw(JSON)
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change took its place away
    found = parse(json.dumps(made).encode())
    if found is not None:
        use(found)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4))
def test_a_good_one_with_some_other_bytes(changes: list[tuple[int, int]]) -> None:
    payload = bytearray(GOOD)
    for at, byte in changes:
        payload[at] = byte
    found = parse(bytes(payload))
    if found is not None:
        use(found)


@given(st.text(max_size=30))
@example("1.2.3+4")
@example("1.2.3+\u00b2")
def test_a_version_is_read_or_refused(text: str) -> None:
    try:
        numbers = manifest.parse_version(text)
    except ManifestError as error:
        assert error.code == "BAD_MANIFEST"
    else:
        assert manifest.parse_version(manifest.version_text(numbers)) == numbers


@given(
    st.tuples(
        st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1)
    )
)
def test_versions_go_through_text(version: tuple[int, int, int, int]) -> None:
    assert manifest.parse_version(manifest.version_text(version)) == version


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**32 - 1))
def test_what_is_written_is_read(digest: bytes, seq: int) -> None:
    made = fields()
    made["seq"], made["image"]["sha256"] = seq, hexed(digest)
    found = parse(json.dumps(made).encode())
    assert found is not None and (found.seq, found.digest) == (seq, digest)
