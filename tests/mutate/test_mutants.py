"""The table fits the code, and the runner tells a mutant that was seen from one that was not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutate import mutants, runner
from tests.mutate.mutants import Mutant, Of

ROOT = Path(__file__).resolve().parent.parent.parent
_d = Of("bootloader_verify/decision.py", "tests/unit/test_decision.py")
SEEN = _d.off("seen", "T49", "if fits(slot) and (best is None or _counter(slot) > _counter(best)):")
UNSEEN = _d("unseen", "", '"""The table as text, one row a line."""', '"""Nobody reads this."""')
NO_NAME = _d("no-name", "", "return RECOVERY, None", "return RECOVERY_, None")
NO_IMPORT = _d("no-import", "", "TYPE_CHECKING = False", "import no_such_module")


def test_each_mutant_stands_once_in_its_file() -> None:
    assert mutants.problems(ROOT, mutants.everything()) == []
    assert len(mutants.everything()) >= 70


def test_a_table_that_does_not_fit_is_told() -> None:
    for old, new in (("no such text", ""), ("slot", ""), ("def decide(", "def decide((")):
        bent = _d("bent", "", old, new)
        assert len(mutants.problems(ROOT, [bent])) == 1
    assert mutants.problems(ROOT, [SEEN, SEEN]) == ["decision.seen: twice"]
    lost = _d("lost", "", "return RECOVERY, None", "return None", "tests/unit/no_such_test.py")
    assert mutants.problems(ROOT, [lost]) == ["decision.lost: no tests/unit/no_such_test.py"]


@pytest.fixture(scope="module")
def shops() -> Iterator[list[runner.Workshop]]:
    with runner.workshops(ROOT, 1) as made:
        yield made


@pytest.mark.parametrize(
    ("mutant", "verdict"),
    [
        (SEEN, runner.KILLED),
        (UNSEEN, runner.SURVIVED),
        (NO_NAME, runner.FAULTY),
        (NO_IMPORT, runner.FAULTY),
    ],
)
def test_verdicts(shops: list[runner.Workshop], mutant: Mutant, verdict: str) -> None:
    (result,) = runner.run(shops, [mutant])
    assert result.verdict == verdict, result
    copy = shops[0].root / mutant.file
    assert copy.read_text() == (ROOT / mutant.file).read_text()


def test_a_test_that_fails_without_a_mutant_is_told(shops: list[runner.Workshop]) -> None:
    assert runner.baseline(shops, [SEEN]) == ""
    broken = shops[0].root / SEEN.file
    whole = broken.read_text()
    broken.write_text(SEEN.applied_to(whole))
    assert "FAILED tests/unit/test_decision.py" in runner.baseline(shops, [SEEN])
    broken.write_text(whole)


def test_the_report_is_a_table() -> None:
    results = [
        runner.Result(SEEN, runner.KILLED, "test_decision::test_x"),
        runner.Result(UNSEEN, runner.SURVIVED, "nothing"),
    ]
    assert list(runner.table(results))[2:] == [
        "| T49 | `decision.seen` | test_decision::test_x |",
        "|  | `decision.unseen` | **SURVIVED** |",
    ]
