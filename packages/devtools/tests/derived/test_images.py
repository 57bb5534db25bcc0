"""An overlay has an image for each service, and what a release wrote stays."""

import pytest
import yaml  # type: ignore[import-untyped]

from devtools.derived.images import with_images
from devtools.errors import CommandError

HEAD = "# About it.\nnamespace: services\n# By digest.\n"
RELEASED = """\
images:
  - name: services/auth
    newName: eu.registry/services/auth
    digest: sha256:1111111111111111111111111111111111111111111111111111111111111111
  - name: postgres
    newTag: "18"
"""
TAIL = "patches:\n  - path: x.yaml\n"
NEW = {"services/auth": {"newTag": "dev"}, "services/orders": {"newTag": "dev"}}


def test_an_entry_is_added_and_the_released_one_is_kept() -> None:
    text = with_images(HEAD + RELEASED + TAIL, NEW, prefix="services/", place="x")
    assert text.startswith(HEAD)
    assert text.endswith(TAIL)
    auth, orders, postgres = yaml.safe_load(text)["images"]
    assert auth["digest"] == f"sha256:{'1' * 64}"
    assert auth["newName"] == "eu.registry/services/auth"
    assert orders == {"name": "services/orders", "newTag": "dev"}
    assert postgres == {"name": "postgres", "newTag": "18"}


def test_the_entry_of_a_service_that_is_gone_is_removed() -> None:
    text = with_images(HEAD + RELEASED, {}, prefix="services/", place="x")
    assert [each["name"] for each in yaml.safe_load(text)["images"]] == ["postgres"]


def test_a_list_that_is_right_stays_byte_for_byte() -> None:
    text = HEAD + RELEASED + TAIL
    assert with_images(text, {"services/auth": {}}, prefix="services/", place="x") == text


def test_a_file_without_images_is_told() -> None:
    with pytest.raises(CommandError, match=r"^overlays/x has no list of images"):
        with_images(HEAD, NEW, prefix="services/", place="overlays/x")
