import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from devtools import names
from devtools.errors import CommandError
from devtools.names import Text
from devtools.project import ROOT
from devtools.rename import contents, name_of, renamed
from devtools.workspace import Workspace, problem, read, workspace

NEW = Workspace("A Company's Shop", "a-companys-shop", "shop.example")


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return contents(ROOT)


def applied(files: Mapping[str, str], new: Workspace) -> dict[str, str]:
    return {**files, **renamed(files, read(files[names.DECLARATION]), new)}


def test_every_place_has_the_declared_name(files: dict[str, str]) -> None:
    assert names.unfound(files, workspace()) == []


@pytest.mark.parametrize(
    ("place", "text"),
    [(place, text) for place in names.PLACES for text in place.texts],
    ids=lambda each: getattr(each, "files", None) or each.template,
)
def test_every_text_is_somewhere_in_its_place(
    files: dict[str, str], place: names.Place, text: Text
) -> None:
    of_place = {path: content for path, content in files.items() if Path(path).match(place.files)}
    assert any(text.replaced(each, workspace(), NEW)[1] for each in of_place.values())


def test_all_have_the_new_name_and_none_the_old(files: dict[str, str]) -> None:
    old, now = workspace(), applied(files, NEW)
    assert names.unfound(now, NEW) == []
    assert tomllib.loads(now["pyproject.toml"])["tool"]["workspace"]["name"] == NEW.name
    assert now["README.md"].startswith(f"# {NEW.title}\n")
    production = now["infra/k8s/overlays/production/kustomization.yaml"]
    assert f"namespace: {NEW.name}\n" in production
    assert f"PROBLEM_TYPE_BASE_URL=https://{NEW.api_host}/problems" in production
    dev = now["infra/k8s/overlays/dev/kustomization.yaml"]
    for text in (old.api_host, f" {old.image('')}", f": {old.namespace}\n", old.dev_namespace):
        assert text not in f"{production}{dev}"


def test_renaming_again_changes_nothing_and_renaming_back_restores_every_byte(
    files: dict[str, str],
) -> None:
    now = applied(files, NEW)
    assert renamed(now, NEW, NEW) == {}
    assert applied(now, workspace()) == files


def test_only_lines_with_the_name_change(files: dict[str, str]) -> None:
    now, told = applied(files, NEW), dataclasses.astuple(workspace())[:3]
    for path, content in files.items():
        for before, after in zip(content.splitlines(), now[path].splitlines(), strict=True):
            if before != after:
                assert any(each in before for each in told), (path, before)


def test_the_name_of_folders_is_left_alone() -> None:
    text = "`services/items/src`; kubectl -n services-dev get pods; kubectl -n services get pods"
    old = Workspace("T", "services", "example.com")
    operate = names.renamed({"docs/operate.md": text}, old, NEW)["docs/operate.md"]
    assert operate == text.replace("-n services", f"-n {NEW.name}")


def test_a_declaration_keeps_its_comments_and_what_else_it_says() -> None:
    text = (
        '[project]\nname = "services"\n\n[tool.workspace]\ntitle = "T"\nname = "services" # why\n'
        'domain = "example.com"\nupstream = "u"\n\n[tool.uv]\nname = "services"\n'
    )
    wanted = text.replace('"T"', f'"{NEW.title}"').replace("example.com", NEW.domain)
    wanted = wanted.replace('"services" # why', f'"{NEW.name}" # why')
    assert names.declared(text, NEW) == wanted


def test_a_declaration_in_another_form_is_refused() -> None:
    text = "[tool.workspace]\ntitle = 'T'\nname = 'services'\ndomain = 'example.com'\n"
    with pytest.raises(CommandError, match="each on a line of its own"):
        names.declared(text, NEW)


def test_a_file_without_the_name_is_told_and_nothing_is_changed(files: dict[str, str]) -> None:
    changed = {**files, "Tiltfile": files["Tiltfile"].replace("WORKSPACE = ", "NAME = ")}
    with pytest.raises(CommandError, match=r"Tiltfile should have .* so nothing was changed"):
        renamed(changed, workspace(), NEW)


def test_a_file_that_was_deleted_is_not_missed(files: dict[str, str]) -> None:
    left = {path: content for path, content in files.items() if path != "Tiltfile"}
    assert renamed(left, workspace(), NEW)


@pytest.mark.parametrize(
    ("title", "name"),
    [("Acme Shop", "acme-shop"), ("Café  №1!", "cafe-no1"), ("  x ", "x"), ("東京", "")],
)
def test_a_name_is_made_of_a_title(title: str, name: str) -> None:
    assert name_of(title) == name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("title", ""),
        ("title", 'a"b'),
        ("title", "a\nb"),
        ("title", " a"),
        ("title", "a\\"),
        ("name", ""),
        ("name", "Acme"),
        ("name", "acme--shop"),
        ("name", "acme-"),
        ("name", "1acme"),
        ("name", "default"),
        ("name", "kube-system"),
        ("name", "a" * 41),
        ("name", "acme\n"),
        ("domain", "acme"),
        ("domain", "https://acme.example"),
        ("domain", "acme.example/x"),
        ("domain", "-acme.example"),
        ("domain", "acme.example\n"),
    ],
)
def test_a_value_that_could_not_stand_where_it_must_is_refused(key: str, value: str) -> None:
    assert problem(dataclasses.replace(NEW, **{key: value})).startswith(f"the {key} ")
    assert problem(NEW) == ""


@pytest.mark.parametrize(
    "table",
    [
        "",
        'name = "a"\ndomain = "a.example"',
        'title = "A"\nname = "a"\ndomain = "a.example"\ncolour = "red"',
        'title = "A"\nname = "a"\ndomain = 1',
    ],
)
def test_an_incomplete_declaration_is_told(table: str) -> None:
    with pytest.raises(CommandError, match="must have title, name and domain"):
        read(f"[tool.workspace]\n{table}\n")
