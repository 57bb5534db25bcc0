"""The application factory of a command line: one that is not there is told in one sentence."""

import gc
from collections.abc import Callable

import pytest

from service_platform.server.loading import LoadError, load_factory


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nowhere.app:make", "There is no module 'nowhere'"),
        ("waiting:nothing", "The module 'waiting' has no function 'nothing'."),
        ("waiting", "is not of the form module:function"),
    ],
)
def test_an_application_that_is_not_there_is_told(
    said: Callable[..., str], path: str, sentence: str
) -> None:
    assert sentence in said(path, "--port", "0")


def test_a_factory_is_loaded_and_garbage_is_collected_again() -> None:
    assert load_factory("waiting:make").__name__ == "make"
    assert gc.isenabled()


@pytest.mark.parametrize("path", ["", ":", "waiting:", ":make", "waiting:HERE", "waiting:__doc__"])
def test_a_path_of_no_function_is_an_error(path: str) -> None:
    with pytest.raises(LoadError):
        load_factory(path)
