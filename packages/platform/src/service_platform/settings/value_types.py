"""Types of settings: lists and levels as people write them into one variable."""

from typing import Annotated, Literal

import orjson
from pydantic import BeforeValidator, SecretStr
from pydantic_settings import NoDecode


def _split_list(value: object) -> object:
    """Split a comma-separated list; a JSON array is read as such."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        return orjson.loads(text)
    return [part.strip() for part in text.split(",") if part.strip()]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


StringList = Annotated[list[str], NoDecode, BeforeValidator(_split_list)]
SecretList = Annotated[list[SecretStr], NoDecode, BeforeValidator(_split_list)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
]
