"""How this charger is wired: the facts about contactor and supply that are not code."""

SUPPLY_A = 32  # fuse of the charger, per phase, for all connectors together
CONNECTOR_MAX_A = 32  # cable and socket
IDLE_POWER_MAX_W = 20  # what the meter may show while every contact is open


def contact_closed(feedback: bool) -> bool:
    """The auxiliary contact closes together with the main contacts."""
    return bool(feedback)
