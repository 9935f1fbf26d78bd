"""Who may draw how much of the common supply. Pure: no hardware, no clock.

This charger gives each connector its fixed part, whether the others are used or not.
"""

from charger.wiring import CONNECTOR_MAX_A, SUPPLY_A


class Sharing:
    """Amps per connector; their sum never exceeds the supply."""

    def __init__(self, connectors: int) -> None:
        self._part_a = min(CONNECTOR_MAX_A, SUPPLY_A // connectors)

    def update(self, wanting: "list[bool]", now_ms: int) -> "list[int]":
        """Offers in A for the connectors whose transaction runs (`wanting`), 0 for the others."""
        return [self._part_a if wants else 0 for wants in wanting]
