"""The download of 1.1.0 over a bad line: a cut line, one wrong block, a power cut.

What stands is counted in flash.bin at each cut, what was sent is counted on the broker: between two
cuts each block that was missing may be sent once, and no other one.
"""

from __future__ import annotations

import time
from binascii import crc32
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.demo.bar import Bar
from hil.demo.flash_look import BLOCK_BYTES, blocks_standing, is_blank
from hil.demo.stage import Stage
from hil.demo.story import Story
from hil.watch import Sent

SPARE = "b"  # the factory's image stands in slot a
WINDOW_BLOCKS = 32  # what an agent has in flight at most
LINE_CUT_AT, POWER_CUT_AT = 0.30, 0.65  # of the artifact's bytes, counted on the line
_WRONG_BYTE = 1000
# Two connections more than one, the retained offer and an index page for each, headers and
# acknowledgements.
_TALK_BYTES = 8_000
_LINE_DOWN_S = 2.0
_BOOT_S = 20.0


@dataclass(frozen=True)
class Stretch:
    """From one cut to the next. `before`, `after`: the blocks that stood in flash; `sent`: the
    numbers of the blocks that were sent; `wrong`: how many of those were not genuine."""

    before: frozenset[int]
    after: frozenset[int]
    sent: tuple[int, ...]
    wrong: int = 0

    @property
    def lost(self) -> int:
        """Genuine blocks that were sent and do not stand."""
        return len(self.sent) - self.wrong - len(self.after - self.before)

    def lost_most(self, blocks: int) -> int:
        """What can be in flight at a cut: of what is missing a window; nothing at the end."""
        return min(WINDOW_BLOCKS, blocks - len(self.after))

    def only_missing_once(self) -> bool:
        """No block that stood was sent, and none twice, a wrong one taken off."""
        return not set(self.sent) & self.before and len(self.sent) - self.wrong <= len(
            set(self.sent)
        )


