"""What we sign is what the device's own parser takes, field by field."""

from __future__ import annotations

import pytest

from agent import manifest as device_side
from agent import protocol
from host_tools import artifact, manifest
from host_tools.errors import ToolError
from host_tools.manifest import Policy
from tests.host.published import image, refused
from tests.unit import containers

DATA = image(20_000, epoch=3, revisions=b"A,B")
IMAGE = manifest.read_image(DATA)
ARTIFACTS = [artifact.make(DATA, name).entry() for name in artifact.ENCODINGS]


def of_size(size: int) -> list[dict[str, object]]:
    """Artifact entries of an image of that size: only their shape counts."""
    blocks = -(-size // 4096)
    hashes = ["0" * 64] * protocol.page_count(blocks)
    shape = {"base": None, "block_size": 4096, "blocks": blocks, "index_sha256": hashes}
    return [{"encoding": name, **shape, "bytes": size} for name in artifact.ENCODINGS]


def test_the_limits_are_those_of_the_device() -> None:
    assert manifest.PAYLOAD_BYTES_MAX == device_side.PAYLOAD_BYTES_MAX
    assert manifest.CONTAINER_BYTES_MAX == device_side.CONTAINER_BYTES_MAX
    assert manifest.ARTIFACTS_MAX == device_side.ARTIFACTS_MAX
    assert manifest.REVISIONS_MAX == device_side.REVISIONS_MAX


def test_facts_come_from_the_container() -> None:
    assert IMAGE.digest == containers.check(DATA).digest
    assert (IMAGE.size, IMAGE.version, IMAGE.epoch) == (len(DATA), "1.2.3+4", 3)
    assert (IMAGE.vid, IMAGE.cid) == (containers.VID, containers.CID)
    assert IMAGE.revisions == ("A", "B")
    assert manifest.read_image(image()).revisions == ()


def test_the_device_reads_what_was_meant() -> None:
    policy = Policy(2, 30, True, True, 1000, 2000)
    found = device_side.parse(manifest.build(7, 99, "CP-0001", IMAGE, ARTIFACTS, policy))
    assert (found.seq, found.request_id, found.device) == (7, 99, "CP-0001")
    assert (found.digest, found.size, found.version) == (IMAGE.digest, len(DATA), (1, 2, 3, 4))
    assert (found.epoch, found.vid, found.cid) == (3, containers.VID, containers.CID)
    assert found.revisions == ["A", "B"]
    assert [one.encoding for one in found.artifacts] == ["deflate", "raw"]
    assert [one.id for one in found.artifacts] == [
        artifact.make(DATA, name).id for name in artifact.ENCODINGS
    ]
    assert vars(found.policy) == {
        "attempts": 2,
        "confirm_s": 30,
        "require_unplugged": True,
        "allow_downgrade": True,
        "not_before": 0,
        "deadline_s": 1000,
        "max_deferral_s": 2000,
        "window": None,
    }


def test_the_usual_policy_is_the_device_s_own() -> None:
    assert Policy().fields() == device_side.DEFAULT_POLICY


def test_the_device_installs_it() -> None:
    found = device_side.parse(manifest.build(1, 1, "CP-0001", IMAGE, ARTIFACTS, Policy()))
    device = device_side.Device(["CP-0001"], containers.VID, containers.CID, "A", 10**6, 4096)
    device_side.judge(found, device)
    assert device_side.usable(found, device)[0].encoding == "deflate"


def test_the_largest_numbers_and_names_are_taken() -> None:
    policy = Policy(3, 86400, True, True, 366 * 86400, 366 * 86400)
    payload = manifest.build(2**32 - 1, 2**31 - 1, "x" * 64, IMAGE, ARTIFACTS, policy)
    assert device_side.parse(payload).seq == 2**32 - 1


# --- how much fits ----------------------------------------------------------------------------------
def sized(size: int) -> manifest.Image:
    """An image of that size with numbers as large as they get."""
    top = "255.255.65535+4294967295"
    return manifest.Image(bytes(32), size, top, 2**32 - 1, bytes(16), bytes(16), (), ())


LONGEST = Policy(3, 86400, False, False, 366 * 86400, 366 * 86400)


@pytest.mark.parametrize(
    ("size", "fits"), [(2_752_512, ["deflate", "raw"]), (5_849_088, ["deflate"])]
)
def test_what_the_docstring_says_fits(size: int, fits: list[str]) -> None:
    assert f"{size:,}" in (manifest.__doc__ or "")
    found = manifest.fitting(sized(size), of_size(size), LONGEST)
    assert [entry["encoding"] for entry in found] == fits
    payload = manifest.build(2**32 - 1, 2**31 - 1, "x" * 64, sized(size), found, LONGEST)
    assert device_side.parse(payload).size == size


def test_the_raw_artifact_is_the_one_that_is_left_out() -> None:
    size = 2_867_201
    found = manifest.fitting(sized(size), of_size(size), Policy())
    assert [entry["encoding"] for entry in found] == ["deflate"]
    both = manifest.build(2**32 - 1, 2**31 - 1, "x" * 64, sized(size), of_size(size), Policy())
    with pytest.raises(device_side.ManifestError):
        device_side.parse(both)


def test_an_image_with_too_many_blocks_says_how_much_fits() -> None:
    size = 5_849_089
    with refused("TOO_LARGE") as caught:
        manifest.fitting(sized(size), of_size(size), Policy())
    assert "5849088" in str(caught.value)


# --- what is no image -------------------------------------------------------------------------------
def test_bytes_that_changed_are_no_image() -> None:
    with refused("BAD_HASH"):
        manifest.read_image(DATA[:600] + b"\x00" + DATA[601:])


@pytest.mark.parametrize("size", [0, 1, 31, 32, 512, len(DATA) - 1])
def test_a_cut_file_is_no_image(size: int) -> None:
    with pytest.raises(ToolError) as caught:
        manifest.read_image(DATA[:size])
    assert caught.value.exit_code == 4


def test_a_container_of_another_kind_is_no_image() -> None:
    entries = containers.protected_entries(2, None, None, None)
    with refused("WRONG_KIND"):
        manifest.read_image(containers.seal(containers.body(entries), pairs=[]))


@pytest.mark.parametrize("missing", ["epoch", "vid", "cid"])
def test_an_image_without_a_claim_is_refused(missing: str) -> None:
    entries = containers.protected_entries(**{missing: None})
    with refused("WRONG_HW"):
        manifest.read_image(containers.seal(containers.body(entries), pairs=[]))


@pytest.mark.parametrize("listed", [b"A,B,C,D,E,F,G,H,I", b"A,,B", b"A B", b"\xff", b".A"])
def test_revisions_that_no_device_reads_are_refused_here(listed: bytes) -> None:
    entries = containers.protected_entries(revisions=listed)
    with refused("WRONG_HW"):
        manifest.read_image(containers.seal(containers.body(entries), pairs=[]))
