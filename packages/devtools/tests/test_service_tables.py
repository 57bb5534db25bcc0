from pathlib import Path

import pytest

from devtools.project import ROOT
from devtools.service_tables import BEGIN, END, HEAD, TableError, tables
from service_testing.declarations import Declaration, declarations

ORDERS = Declaration(name="orders", description="Orders | lines of \\1 thing", port=8007)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    return tmp_path


def test_tables_are_written_where_they_are_marked(root: Path) -> None:
    before, after = "# Read me\n\n", "\nMore of it.\n"
    for name in ("README.md", "docs/deep/page.md"):
        (root / name).write_text(f"{before}{BEGIN}\nan older one\n{END}\n{after}")
    (root / "docs" / "other.md").write_text(f"A table stands between `{BEGIN}` and `{END}`.\n")
    row = (
        "| [orders]({0}services/orders) | Orders \\| lines of \\1 thing | http://localhost:8007 "
        "| http://localhost:8007/docs, [OpenAPI]({0}docs/api/orders.json) |\n"
    )
    assert tables([ORDERS], root) == {
        root / name: f"{before}{BEGIN}\n{HEAD}{row.format(up)}{END}\n{after}"
        for name, up in (("README.md", ""), ("docs/deep/page.md", "../../"))
    }


@pytest.mark.parametrize("text", [f"{BEGIN}\n", f"{END}\n", f"{BEGIN}\n{END}\n{END}\n"])
def test_a_table_without_an_end_is_refused(root: Path, text: str) -> None:
    (root / "docs" / "page.md").write_text(text)
    with pytest.raises(TableError, match=r"^docs/page\.md: put the table between"):
        tables([ORDERS], root)


def test_the_tables_of_this_workspace_are_right() -> None:
    written = tables(declarations(ROOT))
    assert ROOT / "README.md" in written
    assert [path for path, text in written.items() if path.read_text("utf-8") != text] == []
