"""Replaces the vendored files: `python -m service_platform.api_docs.vendor swagger-ui-dist 5.35.0`.

Needs npm. The package's own integrity check of npm applies; review the diff of `assets/` before
committing it.
"""

import argparse
import gzip
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

ASSETS: Final = Path(__file__).parent / "assets"
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
_source_map = re.compile(rb"\s*(//# sourceMappingURL=\S+|/\*# sourceMappingURL=\S+ ?\*/)\s*\Z")
"""At the very end only: the same words stand in strings of the scripts."""
_REMOTE_LOGO: Final = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_NO_IMAGE: Final = b"data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="


def vendor(package: str, version: str) -> None:
    """Fetch one npm package and write its files into `assets/`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603
            ["npm", "pack", "--silent", f"{package}@{version}"],  # noqa: S607
            cwd=folder,
            check=True,
        )
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as packed:
            for name, target in FILES[package].items():
                member = packed.extractfile(f"package/{name}")
                if member is None:
                    raise SystemExit(f"{package}@{version} has no file {name}")
                _write(target, member.read())


def _write(target: str, content: bytes) -> None:
    if target.endswith(".gz"):
        if not target.endswith(".png.gz"):
            # A map that is not shipped would be looked for by every browser's developer tools.
            content = _source_map.sub(b"\n", content)
        # Redoc's one request to another host; the pages make none.
        content = content.replace(_REMOTE_LOGO, _NO_IMAGE)
        content = gzip.compress(content, 9, mtime=0)
    (ASSETS / target).write_bytes(content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", choices=FILES)
    parser.add_argument("version")
    arguments = parser.parse_args()
    vendor(arguments.package, arguments.version)
