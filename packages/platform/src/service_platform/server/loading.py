"""Finds the application factory that a command line names."""

import gc
from collections.abc import Callable
from importlib import import_module
from typing import cast

from service_platform.app import ServiceApp


class LoadError(Exception):
    """The application cannot be found; the message says why in one sentence."""


def load_factory(path: str) -> Callable[[], ServiceApp]:
    """Import `module:function`.

    Raises:
        LoadError: there is no such module or function.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise LoadError(f"{path!r} is not of the form module:function, as users.app:create_app is.")
    # What imports make stays: looking for garbage in it only takes time, now and ever after.
    gc.disable()
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise LoadError(f"There is no module {error.name!r}, which {path!r} needs.") from None
    finally:
        gc.freeze()
        gc.enable()
    factory = getattr(module, name, None)
    if not callable(factory):
        raise LoadError(f"The module {module_name!r} has no function {name!r}.")
    return cast("Callable[[], ServiceApp]", factory)
