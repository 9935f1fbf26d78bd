"""Keys, images, publications and offers: what a vendor does at a desk, by the commands of a user."""

from __future__ import annotations

import re
from pathlib import Path

from hil.demo.stage import BOARD, DEVICE, Stage
from hil.demo.story import DemoFailedError, Story

ROLES = ("root", "release", "rollout")


class Vendor:
    """The files of one demo in `folder`: keys/, keyset.img, app-VERSION/, charger-VERSION.img, store/."""

    def __init__(self, story: Story, folder: Path) -> None:
        self._story = story
        self.folder = folder
        self.keyset = folder / "keyset.img"
        self.store = folder / "store"

    def private(self, name: str) -> str:
        return str(self.folder / "keys" / f"{name}-DO_NOT_USE.pem")

    def public(self, name: str) -> str:
        return str(self.folder / "keys" / f"{name}-DO_NOT_USE.pub.pem")

    def image(self, version: str) -> Path:
        return self.folder / f"charger-{version}.img"

    def make_keys(self, *names: str) -> None:
        """Key files whose names say that they are worth nothing."""
        keys = str(self.folder / "keys")
        self._story.command("keys", "new", *names, "--out", keys, "--demo")

    def make_keyset(self) -> None:
        words = ["keys", "keyset"]
        for role in ROLES:
            words += [f"--{role}", self.public(role)]
        self._story.command(*words, "--sign", self.private("root"), "--out", str(self.keyset))

    def build(self, version: str, source: str = "", signer: str = "release") -> Path:
        """The source of one release (by default of that version) to a signed image."""
        app = self.folder / f"app-{source or version}"
        if not app.exists():
            self._story.python("-m", "examples.charger_app.assemble", version, str(app))
        image = self.image(version)
        words = ["build", str(app), "--board", BOARD, "--version", version]
        self._story.command(*words, "--key", self.private(signer), "--out", str(image))
        return image

    def publish(self, version: str, *options: str, signer: str = "release") -> str:
        """Returns the id of the artifact that devices prefer."""
        words = ["publish", str(self.image(version)), "--store", str(self.store)]
        output = self._story.command(*words, "--key", self.public(signer), *options)
        found = re.search(r"^artifact (\w+) ", output, re.MULTILINE)
        if found is None:
            raise DemoFailedError(f"publish names no artifact: {output}")
        return found[1]

    def blocks_file(self, artifact_id: str) -> Path:
        """Where the server has the artifact's blocks, one behind the other."""
        return self.store / "artifacts" / artifact_id / "blocks.bin"

    def offer(self, stage: Stage, version: str) -> int:
        """Offer a published image to the charger; returns the request id."""
        words = ["offer", str(self.image(version)), "--device", DEVICE, "--store", str(self.store)]
        words += ["--broker", stage.broker_url, "--rollout-key", self.private("rollout")]
        output = self._story.command(*words)
        found = re.search(r"request_id=(\d+)", output)
        if found is None:
            raise DemoFailedError(f"offer names no request: {output}")
        return int(found[1])