class Download:
    """`image`: what is fetched; `blocks_file`: its undeflated artifact in the store."""

    def __init__(self, story: Story, stage: Stage, image: Path, blocks_file: Path) -> None:
        self._story, self._stage = story, stage
        self._image = image.read_bytes()
        self._blocks_file = blocks_file
        self._line_begun = stage.link.down.bytes
        self._sent_begun = self._sent_seen = len(stage.watch.sent)
        self._stood: frozenset[int] = frozenset()
        self.stretches: list[Stretch] = []
        self._spoiled = 0
        self.wh_at_power_cut = 0

    @property
    def blocks(self) -> int:
        return -(-len(self._image) // BLOCK_BYTES)

    def run(self, request_id: int) -> None:
        """From the offer to Downloaded."""
        with Bar(self._story, len(self._image), self._on_line) as bar:
            bar.wait_bytes(int(LINE_CUT_AT * len(self._image)))
            self._cut_line()
            bar.wait(self._wrong_was_sent, "the wrong block")
            self._put_byte(turned=0)
            bar.wait_bytes(int(POWER_CUT_AT * len(self._image)))
            words = self._cut_power()
            done = bar.wait(lambda: self._downloaded(request_id, words), "the end of the download")
        self._end_stretch()
        self._claim_resumed(done)
        self._claim_cheap()

    def _put_byte(self, turned: int) -> None:
        at = self._spoiled * BLOCK_BYTES + _WRONG_BYTE
        with self._blocks_file.open("r+b") as file:
            file.seek(at)
            file.write(bytes([self._image[at] ^ turned]))

    def _on_line(self) -> int:
        return self._stage.link.down.bytes - self._line_begun

    def _sent(self) -> list[Sent]:
        """All that was sent so far."""
        return self._stage.watch.sent[self._sent_begun :]

    def _wrong(self, sent: list[Sent]) -> list[Sent]:
        """Those blocks whose bytes are not the image's."""
        return [one for one in sent if one.block and one.crc != self._crc(one.number)]

    def _crc(self, block: int) -> int:
        return crc32(self._image[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES])

    def _wrong_was_sent(self) -> bool | None:
        return bool(self._wrong(self._sent())) or None

    def _cut_line(self) -> None:
        board, link = self._stage.board, self._stage.link
        link.cut()
        self._story.say(f"[yellow]the line is cut[/] for {_LINE_DOWN_S:g} s")
        board.wait_line(r"update: downloading -> paused", 10)
        time.sleep(_LINE_DOWN_S)
        self._end_stretch()
        self._spoil_block()
        link.restore()
        board.wait_line(r"update: paused -> scanning", 20)

    def _spoil_block(self) -> None:
        """The server sends one block wrong, with the CRC of what it sends: the first one that will
        be asked for, so that others come after it. Block 0 is asked for last."""
        self._spoiled = min(set(range(1, self.blocks)) - self._stood)
        self._put_byte(turned=0xFF)
        self._story.say(f"one byte of block {self._spoiled} is turned over in the server's store")

    def _cut_power(self) -> int:
        """Returns how many statuses there were before the power came back."""
        board, watch = self._stage.board, self._stage.watch
        board.power_off()
        self._end_stretch()
        self._claim_wrong_block()
        self.wh_at_power_cut = board.plant.meter_wh(0)
        words = len(watch.statuses)
        self._story.say(
            f"[yellow]the power is cut[/]; {len(self._stood)} blocks stand in flash.bin"
        )
        board.power_on()
        goes_on = board.wait_line(r"connector 1: session \d+ goes on.*", _BOOT_S)
        board.wait_line(r"update: journal open, not_armed: resumes accepted", _BOOT_S)
        self._story.say(f"power is back; console: {goes_on.text}")
        return words

    def _end_stretch(self) -> None:
        """Count what stands and what was sent since the last cut; nothing may be on its way."""
        sent = self._stage.watch.sent[self._sent_seen :]
        self._sent_seen += len(sent)
        before = self._stood
        self._stood = frozenset(blocks_standing(self._stage.board, SPARE, self._image))
        numbers = tuple(one.number for one in sent if one.block)
        self.stretches.append(Stretch(before, self._stood, numbers, len(self._wrong(sent))))

    def _downloaded(self, request_id: int, since: int) -> dict[str, Any] | None:
        for message in self._stage.watch.statuses[since:]:
            if message.get("request_id") == request_id and message["status"] == "Downloaded":
                return message
        return None

    def _claim_wrong_block(self) -> None:
        wrong = [one.number for one in self._wrong(self._sent())]
        blank = is_blank(self._stage.board, SPARE, self._spoiled)
        later = [block for block in sorted(self._stood) if block > self._spoiled]
        self._story.claim(
            "a block with one wrong byte is not stored, though its CRC holds",
            wrong == [self._spoiled] and blank and bool(later),
            f"block {self._spoiled} came wrong: its place in flash.bin is "
            f"{'erased' if blank else 'written'}; {len(later)} blocks that came after it stand",
        )

    def _claim_resumed(self, done: dict[str, Any]) -> None:
        """`done`: the status at the end."""
        last = self.stretches[-1]
        kept, fetched = len(last.before), done["bytes_fetched"]
        since = self._sent()[-len(last.sent) - 1 :]  # with the index page
        sent_bytes = sum(one.size for one in since)
        self._story.claim(
            "no block that stands in flash is fetched again",
            all(stretch.only_missing_once() for stretch in self.stretches)
            and 0 < kept < self.blocks == len(last.after)
            and fetched == sent_bytes,
            f"at the power cut {kept} of {self.blocks} blocks stood in flash.bin; after it "
            f"{len(last.sent)} were sent, each once: {fetched:,} bytes by the charger's own count, "
            f"{sent_bytes:,} by the server's, index included",
        )

    def _claim_cheap(self) -> None:
        cuts = len(self.stretches) - 1
        on_line, artifact_bytes = self._on_line(), len(self._image)
        wrong = sum(stretch.wrong for stretch in self.stretches)
        most_on_line = artifact_bytes + (cuts + wrong) * BLOCK_BYTES + _TALK_BYTES
        costs = [(one.lost, one.lost_most(self.blocks)) for one in self.stretches]
        self._story.claim(
            "a cut costs at most a block on the line, and at the server what was in flight",
            on_line <= most_on_line and all(lost <= most for lost, most in costs),
            f"over the line {on_line:,} bytes of at most {most_on_line:,}: the artifact "
            f"({artifact_bytes:,}), the wrong block, {cuts} blocks, other talk; sent in vain "
            + ", ".join(f"{lost} of at most {most} blocks" for lost, most in costs[:-1]),
        )
