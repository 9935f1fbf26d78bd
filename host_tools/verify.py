"""`chargeflash verify`: would a device that trusts these keys take these files?"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import click

from bootloader_verify import ladder
from host_tools import container, files
from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE, EXIT_VERIFICATION, ToolError
from host_tools.signer import PublicKey

SCHEMA = 1
_UUID_BYTES = 16
_KIND_OF = {name: kind for kind, name in container.KIND_NAMES.items()}


def _not_empty(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """What a script's empty variable leaves is not the same as no demand at all."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty")
    return value


@click.command()
@click.argument("paths", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A public key in PEM to trust; as often as wanted. One good signature is enough.",
)
@click.option(
    "--kind", type=click.Choice(list(_KIND_OF)), help="Default: what the file says it is."
)
@click.option("--vid", callback=_not_empty, help="Vendor: its domain, or 32 hex digits.")
@click.option(
    "--cid", callback=_not_empty, help="Hardware class: its name (with --vid), or 32 hex digits."
)
@click.option(
    "--revision", callback=_not_empty, help="Hardware revision that the image must be for."
)
@click.option("--min-epoch", type=click.IntRange(0, 0xFFFFFFFF), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def verify(
    paths: tuple[Path, ...],
    keys: tuple[Path, ...],
    kind: str | None,
    vid: str | None,
    cid: str | None,
    revision: str | None,
    min_epoch: int,
    as_json: bool,
) -> None:
    """Verify containers the way a device does. Exit code 0 only if every FILE is accepted."""
    trusted = [PublicKey(path) for path in keys]
    vendor = _vendor(vid) if vid is not None else None
    hardware = {"vid": vendor, "cid": None, "revision": revision}
    if cid is not None:
        hardware["cid"] = _class(cid, vendor)
    wanted = _KIND_OF[kind] if kind else None
    answers = [judge(path, trusted, wanted, min_epoch, **hardware) for path in paths]
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "files": answers}, indent=1))
    else:
        for answer in answers:
            click.echo(_line(answer))
    sys.exit(_exit_code(answers))


def judge(
    path: Path, keys: list[PublicKey], kind: int | None, min_epoch: int = 0, **hardware: Any
) -> dict[str, Any]:
    """The answer for one file, as it stands in the JSON output. Never raises for what it holds."""
    answer: dict[str, Any] = {"file": str(path), "accepted": False, "code": "", "detail": ""}
    try:
        data = files.read(path)
        kind = kind or container.kind_of(data)
        trusted = container.keyset_of(keys, ladder.ROLE_OF_KIND[kind])
        expect = ladder.Expect(kind, min_epoch=min_epoch, **hardware)
        found = container.verify(data, trusted, expect)
    except ToolError as error:
        detail = str(error).removeprefix("refused: ")
        return answer | {"code": error.code, "detail": detail, "exit_code": error.exit_code}
    return answer | {
        "accepted": True,
        "exit_code": 0,
        "kind": container.KIND_NAMES[kind],
        "version": container.version_text(found.version),
        "epoch": found.epoch,
        "digest": found.digest.hex(),
        "bytes": found.end,
        "keys": [key_id.hex() for key_id in found.key_ids if trusted.find(key_id)],
    }


def _line(answer: dict[str, Any]) -> str:
    if not answer["accepted"]:
        word = "missing" if answer["exit_code"] == EXIT_NOT_FOUND else "refused"
        return f"{word}  {answer['file']}  {answer['code']}: {answer['detail']}"
    epoch = f" epoch {answer['epoch']}" if answer["kind"] == "image" else ""
    keys = " ".join(key[:8] for key in answer["keys"])
    claims = f"{answer['kind']} {answer['version']}{epoch}"
    return f"accepted  {answer['file']}  {claims}  digest {answer['digest']}  keys {keys}"


def _exit_code(answers: list[dict[str, Any]]) -> int:
    """A refusal outweighs a file that could not be looked at."""
    codes = {answer["exit_code"] for answer in answers}
    for code in (EXIT_VERIFICATION, EXIT_NOT_FOUND, EXIT_USAGE):
        if code in codes:
            return code
    return 0


def _vendor(text: str) -> bytes:
    return _hex_id(text) or uuid.uuid5(uuid.NAMESPACE_DNS, text).bytes


def _class(text: str, vendor: bytes | None) -> bytes:
    found = _hex_id(text)
    if found is None and vendor is None:
        raise ToolError("BAD_CLASS", f"the class {text} is a name within a --vid", EXIT_USAGE)
    return found or uuid.uuid5(uuid.UUID(bytes=vendor), text).bytes


def _hex_id(text: str) -> bytes | None:
    """16 bytes written as 32 hex digits, with or without the dashes of a UUID; else None."""
    digits = text.replace("-", "")
    if len(digits) != 2 * _UUID_BYTES or not set(digits.lower()) <= set("0123456789abcdef"):
        return None
    return bytes.fromhex(digits)
