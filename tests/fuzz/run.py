"""Many inputs of the fuzzer, counted by their verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.fuzz import judge


class FindingError(AssertionError):
    """Says how to run the input again."""


def counted(seed: int, numbers: Iterable[int]) -> Counter[str]:
    """Verdict -> how many; FindingError for the first input that breaks a rule."""
    found: Counter[str] = Counter()
    for number in numbers:
        try:
            found[judge.judge(judge.make(seed, number))] += 1
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise FindingError(f"{why}\npython -m tests.fuzz {seed} {number}") from error
    return found
