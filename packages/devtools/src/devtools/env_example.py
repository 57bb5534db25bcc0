"""Writes `.env.example` from the settings classes, so that it never says anything else."""

import json
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from devtools.project import ROOT
from devtools.services import SERVICES
from service_platform.settings import PlatformSettings

FILE: Final = ROOT / ".env.example"

HEAD: Final = """\
# Every setting of the services, with its default. Copy this file to .env and take the # from what
# you change. Variables of the environment win over .env, files of SECRETS_DIR win over both.
#
# `./dev up` says PROJECT_NAME, PORT, WORKERS, DATABASE_URL and REDIS_URL to each service itself; a
# DATABASE_URL or REDIS_URL here names servers to use instead of those it starts.
#
# Written by `./dev fix` from the settings classes; a test compares it.
"""

SECTIONS: Final = {
    "environment": "The service",
    "secret_key": "Secrets",
    "database_url": "PostgreSQL",
    "redis_url": "Redis or Valkey",
    "cors_origins": "Browsers and proxies",
    "rate_limit_enabled": "Rate limits",
    "access_token_expire_minutes": "Identity",
    "log_level": "Logs and traces",
    "host": "Server",
    "events_batch_size": "Events between services",
    "jobs_in_service": "Jobs",
    "webhooks_allow_private": "Webhooks",
}
"""Headings, by the setting each stands before."""


def text() -> str:
    """The whole file."""
    parts = [HEAD]
    seen: set[str] = set()
    for title, settings_class in _classes():
        fields = {
            name: field for name, field in settings_class.model_fields.items() if name not in seen
        }
        seen |= fields.keys()
        if title and fields:
            parts.append(_heading(title))
        for name, field in fields.items():
            if name in SECTIONS:
                parts.append(_heading(SECTIONS[name]))
            parts.append(f"# {_explained(field)}\n#{name.upper()}={_shown(field)}\n")
    return "\n".join(parts)


def write(path: Path = FILE) -> bool:
    """Write the file; says whether anything was different."""
    wanted = text()
    if path.exists() and path.read_text(encoding="utf-8") == wanted:
        return False
    path.write_text(wanted, encoding="utf-8")
    return True


def _classes() -> Iterator[tuple[str, type[PlatformSettings]]]:
    """The platform's settings, what they were extended by on the way, then each service's own."""
    yield "", PlatformSettings
    for service in sorted(SERVICES, key=lambda service: service.name):
        for own in settings_classes(service.name):
            for between in reversed(own.__mro__[1:]):
                if issubclass(between, PlatformSettings) and between is not PlatformSettings:
                    yield "", between
            yield f"Only {service.name}", own


def settings_classes(service: str) -> list[type[PlatformSettings]]:
    """Find the settings classes that a service's module `settings` defines."""
    module = import_module(f"{service}.settings")
    return [
        own
        for own in vars(module).values()
        if isinstance(own, type)
        and issubclass(own, PlatformSettings)
        and own.__module__ == module.__name__
    ]


def _heading(title: str) -> str:
    return f"# --- {title} {'-' * (94 - len(title))}\n"


def _explained(field: FieldInfo) -> str:
    description = field.description or ""
    if choices := _choices(field.annotation):
        missing = [each for each in choices if each not in description]
        if missing:
            description += f" One of: {', '.join(choices)}."
    if limits := _limits(field):
        description += f" ({limits})"
    return description


def _limits(field: FieldInfo) -> str:
    low = next((each for each in field.metadata if isinstance(each, Ge | Gt)), None)
    high = next((each for each in field.metadata if isinstance(each, Le | Lt)), None)
    if low is None or high is None:
        return ""
    least = low.ge if isinstance(low, Ge) else low.gt
    most = high.le if isinstance(high, Le) else high.lt
    return f"{'' if isinstance(low, Ge) else 'more than '}{least} to {most}"


def _choices(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(each.value) for each in annotation]
    if get_origin(annotation) is not None and all(isinstance(x, str) for x in get_args(annotation)):
        return list(get_args(annotation))
    return []


def _shown(field: FieldInfo) -> str:
    """The default as it would be written into the file."""
    value = field.default
    if value is PydanticUndefined:
        value = field.default_factory() if field.default_factory else ""  # type: ignore[call-arg]
        if isinstance(value, int):  # what depends on the machine is left open
            value = None
    if value is None:  # empty is as if it were not there
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    text = str(value)
    return f'"{text}"' if " " in text else text


if __name__ == "__main__":
    write()
