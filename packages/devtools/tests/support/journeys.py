"""What the READMEs say to try by hand, and what they say it answers."""

import re
from typing import Final

from devtools.project import ROOT

README: Final = ROOT / "README.md"
OF_SERVICES: Final = sorted(ROOT.glob("services/*/README.md"))

_JOURNEY: Final = re.compile(
    r"^## (?:A first journey|Try it)\n(?:(?!^## ).)*?"
    r"^```sh\n(?P<commands>.*?)^```$(?:(?!^## ).)*?^```text\n(?P<answers>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def journeys() -> list[tuple[str, str]]:
    """Commands and their answers: those of README, then those of each service that has some."""
    texts = [path.read_text("utf-8") for path in (README, *OF_SERVICES)]
    found = [_JOURNEY.search(text) for text in texts]
    return [(each["commands"], each["answers"]) for each in found if each]


def require_answers(answers: str, output: str) -> None:
    """Check that lines stand in an output in this order; `…` in one is for anything."""
    at = 0
    for line in answers.splitlines():
        match = re.compile(re.escape(line).replace("…", ".*")).search(output, at)
        assert match, f"This was expected and not answered:\n{line}\nIn:\n{output[at:]}"
        at = match.end()
