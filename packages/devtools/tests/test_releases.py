import pytest

from devtools import releases
from devtools.errors import UsageError
from devtools.releases import Release

KNOWN = [Release(0, 9, 0), Release(0, 10, 0)]


def test_the_sections_of_a_changelog_between_two_releases() -> None:
    text = (
        "# Changelog\n\n## [Unreleased]\n\n- u\n\n## [1.10.0] - d\n\n### Added\n\n- a\n\n"
        "### Upgrading\n\n- Do it.\n\n### Fixed\n\n- f\n\n## [1.9.0]\n\n- n\n\n## [1.2.0]\n\n- o\n"
    )
    found = list(releases.sections(text, Release(1, 2, 0), Release(1, 10, 0)))
    assert [each.splitlines()[0] for each in found] == ["## [1.10.0] - d", "## [1.9.0]"]
    assert [releases.to_do(each) for each in found] == ["- Do it.", ""]


@pytest.mark.parametrize("text", ["1.2", "v1.2.3rc1", "01.2.3", "1.2.3\n", ""])
def test_other_tags_are_no_releases(text: str) -> None:
    assert Release.parse(text) is None
    assert Release.parse("v1.2.3") == Release.parse("1.2.3") == Release(1, 2, 3)


def test_the_newest_is_taken_when_none_is_named() -> None:
    assert releases.chosen(KNOWN, "") == Release(0, 10, 0)
    assert releases.chosen(KNOWN, "v0.9.0") == Release(0, 9, 0)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("9.9.9", "There is no release 9.9.9; did you mean 0.9.0? There are 0.9.0 and 0.10.0."),
        ("latest", "latest is no release; they are named such as 0.10.0."),
    ],
)
def test_another_name_is_answered_with_those_there_are(name: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        releases.chosen(KNOWN, name)
    assert str(refused.value) == sentence
