"""On a bare Debian with what README names and nothing else, `./dev up` and `./dev test` work.

    BARE_DEBIAN=1 ./dev test tests/newcomers

Makes a Debian by debootstrap, and in it a clone of the last commit for an ordinary user and one for
root, in a folder that nobody else may enter. Needs root, and a network for packages: some minutes
and about 500 MB of downloads for each Debian.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PORT_OFFSETS: Final = {"bookworm": 300, "trixie": 400}
"""Of the system in each Debian, which has the host's network and so its ports."""

PACKAGES: Final = "python3,git,curl,ca-certificates"
NETWORK_FILES: Final = (
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/ssl/certs/ca-certificates.crt",
)
NETWORK_VARIABLES: Final = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX",
)  # fmt: skip

NAMESPACE: Final = """
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
exec chroot "$@"
"""
"""Run by `unshare`, whose end also ends what is left running and undoes the mounts."""

STEPS: Final = """
cd "$HOME"
git clone --quiet /repository.bundle clone
cd clone
./dev up --detach --port-offset "$0"
./dev status
./dev demo
./dev down
./dev test services/users/tests/test_profiles.py
"""


def reason_to_skip() -> str:
    """Why no Debian can or shall be made here; empty where one is made."""
    if os.environ.get("BARE_DEBIAN") != "1":
        return "takes minutes and downloads packages of Debian; BARE_DEBIAN=1 runs it"
    if os.geteuid() != 0:
        return "needs root, for debootstrap and chroot"
    missing = [name for name in ("debootstrap", "unshare") if shutil.which(name) is None]
    return f"needs {' and '.join(missing)} (Debian: debootstrap, util-linux)" if missing else ""


pytestmark = pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "not skipped")


def succeed(*command: str | Path) -> str:
    """Run a command; returns what it has written, and fails with that where it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class BareDebian:
    """A Debian in a folder.

    Args:
        folder: where it is.
        port_offset: added to every port of the system in it.
    """

    def __init__(self, folder: Path, port_offset: int) -> None:
        self.folder = folder
        self._port_offset = port_offset

    def follow_readme(self, user: str, home: str) -> str:
        """Clone, start, try, end and test as a user below a folder; returns what was written."""
        variables = {"HOME": home, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        variables |= {key: os.environ[key] for key in NETWORK_VARIABLES if key in os.environ}
        environment = ("env", "-i", *(f"{key}={value}" for key, value in variables.items()))
        steps = ("sh", "-euxc", STEPS, str(self._port_offset))
        namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        chroot = ("sh", "-euc", NAMESPACE, self.folder, f"--userspec={user}:{user}", self.folder)
        return succeed(*namespaces, *chroot, *environment, *steps)


@pytest.fixture(params=PORT_OFFSETS)
def debian(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BareDebian]:
    suite: str = request.param
    folder = tmp_path / suite
    succeed("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, folder)
    for file in NETWORK_FILES:
        if Path(file).exists():
            shutil.copy(file, f"{folder}{file}")
    succeed("git", "-C", ROOT, "bundle", "create", "--quiet", folder / "repository.bundle", "HEAD")
    (folder / "repository.bundle").chmod(0o644)
    succeed("chroot", folder, "useradd", "--create-home", "ada")
    (folder / "root/private").mkdir(mode=0o700)
    yield BareDebian(folder, PORT_OFFSETS[suite])
    shutil.rmtree(folder)


def test_what_readme_says_works_for_an_ordinary_user_and_for_root(debian: BareDebian) -> None:
    for user, home in (("ada", "/home/ada"), ("root", "/root/private")):
        written = debian.follow_readme(user, home)
        assert "requests, all as expected" in written
        assert "Everything has ended" in written
