import os
import re
import subprocess
import sys
from pathlib import Path

from pydantic_settings import BaseSettings

from devtools import env_example
from service_platform.events.settings import EventSettings
from service_platform.settings import PlatformSettings
from service_platform.webhooks import WebhookSettings


def test_the_file_says_what_the_settings_classes_say() -> None:
    assert env_example.FILE.read_text() == env_example.text(), "run ./dev fix"


def test_every_setting_is_there_once_and_explained() -> None:
    lines = env_example.text().splitlines()
    for name, field in PlatformSettings.model_fields.items():
        places = [at for at, line in enumerate(lines) if line.startswith(f"#{name.upper()}=")]
        assert len(places) == 1, name
        assert field.description, name
        assert field.description in lines[places[0] - 1], name


def test_every_heading_stands_before_a_setting_that_exists() -> None:
    # Those of jobs and webhooks are in the file where a service has some.
    known = {*EventSettings.model_fields, *WebhookSettings.model_fields}
    assert env_example.SECTIONS.keys() <= known


def test_with_every_line_taken_at_its_word_a_service_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    lines = env_example.text().splitlines()
    file.write_text("\n".join(re.sub(r"^#(?=[A-Z_]+=)", "", line) for line in lines))
    code = (
        "from service_platform.settings import PlatformSettings, load_settings;"
        "assert load_settings(PlatformSettings).port == 8000"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_default_is_a_secret_that_works_anywhere() -> None:
    assert issubclass(PlatformSettings, BaseSettings)
    assert "#SERVICE_CLIENT_SECRET=\n" in env_example.text() + "\n"


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".env.example"
    assert env_example.write(path) is True
    assert env_example.write(path) is False
