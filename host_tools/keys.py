"""`chargeflash keys`: make keys, and the keyset that tells a device whom to trust."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import protocol
from bootloader_verify import keyset, ladder
from bootloader_verify.container import KIND_KEYSET
from bootloader_verify.errors import VerifyError
from bootloader_verify.keyset import ALL_CLASSES, RELEASE, ROLLOUT, ROOT
from host_tools import container, files
from host_tools.errors import EXIT_USAGE, EXIT_VERIFICATION, ToolError
from host_tools.signer import FileSigner, PublicKey, Signer

DEMO_MARK = "-DO_NOT_USE"
_PRIVATE_MODE = 0o600
_VERSIONS = click.IntRange(1, 0xFFFFFFFF)
_KEY_FILE = click.Path(path_type=Path)


@click.group()
def keys() -> None:
    """Make keys and keysets."""


@keys.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True)
@click.option("--demo", is_flag=True, help=f"Put {DEMO_MARK} into the names: for tests and demos.")
def new(names: tuple[str, ...], folder: Path, demo: bool) -> None:
    """Make a P-256 key for each NAME: NAME.pem (private) and NAME.pub.pem. Overwrites nothing."""
    for private, public in make_keys(names, folder, demo):
        click.echo(f"{private}  {public}  key {ladder.short(PublicKey(public).key_id)}")


def make_keys(names: Sequence[str], folder: Path, demo: bool = False) -> list[tuple[Path, Path]]:
    """(private file, public file) of each name; ToolError BAD_NAME, EXISTS, UNWRITABLE.

    Looks at all names first: either every key is made or none.
    """
    mark = DEMO_MARK if demo else ""
    pairs = [(folder / f"{n}{mark}.pem", folder / f"{n}{mark}.pub.pem") for n in names]
    for name in names:
        if not protocol.is_name(name) or name.startswith((".", "-")) or names.count(name) > 1:
            text = f"{name!r} cannot name a key: once each, letters, digits, '.', '_' and '-'"
            raise ToolError("BAD_NAME", text, EXIT_USAGE)
    for path in (path for pair in pairs for path in pair):
        if os.path.lexists(path):
            text = f"{path} is there already: no key is written over"
            raise ToolError("EXISTS", text, EXIT_USAGE)
    for private, public in pairs:
        _make_key(private, public)
    return pairs


def _make_key(private: Path, public: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    files.write_new(private, secret, _PRIVATE_MODE, replace=False)
    files.write_new(public, shown, replace=False)


@keys.command("keyset")
@click.option("--root", "roots", type=_KEY_FILE, multiple=True, required=True)
@click.option("--release", "releases", type=_KEY_FILE, multiple=True, required=True)
@click.option("--rollout", "rollouts", type=_KEY_FILE, multiple=True, required=True)
@click.option(
    "--sign", "signing", type=_KEY_FILE, multiple=True, required=True, help="Private ROOT key."
)
@click.option("--version", type=_VERSIONS, default=1, show_default=True)
@click.option("--root-threshold", type=click.IntRange(1, 4), default=1, show_default=True)
@click.option(
    "--class",
    "device_class",
    default=ALL_CLASSES,
    show_default=True,
    help="Class id (32 hex digits) that the RELEASE keys are for.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def keyset_command(
    roots: tuple[Path, ...],
    releases: tuple[Path, ...],
    rollouts: tuple[Path, ...],
    signing: tuple[Path, ...],
    version: int,
    root_threshold: int,
    device_class: str,
    out: Path,
) -> None:
    """Make a keyset: which keys a device trusts, and for what. Public keys, as often as wanted."""
    made = make_keyset(
        {
            ROOT: [PublicKey(path) for path in roots],
            RELEASE: [PublicKey(path) for path in releases],
            ROLLOUT: [PublicKey(path) for path in rollouts],
        },
        [FileSigner(path) for path in signing],
        version,
        root_threshold,
        device_class,
    )
    files.write_new(out, made)
    counted = f"{len(roots)} root, {len(releases)} release, {len(rollouts)} rollout"
    click.echo(f"keyset {out}  version {version}  keys: {counted}")


def make_keyset(
    trusted: dict[str, list[PublicKey]],
    signers: Sequence[Signer],
    version: int = 1,
    root_threshold: int = 1,
    device_class: str = ALL_CLASSES,
) -> bytes:
    """A root-signed keyset container (kind 3) that trusts `trusted`: role -> its keys.

    `device_class`, "all" or a class id in hex, binds the RELEASE keys; manifests and keysets name no
    class, so the others stay for all. ToolError BAD_KEYSET, or the ladder's code: the result is
    verified by itself before it is returned.
    """
    payload = _payload(trusted, version, root_threshold, device_class)
    try:
        parsed = keyset.parse(payload)
    except VerifyError as error:
        raise ToolError(
            error.code, f"this keyset is not one: {error.detail}", EXIT_USAGE
        ) from error
    roots = {key.key_id for key in trusted[ROOT]}
    if not all(signer.key_id in roots for signer in signers):
        text = "a keyset is signed by its own ROOT keys: --sign goes with one of --root"
        raise ToolError("WRONG_ROLE", text, EXIT_VERIFICATION)
    made = container.build(payload, KIND_KEYSET, f"0.0.0+{version}")
    for signer in signers:
        made = container.add_signature(made, signer)
    container.verify(made, parsed, ladder.Expect(KIND_KEYSET))
    return made


def _payload(
    trusted: dict[str, list[PublicKey]], version: int, root_threshold: int, device_class: str
) -> bytes:
    listed = [
        _entry(key, role, device_class if role == RELEASE else ALL_CLASSES)
        for role in keyset.ROLES
        for key in trusted[role]
    ]
    fields = {
        "version": version,
        "keys": listed,
        "thresholds": {ROOT: root_threshold, RELEASE: 1, ROLLOUT: 1},
        "revoked": [],
        "min_epoch": {},
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def _entry(key: PublicKey, role: str, device_class: str) -> dict[str, Any]:
    return {
        "id": key.key_id.hex(),
        "alg": key.alg,
        "role": role,
        "class": device_class,
        "key": key.public_raw.hex(),
    }
