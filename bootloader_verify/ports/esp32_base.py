"""Which base firmware of the ESP32 runs and which boots next: two OTA partitions and otadata.

The base firmware is MicroPython with agent and boot stage frozen in. The second-stage bootloader
gives a base that set_boot() chose one attempt: new -> pending at its first boot -> aborted at the
next one, unless confirm() came between.

Traps of the chip, seen in ESP-IDF's source (esp_ota_ops.c, bootloader_utility.c):
- `mark_app_valid_cancel_rollback()` marks the entry that otadata goes by, not the running app:
  right after set_boot() that is the untried one. So nothing is confirmed unless it runs.
- set_boot() erases the other entry. While a base is on trial that is the entry of the base to fall
  back to; a cut then leaves both entries invalid, and the bootloader takes slot 0 for ever. So
  otadata is not touched during a trial; a reset is the way back.
- If the chosen base does not load, the bootloader runs any other partition of a sound structure
  and leaves otadata as it is. So an image gets its first block only after it was verified, and a
  base that runs against otadata is put right by keep() before anything else.
"""

from bootloader_verify.errors import (
    BASE_REFUSED,
    FLASH_FAILED,
    FLASH_UNSUPPORTED,
    NOT_ARMED,
    FlashError,
)
from bootloader_verify.ports import otadata
from bootloader_verify.ports.esp32 import Area, asked, partition_class, partitions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

SLOTS = 2
_SUBTYPE_OTA_0 = 0x10
_SUBTYPE_OTADATA = 0x00
_GOOD = (otadata.VALID, otadata.UNDEFINED)


class BaseState:
    """Slots are numbers, 0 and 1.

    running: the one whose code this is. selected: the one that otadata names, None if it names
    none (the bootloader then tries 0, then 1). states: what otadata says of each, None if nothing.
    """

    def __init__(self, running: int, entries: "list[otadata.Entry]") -> None:
        chosen = otadata.active(entries)
        self.running = running
        self.selected: "Optional[int]" = chosen.slot(SLOTS) if chosen else None
        self.states = [otadata.state_of(entries, slot, SLOTS) for slot in range(SLOTS)]
        if chosen:  # of two entries of one slot, this one counts
            self.states[chosen.slot(SLOTS)] = chosen.state

    @property
    def settled(self) -> bool:
        """The running base is the one that boots again, whatever happens: an update may begin."""
        return self.selected == self.running and self.states[self.running] in _GOOD

    @property
    def on_trial(self) -> bool:
        """The running base has its one attempt: confirm() it, or reset to go back."""
        return self.selected == self.running and self.states[self.running] == otadata.PENDING

    def __str__(self) -> str:
        words = [otadata.name(state) for state in self.states]
        return "runs {}, boots {}, {}".format(self.running, self.selected, "/".join(words))


class Bases:
    """The chip's two base slots."""

    def __init__(self) -> None:
        found = [Area(one) for one in partitions(data=False)]
        found = [one for one in found if one.subtype & 0xF0 == _SUBTYPE_OTA_0]
        self.slots = sorted(found, key=lambda one: one.subtype)
        places = partitions(data=True, subtype=_SUBTYPE_OTADATA)
        chip = partition_class()
        label = asked(chip, chip.RUNNING).info()[4]
        labels = [one.label for one in self.slots]
        if len(labels) != SLOTS or not places or label not in labels:
            detail = "runs from {}, OTA slots {}: flash the board's partition table"
            raise FlashError(FLASH_UNSUPPORTED, detail.format(label, labels))
        self.running = labels.index(label)
        self.spare = 1 - self.running
        self._otadata = Area(places[0])

    def state(self) -> BaseState:
        """What runs and what boots, read anew."""
        return BaseState(self.running, self._entries())

    def _entries(self) -> "list[otadata.Entry]":
        buf = bytearray(otadata.ENTRY_BYTES)
        entries = []
        for sector in range(2):
            self._otadata.read(sector * otadata.SECTOR_BYTES, buf)
            entries.append(otadata.Entry(buf))
        return entries

    def require_settled(self) -> None:
        """FlashError BASE_REFUSED unless the running base is confirmed and boots again."""
        state = self.state()
        if not state.settled:
            raise FlashError(BASE_REFUSED, "confirm or restart first: {}".format(state))

    def forget_spare(self) -> None:
        """Before the spare slot changes: what otadata says of it is true no more (see go_back)."""
        self.require_settled()
        entries = self._entries()
        chosen = otadata.active(entries)
        for sector in range(2):
            if entries[sector] is not chosen and not entries[sector].erased:
                self._otadata.erase_sector(sector)

    def confirm(self) -> None:
        """The running base is healthy: no rollback any more. Writes nothing if that is so already.

        FlashError NOT_ARMED if another base is the one that boots.
        """
        state = self.state()
        if state.settled:
            return
        if state.selected != self.running:
            raise FlashError(NOT_ARMED, "another base boots: {}".format(state))
        self._mark_valid(self.running)

    def keep(self) -> None:
        """Let the running base boot again, where otadata names another one or none.

        An untried one loses its first block before: until the new entry stands, a cut must not
        bring it up without an entry to fall back to.
        """
        state = self.state()
        if state.selected == self.running:
            if not state.settled:
                raise FlashError(NOT_ARMED, "on trial, confirm it: {}".format(state))
            return
        if state.selected is not None and state.states[state.selected] not in _GOOD:
            self.slots[state.selected].erase_sector(0)
        self._select(self.running)

    def go_back(self) -> None:
        """Let the other base boot again, for good; the caller resets.

        Only one that was confirmed here and was not written over since: otadata says so, and
        forget_spare() keeps that true. During a trial nothing is written, the reset alone goes
        back. BASE_REFUSED: there is none; FLASH_FAILED: the chip finds it damaged.
        """
        state = self.state()
        if state.on_trial:
            return
        if not state.settled or state.states[self.spare] not in _GOOD:
            raise FlashError(BASE_REFUSED, "no way back: {}".format(state))
        self._select(self.spare)

    def set_boot(self, slot: int) -> None:
        """Choose a slot for its trial. The chip checks the image's structure and its own SHA."""
        asked(self.slots[slot].partition.set_boot)
        if self.state().selected != slot:
            raise FlashError(FLASH_FAILED, "not selected: {}".format(self.state()))

    def _select(self, slot: int) -> None:
        """Choose a slot that has run before. set_boot() makes it new: it would get a trial."""
        self.set_boot(slot)
        self._mark_valid(slot)

    def _mark_valid(self, slot: int) -> None:
        asked(partition_class().mark_app_valid_cancel_rollback)
        state = self.state()
        if state.selected != slot or state.states[slot] not in _GOOD:
            raise FlashError(FLASH_FAILED, "not marked: {}".format(state))
