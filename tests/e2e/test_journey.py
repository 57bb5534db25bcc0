"""What people do with the system, from registration to erasure."""

from typing import Any

from httpx2 import AsyncClient
from tests.e2e.answers import assert_problem, eventually
from tests.e2e.operations import OWN_PATHS
from tests.e2e.people import PASSWORD, Person, new_person
from tests.e2e.system import StartedSystem, System


async def test_from_registration_to_a_changed_profile(
    http: AsyncClient, system: System, eve: Person
) -> None:
    ada = Person(http, system)
    registered = await ada.register()
    assert registered.status_code == 201
    assert set(registered.json()) == {
        "id", "email", "full_name", "roles", "is_active", "created_at",
    }  # fmt: skip
    assert (await ada.register()).status_code == 409

    login = await ada.log_in()
    assert login.status_code == 200
    assert login.headers["cache-control"] == "no-store"
    assert login.json()["token_type"].lower() == "bearer"
    assert login.json()["expires_in"] > 0

    read = await ada.send("users", "GET", "/users/me")
    etag = read.headers["etag"]
    assert read.json()["id"] == registered.json()["id"]
    known = await ada.send("users", "GET", "/users/me", {"if-none-match": etag})
    assert (known.status_code, known.content) == (304, b"")

    new = {"bio": "Numbers", "locale": "en-GB"}
    changed = await ada.send("users", "PATCH", "/users/me", {"if-match": etag}, json=new)
    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in new} == new
    assert changed.headers["etag"] != etag
    stale = await ada.send("users", "PATCH", "/users/me", {"if-match": etag}, json={"bio": "-"})
    assert_problem(stale, 412)
    again = await ada.send("users", "GET", "/users/me")
    assert again.json() == changed.json()
    assert again.headers["etag"] == changed.headers["etag"]

    assert (await eve.send("users", "GET", "/users/me")).json()["bio"] is None
    assert (await eve.send("auth", "GET", "/auth/accounts")).status_code == 403


async def test_an_admin_reads_profiles_page_by_page(
    http: AsyncClient, started: StartedSystem, ada: Person, eve: Person
) -> None:
    admin = await new_person(http, started)
    await started.command("grant-admin", admin.email)
    assert (await admin.log_in()).status_code == 200
    people = [ada, eve, admin]
    for person in people:
        assert (await person.send("users", "GET", "/users/me")).status_code == 200
    ids: list[str] = []
    cursor = ""
    for _ in range(2):
        page = (await admin.send("users", "GET", f"/users?limit=2{cursor}")).json()
        assert len(page["items"]) == 2
        ids += [profile["id"] for profile in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert ids[:3] == [person.account["id"] for person in reversed(people)]
    assert len(set(ids)) == 4


async def test_a_profile_is_there_at_once_and_keeps_its_changes(ada: Person, eve: Person) -> None:
    profile = await ada.send("users", "GET", "/users/me")
    assert profile.status_code == 200
    assert profile.json()["id"] == ada.account["id"]
    assert profile.json()["email"] == ada.account["email"]
    assert profile.json()["full_name"] == "Ada Lovelace"
    seen = {"if-match": profile.headers["etag"]}
    changed = await ada.send("users", "PATCH", "/users/me", json={"bio": "Numbers"})
    assert changed.json()["bio"] == "Numbers"
    stale = await ada.send("users", "PATCH", "/users/me", seen, json={"bio": "Poems"})
    assert stale.status_code == 412
    public = (await eve.send("users", "GET", f"/users/{ada.account['id']}")).json()
    assert public["bio"] == "Numbers"
    assert "email" not in public
    assert (await eve.send("users", "GET", "/users")).status_code == 403


async def test_a_login_goes_on_by_refreshing(ada: Person) -> None:
    first = dict(ada.tokens)
    assert (await ada.refresh()).status_code == 200
    assert ada.tokens["refresh_token"] != first["refresh_token"]
    for service, path in OWN_PATHS.items():
        assert (await ada.send(service, "GET", path)).status_code == 200


async def test_a_wrong_password_and_an_unknown_address_look_the_same(
    ada: Person, http: AsyncClient, system: System
) -> None:
    answers = [
        await http.post(
            system.api("auth", "/auth/token"),
            data={"grant_type": "password", "username": name, "password": "not it at all"},
        )
        for name in (ada.email, f"nobody-{ada.email}")
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["error"] == "invalid_grant"


async def test_an_ended_session_is_refused_by_every_service(ada: Person) -> None:
    assert (await ada.send("auth", "DELETE", "/auth/sessions")).status_code == 204
    for service, path in OWN_PATHS.items():
        await eventually(ada, service, path, 401)
    assert (await ada.refresh()).json()["error"] == "invalid_grant"


async def test_erasing_an_account_erases_its_profile_and_ends_its_tokens(
    ada: Person, eve: Person
) -> None:
    await ada.send("users", "GET", "/users/me")
    public = f"/users/{ada.account['id']}"
    assert (await eve.send("users", "GET", public)).status_code == 200
    assert (await ada.send("auth", "DELETE", "/auth/me")).status_code == 204
    await eventually(eve, "users", public, 404)
    for service, path in OWN_PATHS.items():
        await eventually(ada, service, path, 401)
    again: dict[str, Any] = (await ada.log_in()).json()
    assert again["error"] == "invalid_grant"
    assert PASSWORD not in str(again)
