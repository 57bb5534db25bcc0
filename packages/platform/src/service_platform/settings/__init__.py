"""Settings of a service: environment variables, a `.env` file, or files of a secrets directory.

A service subclasses `PlatformSettings` with its own fields and calls `load_settings` once in its
`app.py`. The order is: arguments, secrets directory, environment, `.env`, defaults. Each subject
has a class and a module; together they are one flat set of variables.
"""

from service_platform.settings.database import DatabaseSettings, is_encrypted
from service_platform.settings.identity import IdentitySettings
from service_platform.settings.loading import EXIT_CONFIG, explain, load_settings
from service_platform.settings.rate_limits import RateLimitSettings
from service_platform.settings.redis import RedisSettings
from service_platform.settings.secret_keys import SecretKeySettings
from service_platform.settings.server import HttpSettings, ServerSettings
from service_platform.settings.service import Environment, ServiceSettings
from service_platform.settings.telemetry import TelemetrySettings
from service_platform.settings.value_types import LogLevel, SecretList, StringList


# pydantic takes the fields of the last base first.
class PlatformSettings(
    ServerSettings,
    TelemetrySettings,
    IdentitySettings,
    RateLimitSettings,
    HttpSettings,
    RedisSettings,
    DatabaseSettings,
    SecretKeySettings,
):
    """What every service can be told; field names in capitals are the variable names."""


__all__ = [
    "EXIT_CONFIG",
    "DatabaseSettings",
    "Environment",
    "HttpSettings",
    "IdentitySettings",
    "LogLevel",
    "PlatformSettings",
    "RateLimitSettings",
    "RedisSettings",
    "SecretKeySettings",
    "SecretList",
    "ServerSettings",
    "ServiceSettings",
    "StringList",
    "TelemetrySettings",
    "explain",
    "is_encrypted",
    "load_settings",
]
