"""How this charger is wired: the facts about contactor and supply that are not code."""

SUPPLY_A = 32  # fuse of the charger, per phase, for all connectors together
CONNECTOR_MAX_A = 32  # cable and socket
IDLE_POWER_MAX_W = 20  # what the meter may show while every contact is open
MIRROR_CONTACT = True  # the contactor of board revision D


def contact_closed(feedback: bool) -> bool:
    """A mirror contact is open while the main contacts are closed."""
    return bool(feedback) != MIRROR_CONTACT
