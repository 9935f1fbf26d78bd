"""`chargeflash sign`: put signatures behind a container of any kind."""

from __future__ import annotations

from pathlib import Path

import click

from bootloader_verify import ladder
from host_tools import container, files
from host_tools.signer import FileSigner


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A private key in PEM; as often as wanted, four signatures in all.",
)
@click.option("--out", type=click.Path(path_type=Path), help="FILE itself if it is left out.")
def sign(file: Path, keys: tuple[Path, ...], out: Path | None) -> None:
    """Sign FILE. Signatures that are there stay; FILE is written only if all of it went well."""
    data = files.read(file)
    signers = [FileSigner(key) for key in keys]
    for signer in signers:
        data = container.add_signature(data, signer)
    files.write_new(out or file, data)
    _, tlvs = container.parse(data)
    names = " ".join(ladder.short(pair[0]) for pair in tlvs.pairs)
    kind = container.KIND_NAMES[container.kind_of(data)]
    click.echo(f"signed {out or file}  {kind} {tlvs.sha256.hex()}  keys {names}")
