"""Starts that only a person can mend end with one sentence and status 78."""

import logging
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from service_platform.resources import Lifecycle, StartError
from service_platform.server.start_errors import report_start_error

RunServer = Callable[..., "CompletedProcess[str]"]


def test_what_only_a_person_can_mend_ends_the_start_at_once(run_server: RunServer) -> None:
    ended = run_server("waiting:make_broken", "--port", "0")
    assert ended.returncode == 78
    assert "The key does not fit: set the one that does.\n" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def end_with(lifecycle: Lifecycle, error: StartError | None) -> None:
    """End as uvicorn does whose application did not start."""
    with report_start_error(lifecycle):
        lifecycle.start_error = error
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("error", "status", "written"),
    [(StartError("Set the key."), 78, "Set the key.\n"), (None, 3, "")],
    ids=["start error", "another end"],
)
def test_a_start_error_becomes_its_message_and_status_78(
    capsys: pytest.CaptureFixture[str], error: StartError | None, status: int, written: str
) -> None:
    logger = logging.getLogger("uvicorn.error")
    filters = list(logger.filters)
    try:
        with pytest.raises(SystemExit) as ended:
            end_with(Lifecycle(()), error)
    finally:
        logger.filters[:] = filters
    assert ended.value.code == status
    assert capsys.readouterr().err == written
