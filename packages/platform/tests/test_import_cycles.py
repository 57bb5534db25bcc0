"""No module of the platform or of a service imports itself in a circle, not even for type hints."""

import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from devtools.services import SERVICES


def import_cycle(package: str) -> list[str]:
    """Return the modules of one import cycle of a package, empty where there is none."""
    graph = grimp.build_graph(package, cache_dir=None)
    imports = {each: graph.find_modules_directly_imported_by(each) for each in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle[::-1]
    return []


@pytest.mark.parametrize("package", ["service_platform", *(each.name for each in SERVICES)])
def test_there_is_no_import_cycle(package: str) -> None:
    cycle = import_cycle(package)
    assert not cycle, " imports ".join(cycle)


def test_an_import_for_type_hints_only_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "circular"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("from circular import second\n")
    (package / "second.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from circular import first\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "circular", raising=False)
    assert set(import_cycle("circular")) == {"circular.first", "circular.second"}
