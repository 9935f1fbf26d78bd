"""The watchdog is fed only while everyone who matters gets on. Pure: counters in, a feed out.

A hang of one task starves the watchdog as surely as a hang of all: what counts as a sign of life is
work done, not that the scheduler still turns.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class Turns:
    """A coroutine that counts in `count` how often it was resumed. Give it to a task instead.

    `close` ends it where it stands: its `finally` parts run.
    """

    def __init__(self, coroutine: "Any") -> None:
        self._coroutine = coroutine
        self.count = 0

    def send(self, value: "Any") -> "Any":
        self.count += 1
        return self._coroutine.send(value)

    def throw(self, *error: "Any") -> "Any":
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> "Any":  # CPython takes what has this for a coroutine
        return self

    def __iter__(self) -> "Any":
        return self

    def __next__(self) -> "Any":
        return self.send(None)


class Keeper:
    """`look` now and then: it calls `feed` when every watched counter moved since it last did."""

    def __init__(self, feed: "Callable[[], None]") -> None:
        self._feed = feed
        self._watched: "dict[str, Callable[[], int]]" = {}
        self._seen: "dict[str, int]" = {}

    def watch(self, name: str, count: "Callable[[], int]") -> None:
        """From now on `count()` has to move."""
        self._watched[name] = count
        self._seen[name] = count()

    def forget(self, name: str) -> None:
        """`name` is not waited for any more."""
        self._watched.pop(name, None)
        self._seen.pop(name, None)

    def look(self) -> "list[str]":
        """Feed if all moved. The names of those who did not."""
        late = [name for name in self._watched if self._watched[name]() == self._seen[name]]
        if not late:
            for name in self._watched:
                self._seen[name] = self._watched[name]()
            self._feed()
        return sorted(late)
