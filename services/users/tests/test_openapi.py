"""The OpenAPI document of users; what holds for every service is in `tests/docs`."""

from users.app import create_app
from users.settings import UsersSettings


def test_operation_ids_stay() -> None:
    paths = create_app(UsersSettings(environment="test")).openapi()["paths"]
    ids = {each["operationId"] for methods in paths.values() for each in methods.values()}
    assert ids == {"read_own_profile", "update_own_profile", "list_profiles", "read_profile"}
