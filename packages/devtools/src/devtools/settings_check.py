"""`python -m devtools.settings_check users`: what is wrong in its settings, a line each."""

import sys

from pydantic import ValidationError

from devtools.env_example import settings_classes
from service_platform.settings import explain


def mistakes(service: str) -> list[str]:
    """Read the settings of a service from this environment; what is wrong with them."""
    found: dict[str, None] = {}
    for settings_class in settings_classes(service):
        try:
            settings_class()
        except ValidationError as error:
            found |= dict.fromkeys(explain(error.errors(include_url=False, include_input=False)))
        except Exception as error:  # noqa: BLE001 - as load_settings tells it
            found[f"{type(error).__name__}: cannot be read; compare it with .env.example"] = None
    return list(found)


if __name__ == "__main__":
    sys.stdout.write("\n".join(mistakes(sys.argv[1])))
