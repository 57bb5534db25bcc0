"""Fetches the uv that `uv.lock` names, with nothing but Python's standard library.

Run by `./dev` where no uv is on the PATH, before anything is installed: it needs neither pip nor
venv, which Debian's python3 comes without. The file is taken from the index that uv or pip are
configured to use, else from where the lock file says, and must have the lock file's hash.

    python3 fetch_uv.py uv.lock .dev/uv/uv
    python3 fetch_uv.py uv.lock --size
"""

import base64
import configparser
import hashlib
import io
import json
import os
import platform
import re
import ssl
import sys
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

CHUNK = 1 << 17
TIMEOUT_SECONDS = 60
PAGES = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
GROUPS = ("dev", "libraries")


class FetchError(Exception):
    """uv cannot be fetched; the message is one sentence."""


def main(arguments: list[str]) -> int:
    """Fetch uv, or print how many megabytes the packages of the lock file have."""
    lock = tomllib.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    if arguments[1] == "--size":
        print(round(download_size(lock) / 1e6))  # noqa: T201 - read by the script `dev`
        return 0
    try:
        fetch(lock, Path(arguments[1]))
    except (FetchError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        sys.stderr.write(
            f"dev: uv could not be fetched: {reason}; install uv, or name an index that can be "
            "reached by UV_DEFAULT_INDEX or PIP_INDEX_URL.\n"
        )
        return 1
    return 0


def fetch(lock: dict[str, Any], target: Path) -> None:
    """Download the wheel for this machine, check its hash, and unpack the program.

    Raises:
        FetchError: the lock file has no wheel for this machine, the index lacks it, or what came
            has another hash.
        OSError: the network or the disk fails.
    """
    package = next((each for each in lock["package"] if each["name"] == "uv"), None)
    wheel = best_wheel(package["wheels"]) if package else None
    if package is None or wheel is None:
        raise FetchError(f"the lock file names none for {platform.system()} {platform.machine()}")
    name = unquote(wheel["url"].rpartition("/")[2])
    index = configured_index()
    url = url_in_index(index, name) if index else wheel["url"]
    size = wheel.get("size", 0)
    place = urlsplit(url).hostname or "this machine"
    sys.stderr.write(f"dev: fetching uv {package['version']} ({size / 1e6:.0f} MB) from {place}\n")
    content = download(url, size)
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != wheel["hash"]:
        raise FetchError("the file has another hash than the lock file says")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member = next(each for each in archive.namelist() if each.endswith("/scripts/uv"))
        program = archive.read(member)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_suffix(".new")
    new.write_bytes(program)
    new.chmod(0o755)
    new.replace(target)


def download(url: str, size: int) -> bytes:
    """Read a URL; on a terminal it shows how far it is."""
    parts, shown = [], sys.stderr.isatty()
    with opened(url) as answer:
        while chunk := answer.read(CHUNK):
            parts.append(chunk)
            if shown and size:
                done = sum(map(len, parts))
                sys.stderr.write(f"\rdev: {done / 1e6:.1f} of {size / 1e6:.1f} MB")
                sys.stderr.flush()
    if shown and size:
        sys.stderr.write("\n")
    return b"".join(parts)


def opened(url: str, accept: str = "*/*") -> Any:
    """Open a URL, with its own user and password where it has them, by the proxy that is set."""
    parts = urlsplit(url)
    headers = {"Accept": accept, "User-Agent": "dev"}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    trusted = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or None
    context = ssl.create_default_context(cafile=trusted)
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - of the index
    return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context)  # noqa: S310


def url_in_index(index: str, name: str) -> str:
    """Find a file of uv in a simple index, as HTML or as JSON.

    Raises:
        FetchError: the index does not have it.
    """
    page = f"{index.rstrip('/')}/uv/"
    with opened(page, PAGES) as answer:
        text, base = answer.read().decode(), answer.geturl()
    if text.lstrip().startswith("{"):
        links = [each["url"] for each in json.loads(text)["files"]]
    else:
        reader = _Links()
        reader.feed(text)
        links = reader.links
    for link in links:
        url = urldefrag(urljoin(base, link)).url
        if unquote(url.rpartition("/")[2]) == name:
            return _with_credentials(url, index)
    raise FetchError(f"{urlsplit(index).hostname} does not have {name}")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if (tag, name) == ("a", "href") and value]


