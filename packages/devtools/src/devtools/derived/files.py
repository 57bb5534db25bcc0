"""All files that are made from what the services declare."""

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from devtools.derived.images import with_images
from devtools.derived.rendering import deployed, rendered
from devtools.project import ROOT
from devtools.service_tables import tables
from devtools.workspace import Workspace, read
from service_testing.declarations import declarations

API: Final = "docs/api"
BASE: Final = "infra/k8s/base"
OVERLAYS: Final = "infra/k8s/overlays"
PROBLEMS: Final = "/problems/"
NO_DIGEST: Final = f"sha256:{'0' * 64}"
"""Until the first release of a new service says which."""


def wanted(root: Path = ROOT) -> dict[Path, str]:
    """Return the text that each of the files should have."""
    declared, names = declarations(root), read((root / "pyproject.toml").read_text("utf-8"))
    services = deployed(
        declared, {each.name: own_problems(root, each.name) for each in declared}, root
    )
    found = {root / path: text for path, text in rendered(services, names).items()}
    for overlay in ("dev", "production"):
        path = root / OVERLAYS / overlay / "kustomization.yaml"
        new = {names.image(each.name): _new_image(names, overlay, each.name) for each in declared}
        found[path] = with_images(
            path.read_text("utf-8"),
            new,
            prefix=names.image(""),
            place=str(path.relative_to(root)),
        )
    return {**found, **tables(declared, root)}


def rendered_paths(root: Path = ROOT) -> list[Path]:
    """Return the paths of the files that nobody writes by hand."""
    declared, names = declarations(root), read((root / "pyproject.toml").read_text("utf-8"))
    return [root / path for path in rendered(deployed(declared, {}, root), names)]


def _new_image(names: Workspace, overlay: str, service: str) -> dict[str, str]:
    if overlay == "dev":
        return {"newTag": "dev"}
    return {"newName": names.published_image(service), "digest": NO_DIGEST}


def left_over(root: Path, texts: Iterable[Path]) -> list[Path]:
    """Return the folders of manifests whose service, or its worker, is gone.

    Args:
        root: of the workspace.
        texts: the paths of the files that should be there.
    """
    kept = {path.parent for path in texts}
    folders = [path.parent for path in (root / BASE).glob("*/kustomization.yaml")]
    return sorted(folder for folder in folders if folder not in kept)


def own_problems(root: Path, service: str) -> list[str]:
    """Return the slugs of the problems in a service's API that not every service documents."""
    # Here, because it takes longer to load than all that other commands need of this module.
    from service_platform.errors import catalogue, registry  # noqa: PLC0415
    from service_platform.identity.errors import KeysUnavailable  # noqa: PLC0415

    path = root / API / f"{service}.json"
    if not path.is_file():
        return []
    everywhere = {slug for slug, kind in registry.items() if kind.__module__ == catalogue.__name__}
    found = set(_problem_types(json.loads(path.read_text(encoding="utf-8"))))
    own = {each.removeprefix(PROBLEMS) for each in found} - everywhere
    return sorted(own - {KeysUnavailable.slug})


def write(root: Path = ROOT) -> list[Path]:
    """Bring all of them up to date; returns what was written or removed."""
    texts = wanted(root)
    gone = left_over(root, texts)
    for folder in gone:
        shutil.rmtree(folder)
    changed = {path: text for path, text in texts.items() if _text_of(path) != text}
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [*gone, *changed]


def stale(root: Path = ROOT) -> list[Path]:
    """Return the paths that `write` would write or remove."""
    texts = wanted(root)
    changed = (path for path, text in texts.items() if _text_of(path) != text)
    return [*left_over(root, texts), *changed]


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _problem_types(value: Any) -> Iterator[str]:
    """Every `type` of a problem in a document, at whatever depth."""
    if isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and kind.startswith(PROBLEMS):
            yield kind
        for each in value.values():
            yield from _problem_types(each)
    elif isinstance(value, list):
        for each in value:
            yield from _problem_types(each)


def main() -> int:
    """Say which files are not up to date, for `./dev check`; returns the exit status."""
    found = stale()
    for path in found:
        what = "belongs to no service" if path.is_dir() else "is not what the services declare"
        sys.stdout.write(f"{path.relative_to(ROOT)} {what}; ./dev fix puts it right.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
