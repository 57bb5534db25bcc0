"""TypeScript clients: types by openapi-typescript, requests by openapi-fetch.

A client is a package of npm that needs no build. What npm downloads is kept below `.dev`.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from devtools.client_tools import Example, NotHereError, run
from devtools.project import state_dir

TOOLS: Final = Path(__file__).with_name("client_npm")
"""The packages of npm by their exact versions; TypeScript is what tests compile with."""
MANIFESTS: Final = ("package.json", "package-lock.json")

_NO_NETWORK: Final = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT"
    r"|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b"
)
"""What npm says where a download failed for want of a network."""


def installed() -> Path:
    """The `node_modules` that the lock file names, which are installed where they are not yet.

    Raises:
        NotHereError: there is no Node.js, or they cannot be downloaded.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotHereError(f"{program} is missing; install Node.js 20 or newer.")
    cache = state_dir() / "clients"
    digest = hashlib.sha256(b"".join((TOOLS / each).read_bytes() for each in MANIFESTS))
    target = cache / digest.hexdigest()[:16]
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # Under another name at first, so that an interrupted installation is never used.
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            made = Path(temporary) / target.name
            made.mkdir()
            for each in MANIFESTS:
                shutil.copy(TOOLS / each, made)
            command: list[str | Path] = [
                "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
                "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--cache", cache / "npm",
            ]  # fmt: skip
            run(command, made, _needs_network, "Installing openapi-typescript")
            if not target.is_dir():
                made.rename(target)
    return target / "node_modules"


def _needs_network(output: str) -> bool:
    return _NO_NETWORK.search(output) is not None


def make(documents: Mapping[str, Path], folder: Path) -> None:
    """Make a package `NAME-client` for each service."""
    modules = installed()
    with tempfile.TemporaryDirectory() as temporary:
        # One run for all of them: starting it takes longer than the work.
        apis = {
            service: {"root": str(document), "x-openapi-ts": {"output": f"{service}.d.ts"}}
            for service, document in documents.items()
        }
        config = Path(temporary) / "redocly.yaml"
        # JSON is YAML.
        config.write_text(json.dumps({"apis": apis}), encoding="utf-8")
        command = [modules / ".bin" / "openapi-typescript"]
        run(command, Path(temporary), _needs_network, "The TypeScript client")
        for service, document in documents.items():
            target = folder / service
            target.mkdir()
            shutil.move(Path(temporary) / f"{service}.d.ts", target / "schema.d.ts")
            read: Mapping[str, Any] = json.loads(document.read_text(encoding="utf-8"))
            for name, text in _files(service, read["info"]["version"]).items():
                (target / name).write_text(text, encoding="utf-8")


def _files(service: str, version: str) -> dict[str, str]:
    """Everything of a package but its types."""
    lock = json.loads((TOOLS / "package-lock.json").read_text(encoding="utf-8"))
    fetch = lock["packages"]["node_modules/openapi-fetch"]["version"]
    package = {
        "name": f"{service}-client",
        "version": version,
        "description": f"Typed client of the service {service}",
        "private": True,
        "type": "module",
        "exports": {".": {"types": "./index.d.ts", "default": "./index.js"}},
        "dependencies": {"openapi-fetch": fetch},
    }
    function = function_of(service)
    return {
        "package.json": json.dumps(package, indent=2) + "\n",
        "index.js": f"""\
import createClient from "openapi-fetch";

export const {function} = (options) => createClient(options);
""",
        "index.d.ts": f"""\
import type {{ Client, ClientOptions }} from "openapi-fetch";

import type {{ paths }} from "./schema.js";

export type * from "./schema.js";

/** Make a client; `baseUrl` is where the service is. */
export declare const {function}: (options?: ClientOptions) => Client<paths>;
""",
    }


def function_of(service: str) -> str:
    """The name of the function that makes a client."""
    return f"create{service.title().replace('_', '').replace('-', '')}Client"


def usage(service: str, folder: str, example: Example) -> str:
    """Say how a client is used."""
    place = folder if folder.startswith("/") else f"./{folder}"
    return f"""\
  npm install --install-links {place}

    import {{ {function_of(service)} }} from "{service}-client";

    const client = {function_of(service)}({{
      baseUrl: "{example.url}",
      headers: {{ Authorization: `Bearer ${{token}}` }},
    }});
    const {{ data, error }} = await client.GET("{example.path}");
"""
