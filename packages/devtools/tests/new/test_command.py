"""What `./dev new` refuses before it makes anything."""

import pytest

from devtools.errors import UsageError
from devtools.new.command import read_entity
from devtools.project import ROOT


def test_a_service_cannot_have_the_name_of_a_folder_of_the_workspace() -> None:
    """`./dev remove` would take that folder for the service's."""
    with pytest.raises(UsageError, match="tests/e2e/telemetry is the workspace's"):
        read_entity("telemetry", [], None, ROOT)
