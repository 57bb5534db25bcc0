"""`./dev vendor`: replace Swagger UI or Redoc in the platform by another version from npm."""

import gzip
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from devtools.project import ROOT

ASSETS: Final = ROOT / "packages/platform/src/service_platform/api_docs/assets"
FILES: Final = {
    "swagger-ui-dist": {
        "swagger-ui-bundle.js": "swagger-ui-bundle.js.gz",
        "swagger-ui.css": "swagger-ui.css.gz",
        "favicon-32x32.png": "favicon-32x32.png.gz",
        "LICENSE": "swagger-ui.LICENSE",
        "NOTICE": "swagger-ui.NOTICE",
        "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-bundle.js.LICENSE.txt",
    },
    "redoc": {
        "bundles/redoc.standalone.js": "redoc.standalone.js.gz",
        "bundles/redoc.standalone.js.LICENSE.txt": "redoc.standalone.js.LICENSE.txt",
        "LICENSE": "redoc.LICENSE",
    },
}
"""Of each npm package: the files that are taken, and their names in `ASSETS`."""
_source_map = re.compile(rb"\s*(//# sourceMappingURL=\S+|/\*# sourceMappingURL=\S+ ?\*/)\s*\Z")
"""At the very end only: the same words stand in strings of the scripts."""
_REMOTE_LOGO: Final = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_NO_IMAGE: Final = b"data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="


def vendor(
    package: Annotated[str, typer.Argument(help=f"npm package: {' or '.join(FILES)}.")],
    version: Annotated[str, typer.Argument(help="Its version, such as 5.35.0.")],
) -> None:
    """Replace Swagger UI or Redoc by another version; review the diff before committing it."""
    if package not in FILES:
        typer.echo(f"There is no {package} to replace, only {' and '.join(FILES)}.", err=True)
        raise typer.Exit(2)
    npm = shutil.which("npm")
    if npm is None:
        typer.echo("npm is not installed: install Node.js, which brings it.", err=True)
        raise typer.Exit(1)
    with tempfile.TemporaryDirectory() as folder:
        # npm checks the integrity itself, and says on standard error what went wrong.
        done = subprocess.run(  # noqa: S603 - one of our two packages
            [npm, "pack", "--silent", f"{package}@{version}"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            typer.echo(f"npm could not fetch {package}@{version}.", err=True)
            raise typer.Exit(1)
        (archive,) = Path(folder).glob("*.tgz")
        contents = _contents(archive, FILES[package])
    if missing := sorted(FILES[package].keys() - contents.keys()):
        typer.echo(f"{package}@{version} has no file {', '.join(missing)}.", err=True)
        raise typer.Exit(1)
    for name, target in FILES[package].items():
        (ASSETS / target).write_bytes(_stored(target, contents[name]))
    typer.echo(f"{package}@{version}: {len(contents)} files written to {ASSETS}.")


def _contents(archive: Path, names: dict[str, str]) -> dict[str, bytes]:
    """Reads those of the files that a package has."""
    found = {}
    with tarfile.open(archive) as packed:
        for member in packed:
            name = member.name.removeprefix("package/")
            file = packed.extractfile(member) if name in names else None
            if file is not None:
                found[name] = file.read()
    return found


def _stored(target: str, content: bytes) -> bytes:
    """Returns a file as it is kept: without references to other hosts, compressed."""
    if not target.endswith(".gz"):
        return content
    if not target.endswith(".png.gz"):
        # A map that is not shipped would be looked for by every browser's developer tools.
        content = _source_map.sub(b"\n", content)
    # Redoc's one request to another host; the pages make none.
    content = content.replace(_REMOTE_LOGO, _NO_IMAGE)
    return gzip.compress(content, 9, mtime=0)
