"""What `./dev check` leaves out: what needs a network there is not, and what has not changed."""

import hashlib
import re
from importlib.metadata import version
from pathlib import Path
from typing import Final

from devtools.project import ROOT, state_dir

EXIT_NO_NETWORK: Final = 75
"""Exit status of a check that needs what cannot be downloaded now (EX_TEMPFAIL of sysexits.h)."""

_NO_NETWORK: Final = re.compile(
    r"error sending request|dns error|failed to lookup address|tcp connect error"
    r"|network (?:connectivity is|was) disabled|operation timed out",
    re.IGNORECASE,
)

MANIFEST_SOURCES: Final = (
    ROOT / "infra", ROOT / "packages/devtools/src/devtools/manifests.py",
)  # fmt: skip
MANIFEST_PACKAGES: Final = ("kubernetes-validate", "jsonschema", "pyyaml")


def needs_network(output: str) -> bool:
    """Whether uv says that it failed for want of a network, and for nothing else."""
    return _NO_NETWORK.search(output) is not None


def manifests_fingerprint() -> str:
    """A digest of everything the check of the manifests depends on."""
    digest = hashlib.sha256()
    for name in MANIFEST_PACKAGES:
        digest.update(f"{name} {version(name)}\n".encode())
    for source in MANIFEST_SOURCES:
        files = [source] if source.is_file() else sorted(source.rglob("*"))
        for file in files:
            if file.is_file():
                digest.update(f"{file.relative_to(ROOT)}\n".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def passed_before(step: str, fingerprint: str) -> bool:
    """Whether a check passed when everything it depends on was as it is now."""
    file = _file(step)
    return file.is_file() and file.read_text() == fingerprint


def remember(step: str, fingerprint: str) -> None:
    """Note that a check passed."""
    file = _file(step)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(fingerprint)


def _file(step: str) -> Path:
    return state_dir() / "checked" / step
