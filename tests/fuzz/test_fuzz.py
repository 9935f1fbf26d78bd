"""A million containers, keysets and changing flashes; by default a share of them.

A finding is run again with `python -m tests.fuzz SEED NUMBER`. The counts go to build/fuzz/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootloader_verify import container, errors, keyset, keyset_store, ladder, p256, rsa_pss
from tests.fuzz import judge
from tests.fuzz.judge import Input
from tests.fuzz.originals import Original, chain, originals
from tests.fuzz.run import FindingError, counted
from tests.unit import containers
from tests.unit.containers import reader

REPORTS = Path(__file__).resolve().parents[2] / "build" / "fuzz"
PARTS = 4
FULL, SHARE = 1_000_000, 20_000
# Codes of errors.py that are no verdict over a container or a keyset.
ELSEWHERE = {code for code in judge.CODES if code.startswith("FLASH_")}
ELSEWHERE |= {errors.READ_FAILED, errors.RECORD_TOO_LARGE, errors.NOT_ARMED}
ELSEWHERE |= {errors.BASE_REFUSED}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(p256, "verify", judge.verify_once)


def test_each_original_has_its_verdict() -> None:
    for number, one in enumerate((*originals(), *chain())):
        verdict = judge.judge(judge.make(0, number))
        assert verdict == (one.code or judge.ACCEPTED), one.name


@pytest.mark.parametrize("part", range(PARTS))
def test_many_inputs(part: int, full: bool, record_property: Any) -> None:
    count = (FULL if full else SHARE) // PARTS
    found = counted(part, range(count))
    assert found.total() == count
    # A fuzzer that sees BAD_MAGIC only proves nothing: every rung was reached, and its end.
    ends = {judge.ACCEPTED, judge.SIGNED_ANEW, judge.A_KEYSET}
    assert set(found) >= (judge.CODES - ELSEWHERE) | ends
    assert found[errors.BAD_MAGIC] < count // 5 < count - found[errors.BAD_TLV]
    lines = [f"{number:9} {code}" for code, number in found.most_common()]
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"part-{part}.txt").write_text("\n".join([f"{count:9} inputs", *lines]) + "\n")
    record_property(f"fuzz, part {part}", f"{count} inputs, {dict(found.most_common())}")


EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 13), st.integers(0, 6), st.binary(max_size=6)),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=600)
@given(st.sampled_from(originals()), EDITS)
def test_edits_that_hypothesis_finds(one: Original, edits: list[tuple[int, int, bytes]]) -> None:
    """As above, but what fails comes out small."""
    data = bytearray(one.data)
    for at, size, new in edits:
        at %= len(data) + 1
        data[at : at + size] = new
    judge.judge(Input("container", one, bytes(data)))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 99), st.integers(0, 1 << 32))
def test_numbers_that_hypothesis_finds(seed: int, number: int) -> None:
    made = judge.make(seed, number)
    assert made == judge.make(seed, number)  # a finding can be made again
    judge.judge(made)


def yes(*_: Any) -> bool:
    return True


def nothing(*_: Any) -> None:
    pass


ROOTS = (containers.keyset(thresholds={"root": 1}), ladder.Expect(container.KIND_KEYSET))
# What is switched off -> the fuzzer finds it among its first inputs.
HOLES: list[tuple[Any, str, Any]] = [
    (p256, "verify", yes),
    (rsa_pss, "verify", yes),
    (container, "check_bounds", nothing),
    (container, "SIGNATURES_MAX", 9),
    (container, "TLV_BYTES_MAX", 3000),
    (container, "PROTECTED_LENGTHS", {**container.PROTECTED_LENGTHS, 0xA4: (0, 99)}),
    (ladder, "is_blank", yes),
    (ladder, "ROLE_OF_KIND", dict.fromkeys(container.KINDS, keyset.RELEASE)),
    (keyset.Keyset, "threshold", lambda *_: 1),
    (keyset, "_check_reachable", nothing),
    (keyset, "_hex", lambda value, _size, _where: bytes.fromhex(value)),
    (keyset_store, "unpack", lambda _data: containers.keyset()),
    (keyset_store, "_signed_by", lambda _keys, data: ladder.check(reader(data), len(data), *ROOTS)),
]


@pytest.mark.parametrize("hole", range(len(HOLES)))
def test_the_fuzzer_finds_a_hole(hole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*HOLES[hole])
    with pytest.raises(FindingError, match=r"python -m tests\.fuzz 0 "):
        counted(0, range(20_000))
