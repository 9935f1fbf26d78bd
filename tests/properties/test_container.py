"""Any change to a container is refused, and nothing but VerifyError ever escapes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bootloader_verify import container, ladder
from bootloader_verify.errors import BAD_HASH, BAD_SIGNATURE, NOT_ERASED, VerifyError
from tests.unit import containers
from tests.vectors import make_unit_vectors, signing_DO_NOT_USE

PAYLOAD = bytes(range(16))
SLACK = b"\xff" * 64


@pytest.fixture(scope="module", autouse=True)
def live_signer() -> Iterator[None]:
    before, containers.signer = containers.signer, signing_DO_NOT_USE.sign
    yield
    containers.signer = before


def code_of(data: bytes) -> str:
    """Why `data` is refused, "" if it is not."""
    try:
        containers.check(data)
    except VerifyError as error:
        return error.code
    return ""


@pytest.mark.parametrize("name", ["release_1", "release_rsa"])
def test_every_single_bit(name: str) -> None:
    """Header, payload, TLV areas, signature, and the erased bytes behind."""
    data = containers.image([name], PAYLOAD) + SLACK
    assert not code_of(data)
    codes = set()
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            code = code_of(bytes(flipped))
            assert code, (at, bit)
            codes.add(code)
    assert {BAD_HASH, BAD_SIGNATURE, NOT_ERASED} <= codes


def test_every_single_bit_of_what_two_keys_must_sign() -> None:
    data = containers.image(["release_1", "release_2"], PAYLOAD)
    keys = containers.keyset(thresholds={"release": 2})
    containers.check(data, keys)
    area = len(containers.body(payload=PAYLOAD))
    for at in range(area, len(data), 3):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        with pytest.raises(VerifyError):
            containers.check(bytes(flipped), keys)


@pytest.mark.parametrize("name", ["release_1", "release_rsa"])
@pytest.mark.parametrize("slack", [b"", SLACK])
def test_every_truncation(name: str, slack: bytes) -> None:
    data = containers.image([name], PAYLOAD)
    for size in range(len(data)):
        assert code_of(data[:size] + slack), size


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_mutated_container_is_refused_or_the_same_image(data: st.DataObject) -> None:
    good = containers.image(["release_1", "stranger"], PAYLOAD)
    signed = len(containers.body(payload=PAYLOAD))
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(bad)))
        cut = data.draw(st.integers(0, 4))
        bad[at : at + cut] = data.draw(st.binary(max_size=4))
    if not code_of(bytes(bad)):
        assert bad[:signed] == good[:signed]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_behind_a_good_header(tail: bytes, size: int) -> None:
    """The walk reads inside of `size` only and raises nothing but VerifyError."""
    head = containers.header(16, 40)
    data = (head + PAYLOAD + tail)[:size]
    assert code_of(data)


@given(st.binary(max_size=80))
@example(b"")
def test_any_bytes_at_all(data: bytes) -> None:
    assert code_of(data)


U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)


@given(U16, U16, U32, st.integers(0, 1 << 20))
def test_bounds_never_wrap(hdr_size: int, protect: int, img_size: int, size: int) -> None:
    """What passes rung 2 really fits."""
    fields = (container.MAGIC, 0, hdr_size, protect, img_size, 0, 0, 0, 0, 0, 0)
    header = container.Header(fields)
    try:
        container.check_bounds(header, size)
    except VerifyError:
        return
    assert img_size > 0 and hdr_size + img_size + protect + 4 <= size


entries = st.lists(
    st.tuples(
        st.sampled_from([*container.PROTECTED_LENGTHS, 0, 0x10, 0xA4]), st.binary(max_size=70)
    ),
    max_size=8,
)


@settings(deadline=None)
@given(entries, st.binary(max_size=3))
def test_any_protected_entries_under_a_good_signature(
    listed: list[tuple[int, bytes]], stray: bytes
) -> None:
    """The walk and the ladder agree: a type of the profile once, at its length, nothing over."""
    raw = [containers.tlv(kind, value) for kind, value in listed]
    data = containers.seal(containers.body([*raw, stray], PAYLOAD))
    kinds = [kind for kind, _ in listed]
    lengths = container.PROTECTED_LENGTHS
    fine = not stray and len(set(kinds)) == len(kinds)
    fine = fine and all(
        k in lengths and lengths[k][0] <= len(v) <= lengths[k][1] for k, v in listed
    )
    header = container.parse_header(data)
    if fine:
        found = container.walk(containers.reader(data), header, len(data))
        assert found.protected == dict(listed)
        assert found.end == len(data)
    else:
        with pytest.raises(VerifyError):
            container.walk(containers.reader(data), header, len(data))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4000), st.sampled_from([32, 33, 512, 4096]), st.integers(0, 3000))
def test_images_of_any_size_climb(size: int, hdr_size: int, slack: int) -> None:
    """Also across the steps of the ladder's buffer."""
    payload = bytes(i & 0xFF for i in range(size))
    data = containers.image(payload=payload, bent={"hdr_size": hdr_size}) + b"\xff" * slack
    found = containers.check(data)
    assert (found.payload_offset, found.payload_size) == (hdr_size, size)
    ladder.recheck(containers.reader(data), found)


def test_the_unit_vectors_are_what_the_script_makes() -> None:
    made = make_unit_vectors.text(make_unit_vectors.record())
    assert made == make_unit_vectors.TARGET.read_text()
