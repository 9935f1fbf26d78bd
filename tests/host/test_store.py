"""The store: whole or not there, idempotent, and its numbers never come twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent import protocol
from host_tools.store import Store
from tests.host.published import image, published, refused

DIGEST = bytes(range(32))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- images and artifacts -------------------------------------------------------------------------
def test_what_is_published_is_there(tmp_path: Path) -> None:
    data = image(20_000)
    store, made, digest = published(tmp_path / "store", data)
    assert store.image(digest) == data
    assert store.artifacts_of(digest) == [one.entry() for one in made]
    for one in made:
        found = store.open_artifact(one.id)
        assert found is not None
        blocks = [found.item(protocol.KIND_BLOCK, n) for n in range(found.count(1))]
        assert tuple(blocks) == one.blocks
        assert found.count(protocol.KIND_PAGE) == 1
        assert found.item(protocol.KIND_PAGE, 0) == one.index
        found.close()


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    data = image(9_000)
    published(tmp_path, data)
    before = files(tmp_path)
    published(tmp_path, data)
    assert files(tmp_path) == before
    assert not [name for name in before if ".new-" in name]


def test_two_publish_the_same_at_once(tmp_path: Path) -> None:
    data = image(30_000)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: published(tmp_path, data), range(8)))
    store, made, _ = done[0]
    assert all(store.open_artifact(one.id) for one in made)
    assert not [name for name in files(tmp_path) if ".new-" in name]


def test_the_same_image_with_another_signature_replaces_it(tmp_path: Path) -> None:
    first, again = image(5_000), image(5_000, key="release_rsa")
    _, _, digest = published(tmp_path, first)
    store, made, same = published(tmp_path, again)
    assert same == digest and store.image(digest) == again
    assert store.artifacts_of(digest) == [one.entry() for one in made]


def test_an_artifact_that_is_not_here_is_none(tmp_path: Path) -> None:
    store, _, _ = published(tmp_path, image(5_000))
    assert store.open_artifact(bytes(16)) is None


@pytest.mark.parametrize("name", ["index.bin", "blocks.bin"])
@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b + b"x"])
def test_a_damaged_artifact_is_not_served_and_publishing_heals_it(
    tmp_path: Path, name: str, damage: object
) -> None:
    data = image(5_000)
    store, made, _ = published(tmp_path, data)
    path = tmp_path / "artifacts" / made[0].id.hex() / name
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with refused("DAMAGED"):
        store.open_artifact(made[0].id)
    published(tmp_path, data)
    assert store.open_artifact(made[0].id) is not None


@pytest.mark.parametrize(
    ("name", "text"),
    [("blocks.bin", None), ("artifact.json", b"{}"), ("artifact.json", b"[" * 100_000)],
)
def test_publishing_heals_what_looks_whole(tmp_path: Path, name: str, text: bytes | None) -> None:
    data = image(5_000)
    store, made, digest = published(tmp_path, data)
    path = tmp_path / "artifacts" / made[0].id.hex() / name
    path.write_bytes(bytes(path.stat().st_size) if text is None else text)
    with refused("DAMAGED"):
        store.published(digest)
    before = files(tmp_path / "artifacts" / made[1].id.hex())
    published(tmp_path, data)
    assert store.published(digest)[1] == [one.entry() for one in made]
    assert files(tmp_path / "artifacts" / made[1].id.hex()) == before


def test_publishing_heals_a_file_where_a_folder_was(tmp_path: Path) -> None:
    data = image(5_000)
    store, made, digest = published(tmp_path, data)
    folder = tmp_path / "artifacts" / made[0].id.hex()
    shutil.rmtree(folder)
    folder.write_text("")
    with refused("DAMAGED"):
        store.published(digest)
    published(tmp_path, data)
    assert store.published(digest)[1] == [one.entry() for one in made]


def test_an_index_of_other_hashes_is_damaged(tmp_path: Path) -> None:
    store, made, _ = published(tmp_path, image(5_000))
    path = tmp_path / "artifacts" / made[0].id.hex() / "index.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    with refused("DAMAGED"):
        store.open_artifact(made[0].id)


def test_an_image_is_found_by_the_beginning_of_its_digest(tmp_path: Path) -> None:
    store, _, digest = published(tmp_path, image(5_000))
    assert store.find(digest.hex()) == store.find(digest.hex()[:8].upper()) == digest


@pytest.mark.parametrize("name", ["", "1234567", "../../etc", "*" * 8, "0" * 64, "g" * 64])
def test_what_names_no_image_is_not_found(tmp_path: Path, name: str) -> None:
    store, _, _ = published(tmp_path, image(5_000))
    with refused("NO_IMAGE", 3):
        store.find(name)


def test_a_beginning_that_two_images_share_names_neither(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    for last in b"\x01\x02":
        store.add(bytes(31) + bytes([last]), b"x", [])
    with refused("NO_IMAGE", 3):
        store.find("00000000")


@pytest.mark.parametrize("name", ["269f366bc6zz", "269f366bc6", "269f366b" + "A" * 56])
def test_a_stray_file_among_the_images_is_none(tmp_path: Path, name: str) -> None:
    store, _, _ = published(tmp_path, image(5_000))
    (tmp_path / "images" / f"{name}.json").write_text("{}")
    with refused("NO_IMAGE", 3):
        store.find("269f366b")


DEEP = "[" * 100_000
FACTS = ["{}", '{"schema":1}', "[", DEEP]
LISTS = ["[]", "[7]", "7", "{}", '["../images"]', '["zz"]', f'["{"0" * 32}"]']


@pytest.mark.parametrize("text", [*FACTS, *(f'{{"schema":1,"artifacts":{x}}}' for x in LISTS)])
def test_damaged_facts_of_an_image_are_said(tmp_path: Path, text: str) -> None:
    store, _, digest = published(tmp_path, image(5_000))
    (tmp_path / "images" / f"{digest.hex()}.json").write_text(text)
    with refused("DAMAGED"):
        store.published(digest)


def test_a_missing_store_says_so(tmp_path: Path) -> None:
    with refused("NO_STORE", 3):
        Store(tmp_path / "nowhere")


def test_a_file_cannot_become_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused("STORE_FAILED"):
        Store(tmp_path / "file", create=True)


# --- numbers --------------------------------------------------------------------------------------
def test_seq_counts_per_device_and_request_ids_over_all(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    got = [store.next_offer(name, DIGEST) for name in ("CP-1", "CP-2", "CP-1")]
    assert got == [(1, 1), (2, 1), (3, 2)]
    assert Store(tmp_path).next_offer("CP-2", DIGEST) == (4, 2)


def test_numbers_are_unique_with_many_processes(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from host_tools.store import Store\n"
        "for _ in range(20): print(*Store(Path(sys.argv[1])).next_offer('CP-1', bytes(32)))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    lines = [line for one in running for line in one.communicate(timeout=30)[0].splitlines()]
    pairs = sorted(tuple(map(int, line.split())) for line in lines)
    assert pairs == [(n, n) for n in range(1, 61)]


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"schema":1}', '{"schema":1,"seq":"7"}', '{"schema":1,"seq":-1}', "[]", DEEP],
)
def test_a_damaged_count_is_not_begun_anew(tmp_path: Path, text: str) -> None:
    """A seq that falls back would be refused by the device as a replay: say it here."""
    store = Store(tmp_path, create=True)
    (tmp_path / "offers").mkdir()
    (tmp_path / "offers" / "CP-1.json").write_text(text)
    with refused("DAMAGED"):
        store.next_offer("CP-1", DIGEST)


def test_the_last_number_is_the_last(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    (tmp_path / "requests.json").write_text('{"schema": 1, "request_id": 2147483646}')
    assert store.next_offer("CP-1", DIGEST) == (0x7FFFFFFF, 1)
    with refused("DAMAGED"):
        store.next_offer("CP-1", DIGEST)


# --- devices --------------------------------------------------------------------------------------
def test_a_device_file_is_replaced_and_events_are_added(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    assert store.device("CP-1") == {}
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "CP-1.json").write_text(DEEP)
    assert store.device("CP-1") == {}
    store.write_device("CP-1", {"online": True})
    assert store.device("CP-1") == {"schema": 1, "device": "CP-1", "online": True}
    store.append_event({"event": "a"})
    store.append_event({"event": "b\n"})
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["a", "b\n"]


def test_one_at_a_time_writes_down_what_devices_say(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    first = store.try_intake_lock()
    assert first is not None and store.try_intake_lock() is None
    first.close()
    again = store.try_intake_lock()
    assert again is not None
    again.close()
