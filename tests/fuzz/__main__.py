"""Reruns one input of the fuzzer, or a range: python -m tests.fuzz SEED NUMBER [COUNT]"""

from __future__ import annotations

import sys

from bootloader_verify import p256
from tests.fuzz import judge
from tests.fuzz.run import counted


def show(seed: int, number: int) -> None:
    made = judge.make(seed, number)
    print("kind    ", made.kind)
    print("from    ", made.original.name if made.original else "-")
    print("bytes   ", made.data.hex())
    if made.turn:
        print("then    ", made.later.hex())
        print("at read ", made.turn)
    print("verdict ", judge.judge(made))


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__)
        return 2
    numbers = [int(one) for one in arguments]
    if len(numbers) == 2:
        show(*numbers)
        return 0
    p256.verify = judge.verify_once
    for code, count in counted(
        numbers[0], range(numbers[1], numbers[1] + numbers[2])
    ).most_common():
        print(f"{count:9} {code}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
