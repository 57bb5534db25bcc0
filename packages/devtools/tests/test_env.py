import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from devtools.env import quoted


@pytest.mark.parametrize(
    "value", ["", "plain", "a b", "$HOME `x`", "a\\b", 'it\'s "so"', 'say "it"', "{[1]}", "a#b"]
)
def test_a_quoted_value_is_the_same_in_a_shell_and_in_a_dotenv_file(
    value: str, tmp_path: Path
) -> None:
    line = f"export NAME={quoted(value)}\n"
    (tmp_path / ".env").write_text(line)
    assert dotenv_values(tmp_path / ".env") == {"NAME": value}
    command = ["/bin/sh", "-c", f'{line}printf %s "$NAME"']
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == value