def _with_credentials(url: str, index: str) -> str:
    file, place = urlsplit(url), urlsplit(index)
    if place.username and file.netloc == place.netloc.rpartition("@")[2]:
        return urlunsplit(file._replace(netloc=place.netloc))
    return url


def configured_index() -> str:
    """Find the index that uv or pip are told to use; empty where neither is."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if value := os.environ.get(name):
            # An index may have a name: `internal=https://…`
            return re.sub(r"^[A-Za-z0-9_.-]+=", "", value)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    for file in (home / "uv/uv.toml", Path("/etc/uv/uv.toml")):
        if found := _of_uv(file):
            return found
    if value := os.environ.get("PIP_INDEX_URL"):
        return value
    own = [Path("~/.pip/pip.conf").expanduser(), home / "pip/pip.conf"]
    named = os.environ.get("PIP_CONFIG_FILE")
    for file in ([Path(named)] if named else []) + own[::-1] + [Path("/etc/pip.conf")]:
        parser = configparser.RawConfigParser()
        parser.read(file)
        if parser.has_option("global", "index-url"):
            return parser.get("global", "index-url")
    return ""


def _of_uv(file: Path) -> str:
    if not file.is_file():
        return ""
    said = tomllib.loads(file.read_text(encoding="utf-8"))
    indexes = [each["url"] for each in said.get("index", ()) if each.get("default")]
    return str(next(iter(indexes), said.get("index-url", "")))


def best_wheel(wheels: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Choose the wheel for this Python and machine: the one that asks most of the system."""
    fitting = [(score, wheel) for wheel in wheels if (score := _fits(wheel["url"])) is not None]
    return max(fitting, key=lambda each: each[0])[1] if fitting else None


def _fits(url: str) -> tuple[int, ...] | None:
    """How well a wheel fits, by its name; None when it does not."""
    name = unquote(url.rpartition("/")[2]).removesuffix(".whl")
    *_, pythons, abis, platforms = name.split("-")
    this = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    stable = "abi3" in abis.split(".") or abis == "none"
    if not any(
        each == this or (stable and re.match(r"cp3|py3", each)) for each in pythons.split(".")
    ):
        return None
    scores = [score for each in platforms.split(".") if (score := _runs(each)) is not None]
    return max(scores, default=None)


def _runs(tag: str) -> tuple[int, ...] | None:
    machine = platform.machine().lower()
    if tag == "any":
        return (0,)
    if found := re.fullmatch(r"macosx_(\d+)_(\d+)_(\w+)", tag):
        version = tuple(int(each) for each in (platform.mac_ver()[0] or "0").split(".")[:2])
        asked = (int(found[1]), int(found[2]))
        return asked if found[3] in {machine, "universal2"} and asked <= version else None
    libc, version_text = platform.libc_ver()
    if libc == "glibc" and (found := re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", tag)):
        asked = (int(found[1]), int(found[2]))
        have = tuple(int(each) for each in version_text.split(".")[:2])
        return asked if found[3] == machine and asked <= have else None
    if libc != "glibc" and (found := re.fullmatch(r"musllinux_(\d+)_(\d+)_(\w+)", tag)):
        return (int(found[1]), int(found[2])) if found[3] == machine else None
    return (1,) if sys.platform == "linux" and tag == f"linux_{machine}" else None


def download_size(lock: dict[str, Any]) -> int:
    """Add up what a first install downloads on this machine; environment markers are ignored."""
    packages = {each["name"]: each for each in lock["package"]}
    todo, seen = list(lock["manifest"]["members"]), set[str]()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += _needed_by(packages[name])
    wheels = [best_wheel(packages[name].get("wheels", [])) for name in seen]
    return sum(wheel.get("size", 0) for wheel in wheels if wheel)


def _needed_by(package: dict[str, Any]) -> Iterator[str]:
    groups = package.get("dev-dependencies", {})
    for wanted in (package.get("dependencies", []), *(groups.get(each, []) for each in GROUPS)):
        for each in wanted:
            yield each["name"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
