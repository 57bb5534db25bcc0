"""Scopes and roles of a principal."""

from service_platform.identity import Principal
from service_platform.ids import new_id

PRINCIPAL = Principal(
    subject=new_id(),
    client_id="tests",
    scopes=frozenset({"users:read"}),
    roles=frozenset({"admin"}),
    session_id=None,
    token_id="1",
    expires_at=0,
)


def test_a_scope_is_no_role_and_a_role_no_scope() -> None:
    assert PRINCIPAL.has_scope("users:read")
    assert not PRINCIPAL.has_scope("users:write")
    assert not PRINCIPAL.has_scope("admin")
    assert PRINCIPAL.has_role("admin")
    assert not PRINCIPAL.has_role("users:read")
