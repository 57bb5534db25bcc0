"""`docs/add-a-service.md` has every type of fields, and its commands are understood."""

import re
import shlex
from itertools import pairwise

from devtools.new.fields import KINDS, read_fields
from devtools.project import ROOT

PAGE = (ROOT / "docs" / "add-a-service.md").read_text("utf-8")


def test_every_type_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`.+?`(?:, `.+?`)*) \|.*\|.*\|.*\|$", PAGE, re.MULTILINE)
    types = {name.strip("`") for row in rows for name in row.split(", ")}
    assert types == {*KINDS, r"draft\|sent\|paid"}


def test_the_fields_of_its_commands_are_read() -> None:
    commands = [shlex.split(line) for line in re.findall(r"^\./dev new .*$", PAGE, re.MULTILINE)]
    fields = [
        [word for before, word in pairwise(command) if before == "--field"] for command in commands
    ]
    assert [len(read_fields(each)) for each in fields] == [4, 2]
