"""Who may draw how much of the common supply. Pure: no hardware, no clock.

The transactions that run share the supply evenly. An offer falls at once; it rises only when every
other car had the time of IEC 61851-1 to follow its lower offer.
"""

from charger.wiring import CONNECTOR_MAX_A, SUPPLY_A

FOLLOW_MS = 5000  # a car's time to follow the duty of the pilot


class Sharing:
    """Amps per connector; their sum never exceeds the supply, not even while cars still follow."""

    def __init__(self, connectors: int) -> None:
        self._offers = [0] * connectors
        self._lowered_ms = -FOLLOW_MS

    def update(self, wanting: "list[bool]", now_ms: int) -> "list[int]":
        """Offers in A for the connectors whose transaction runs (`wanting`), 0 for the others."""
        running = sum([1 for wants in wanting if wants])
        part_a = min(CONNECTOR_MAX_A, SUPPLY_A // running) if running else 0
        targets = [part_a if wants else 0 for wants in wanting]
        for i, target in enumerate(targets):
            if target < self._offers[i]:
                self._offers[i] = target
                self._lowered_ms = now_ms
        if now_ms - self._lowered_ms >= FOLLOW_MS:
            self._offers = targets
        return list(self._offers)
