"""Mutants of the ports for chips: what they refuse because the chip would not."""

from __future__ import annotations

from tests.mutate.mutants import Of

_m = Of(
    "bootloader_verify/ports/stm32.py",
    "tests/unit/test_port_stm32.py",
    "tests/unit/test_port_stm32_open.py",
    "tests/power/test_stm32_port.py",
)
_e = Of("bootloader_verify/ports/esp32.py", "tests/unit/test_port_esp32.py")
_BASES = (
    "tests/unit/test_esp32_base.py",
    "tests/unit/test_esp32_ota.py",
    "tests/power/test_esp32_ota.py",
)
_b = Of("bootloader_verify/ports/esp32_base.py", *_BASES)
_o = Of("bootloader_verify/ports/esp32_ota.py", *_BASES)
_d = Of("bootloader_verify/ports/otadata.py", *_BASES)

MUTANTS = [
    # --- stm32.py: at open ---
    _m.off("parts", "the part is there", "if not 0 <= self._part < parts:"),
    _m.off("part-size", "the map fits into the part", "if len(view) < self.size_bytes:"),
    _m.off("ranged-erase", "no erase on a firmware without ranges", "if smallest <= 0:"),
    _m.off("smallest-erase", "whole sectors of the chip", "if self.erase_bytes % smallest:"),
    _m.off("sector-start", "the part begins at a sector", "if self._base % self.erase_bytes:"),
    _m(
        "write-step",
        "whole flash words of the chip",
        "if not step or self.write_bytes % step or _STEP_BYTES % self.write_bytes:",
        "if not step or _STEP_BYTES % self.write_bytes:",
    ),
    _m.off(
        "internal",
        "internal flash only where the board says so",
        "if internal and not internal_allowed:",
    ),
    # --- stm32.py: the contract ---
    _m.off(
        "erase-align", "whole sectors", "if offset % self.erase_bytes or size % self.erase_bytes:"
    ),
    _m.off(
        "erase-readback",
        "T45 an erase is looked at",
        "if not self._is_blank(start, self.erase_bytes):",
    ),
    _m.off(
        "program-align",
        "whole write units: the rest would be dropped",
        "if offset % self.write_bytes or len(data) % self.write_bytes:",
    ),
    _m.off(
        "rewrite", "I6 no unit is programmed twice", "if not self._is_blank(offset, len(data)):"
    ),
    _m.off(
        "read-back",
        "T45 what was programmed is compared",
        "if self._map[offset : offset + len(step)] != step:",
    ),
    _m(
        "own-ram",
        "programmed out of aligned RAM",
        "offset, step)\n        self._forget",
        "offset, part)\n        self._forget",
    ),
    _m(
        "cache",
        "the cache forgets what was programmed",
        "        self._forget(offset, len(step))\n",
        "",
    ),
    _m(
        "cache-erase",
        "the cache forgets what was erased",
        "            self._forget(start, self.erase_bytes)\n",
        "",
    ),
    _m.off("errno", "a negative answer is an error", "if isinstance(answer, int) and answer < 0:"),
    _m.off(
        "bounds",
        "nothing outside of the map",
        "if offset < 0 or size < 0 or offset + size > self.size_bytes:",
    ),
    # --- esp32.py ---
    _e.off("no-partition", "the partition is there", "if not found:"),
    _e.off("encrypted", "an encrypted partition never reads erased", "if area.encrypted:"),
    _e.off(
        "geometry",
        "sectors of 4096 bytes, erased to 0xFF",
        "if board.ERASE % SECTOR_BYTES or board.ERASED != 0xFF:",
    ),
    _e.off(
        "area-size", "the map fits into the partition", "if area.size_bytes < board.FLASH_SIZE:"
    ),
    _e.off("mapping", "the mapping is that of the partition", "if len(view) != area.size_bytes:"),
    _e.off("no-mapping", "a mapping that is a number", "if isinstance(part, int):"),
    _e.off("erase-answer", "a negative answer of ioctl is an error", "if answer:"),
    _e.off(
        "erase-align", "whole sectors", "if offset % self.erase_bytes or size % self.erase_bytes:"
    ),
    _e.off(
        "program-align",
        "whole write units",
        "if offset % self.write_bytes or len(data) % self.write_bytes:",
    ),
    _e(
        "rewrite",
        "I6 the chip would AND the bits",
        "        self._refuse_rewrite(offset, len(data))\n",
        "",
    ),
    _e(
        "rewrite-all",
        "I6 every unit is looked at",
        "for start in range(0, size, _STEP):",
        "for start in range(0, min(size, _STEP), _STEP):",
    ),
    _e(
        "no-own-erase",
        "programming erases nothing",
        "asked(self.partition.writeblocks, 0, data, offset)",
        "asked(self.partition.writeblocks, offset // SECTOR_BYTES, data)",
    ),
    # --- esp32_base.py, esp32_ota.py, otadata.py ---
    _b(
        "settled",
        "an update begins from a confirmed base",
        'raise FlashError(BASE_REFUSED, "confirm or restart first: {}".format(state))',
        "pass",
    ),
    _b.off(
        "go-back",
        "back only to what was confirmed here",
        "if not state.settled or state.states[self.spare] not in _GOOD:",
    ),
    _b.off("go-back-trial", "nothing is written during a trial", "if state.on_trial:"),
    _b.off(
        "confirm-other", "only the running base is confirmed", "if state.selected != self.running:"
    ),
    _b.off("selected", "what was chosen is read back", "if self.state().selected != slot:"),
    _b.off(
        "marked",
        "what was confirmed is read back",
        "if state.selected != slot or state.states[slot] not in _GOOD:",
    ),
    _b.off(
        "untried-first-block",
        "an untried base loses its first block first",
        "if state.selected is not None and state.states[state.selected] not in _GOOD:",
    ),
    _o.off("magic", "a base begins with 0xE9", "if first[0] != _MAGIC:"),
    _o.off("chip", "a base is for this chip", "if found != chip_id:"),
    _o.off(
        "merged",
        "a merged firmware.bin is no base",
        'if struct.unpack_from("<I", first, _DESCRIPTION_OFFSET)[0] != _DESCRIPTION_MAGIC:',
    ),
    _o.off("own-hash", "a base has its own SHA-256", "if first[_HASH_FLAG_OFFSET] != 1:"),
    _o(
        "room",
        "a base fits into its slot",
        "if size > room or size % _IMAGE_STEP:",
        "if size % _IMAGE_STEP:",
    ),
    _o(
        "recheck",
        "T46 rung 10 before the base is chosen",
        "            ladder.recheck(self._read, verified)\n",
        "",
    ),
    _o(
        "trial", "a firmware without rollback is refused", "            self._require_trial()\n", ""
    ),
    _o(
        "withdraw",
        "what was refused is no app",
        "            self._withdraw()\n",
        "            pass\n",
    ),
    _o.off("read-back", "T45 a block is read back", "if back != data:"),
    _d(
        "crc",
        "CRC of an entry",
        "self.seq != _ERASED_SEQ and stored == crc(self.seq)",
        "self.seq != _ERASED_SEQ",
    ),
    _d(
        "invalid",
        "an entry that failed is not chosen",
        "self.state not in (INVALID, ABORTED)",
        "self.state != INVALID",
    ),
    _d(
        "aborted",
        "an entry that was refused is not chosen",
        "self.state not in (INVALID, ABORTED)",
        "self.state != ABORTED",
    ),
    _d(
        "newer",
        "the larger seq is chosen",
        "return second if second.seq > first.seq else first",
        "return first",
    ),
]
