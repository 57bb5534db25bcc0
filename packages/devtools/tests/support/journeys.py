"""What the READMEs say to try by hand, and what they say it answers."""

import re
from typing import Final

from devtools.project import ROOT

README: Final = ROOT / "README.md"
OF_SERVICES: Final = sorted(ROOT.glob("services/*/README.md"))

_HEADING: Final = re.compile(r"^## (?:A first journey|Try it)$", re.MULTILINE)
_JOURNEY: Final = re.compile(
    r"^## (?:A first journey|Try it)\n(?:(?!^## ).)*?"
    r"^```sh\n(?P<commands>.*?)^```$(?:(?!^## ).)*?^```text\n(?P<answers>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def journeys() -> list[tuple[str, str]]:
    """Commands and their answers: those of README, then those of each service that has some."""
    found = []
    for path in (README, *OF_SERVICES):
        text = path.read_text("utf-8")
        if _HEADING.search(text):
            match = _JOURNEY.search(text)
            assert match, (
                f"{path}: below its heading belongs a block sh, and a block text behind it"
            )
            found.append((match["commands"], match["answers"]))
    return found


def require_answers(answers: str, output: str) -> None:
    """Check that lines stand in an output in this order; `…` in one is for anything."""
    at = 0
    for line in answers.splitlines():
        match = re.compile(re.escape(line).replace("…", ".*")).search(output, at)
        assert match, f"This was expected and not answered:\n{line}\nIn:\n{output[at:]}"
        at = match.end()
