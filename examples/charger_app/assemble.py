"""Put a release of the charger application together: `assemble(version, out_dir)`.

The rule: `base/` first, then the overlay `releases/<version>/` of every release up to that version,
in order; a file of an overlay replaces the one of the same name. `.py` files are copied, `.screen`
files are drawn as `.pbm`; nothing else (notes, type stubs) gets into a release.

    python -m examples.charger_app.assemble 1.1.0 build/app-1.1.0
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from examples.charger_app.drawing import DrawingError, render

HERE = Path(__file__).resolve().parent
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
_OURS = {"app.py", "charger", "screens", "__pycache__"}


class AssembleError(Exception):
    """The caller asked for what cannot be; `.exit_code` as the `chargeflash` command uses them."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def versions() -> list[str]:
    """All releases, oldest first."""
    names = [path.name for path in (HERE / "releases").iterdir() if path.is_dir()]
    return sorted(names, key=lambda name: tuple(int(part) for part in name.split(".")))


def assemble(version: str, out_dir: str | Path) -> Path:
    """Write the complete application of one release into `out_dir` and return that folder.

    `out_dir` is made; an application that was assembled there before is replaced, a folder with
    anything else in it is refused. Raises AssembleError.
    """
    out = Path(out_dir)
    known = versions()
    if version not in known:
        raise AssembleError(f"no release {version}; there are {', '.join(known)}", EXIT_NOT_FOUND)
    _make_empty(out)
    overlays = [HERE / "releases" / name for name in known[: known.index(version) + 1]]
    for layer in [HERE / "base", *overlays]:
        _lay(layer, out)
    return out


def _make_empty(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise AssembleError(f"{out} is a file, not a folder", EXIT_USAGE)
    if out.exists() and any(out.iterdir()):
        if not {path.name for path in out.iterdir()} <= _OURS:
            raise AssembleError(f"{out} holds something else; name an empty folder", EXIT_USAGE)
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def _lay(layer: Path, out: Path) -> None:
    for source in sorted(layer.rglob("*")):
        target = out / source.relative_to(layer)
        if source.suffix not in (".py", ".screen"):
            continue
        target.parent.mkdir(exist_ok=True)
        if source.suffix == ".py":
            shutil.copyfile(source, target)
        else:
            target.with_suffix(".pbm").write_bytes(_drawn(source))


def _drawn(source: Path) -> bytes:
    try:
        return render(source.read_text())
    except DrawingError as err:
        raise AssembleError(f"{source.name}: {err}", EXIT_USAGE) from err


def main(words: list[str]) -> int:
    """Command line: VERSION FOLDER. Returns the exit code."""
    if len(words) != 2:
        print("usage: python -m examples.charger_app.assemble VERSION FOLDER", file=sys.stderr)
        return EXIT_USAGE
    try:
        out = assemble(words[0], words[1])
    except AssembleError as err:
        print(f"error: {err}", file=sys.stderr)
        return err.exit_code
    files = [path for path in out.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    print(f"release {words[0]} in {out}: {len(files)} files, {total} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
