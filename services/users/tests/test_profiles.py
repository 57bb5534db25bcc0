"""Profiles: the own one, the public part, the list for admins."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import delete, text

from service_platform.database import Database
from service_platform.events import Message
from service_platform.events.accounts import AccountClosed
from service_platform.ids import new_id
from service_testing.tokens import TestTokens
from users.events import erase_profile
from users.models import ClosedAccount, Profile

USERS = "/api/v1/users"
ME = f"{USERS}/me"


async def test_the_profile_is_there_from_the_first_request_on(
    client: AsyncClient, tokens: TestTokens
) -> None:
    account = new_id()
    headers = tokens.headers(account, email="ada@example.com", name="Ada Lovelace")
    answer = await client.get(ME, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"1"'
    profile = answer.json()
    assert set(profile) == {
        "id", "email", "full_name", "bio", "avatar_url", "locale", "created_at", "updated_at",
    }  # fmt: skip
    assert (profile["id"], profile["email"]) == (str(account), "ada@example.com")
    assert (profile["full_name"], profile["bio"]) == ("Ada Lovelace", None)
    assert (await client.get(ME, headers=headers)).json() == profile


async def test_a_known_profile_is_read_by_one_statement(
    client: AsyncClient, tokens: TestTokens, sql_log: Any
) -> None:
    headers = tokens.headers()
    await client.get(ME, headers=headers)
    sql_log.clear()
    assert (await client.get(ME, headers=headers)).status_code == 200
    reads = [each for each in sql_log.statements() if "profiles" in each]
    assert len(reads) == 1


async def test_a_change_touches_only_what_it_names(client: AsyncClient, tokens: TestTokens) -> None:
    headers = tokens.headers(name="Ada")
    change = {"bio": "Line\nline", "avatar_url": "https://example.com/a.png", "locale": "de-CH"}
    changed = await client.patch(ME, json=change, headers=headers)
    assert changed.status_code == 200
    assert changed.headers["etag"] == '"2"'
    profile = (await client.get(ME, headers=headers)).json()
    assert profile == changed.json()
    assert profile["full_name"] == "Ada"
    assert {name: profile[name] for name in change} == change
    cleared = await client.patch(ME, json={"bio": None}, headers=headers)
    assert (cleared.json()["bio"], cleared.json()["locale"]) == (None, "de-CH")


async def test_a_change_that_says_nothing_changes_nothing(
    client: AsyncClient, tokens: TestTokens
) -> None:
    headers = tokens.headers()
    before = await client.get(ME, headers=headers)
    same = await client.patch(ME, json={}, headers=headers)
    assert same.status_code == 200
    assert (same.headers["etag"], same.json()) == (before.headers["etag"], before.json())


async def test_a_change_of_what_has_changed_meanwhile_is_refused(
    client: AsyncClient, tokens: TestTokens
) -> None:
    headers = tokens.headers()
    seen = {**headers, "if-match": (await client.get(ME, headers=headers)).headers["etag"]}
    assert (await client.patch(ME, json={"bio": "1"}, headers=seen)).status_code == 200
    stale = await client.patch(ME, json={"bio": "2"}, headers=seen)
    assert (stale.status_code, stale.json()["error"]) == (412, "precondition_failed")
    current = await client.get(ME, headers=headers)
    assert current.json()["bio"] == "1"
    again = await client.get(ME, headers={**headers, "if-none-match": current.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"full_name": ""}, "full_name"),
        ({"full_name": "a\x00"}, "full_name"),
        ({"full_name": "x" * 201}, "full_name"),
        ({"bio": "\x1b[2J"}, "bio"),
        ({"bio": "x" * 1_001}, "bio"),
        ({"avatar_url": "http://example.com/a.png"}, "avatar_url"),
        ({"avatar_url": "javascript:alert(1)"}, "avatar_url"),
        ({"avatar_url": "https:///a.png"}, "avatar_url"),
        ({"avatar_url": "https://[::1"}, "avatar_url"),
        ({"avatar_url": "https://user:secret@example.com/"}, "avatar_url"),
        ({"locale": "english please"}, "locale"),
        ({"email": "eve@example.com"}, "email"),
        ({"id": "01a20a18-1754-7618-bce7-f4d3b9cc0000"}, "id"),
    ],
    ids=lambda value: str(value)[:40].encode("unicode_escape").decode(),
)
async def test_a_wrong_member_is_named_and_its_value_not_repeated(
    client: AsyncClient, tokens: TestTokens, change: dict[str, Any], wrong: str
) -> None:
    answer = await client.patch(ME, json=change, headers=tokens.headers())
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["details"]] == [f"body.{wrong}"]
    value = str(next(iter(change.values())))
    assert len(value) < 4 or value not in answer.text


async def test_others_see_the_public_part(client: AsyncClient, tokens: TestTokens) -> None:
    ada = new_id()
    await client.get(ME, headers=tokens.headers(ada, name="Ada"))
    seen = await client.get(f"{USERS}/{ada}", headers=tokens.headers())
    assert seen.status_code == 200
    assert set(seen.json()) == {"id", "full_name", "bio", "avatar_url", "created_at"}
    assert seen.json()["full_name"] == "Ada"


async def test_nobody_else_is_found(client: AsyncClient, tokens: TestTokens) -> None:
    answer = await client.get(f"{USERS}/{new_id()}", headers=tokens.headers())
    assert (answer.status_code, answer.json()["error"]) == (404, "profile_not_found")


async def test_a_closed_account_does_not_come_back(
    client: AsyncClient, tokens: TestTokens, database: Database
) -> None:
    account = new_id()
    async with database.session() as session:
        session.add(ClosedAccount(account_id=account))
        await session.commit()
    headers = tokens.headers(account)
    assert (await client.get(ME, headers=headers)).status_code == 401
    assert (await client.patch(ME, json={"bio": "b"}, headers=headers)).status_code == 401


@pytest.mark.parametrize("change", [False, True])
async def test_a_request_under_way_does_not_bring_a_closing_account_back(
    client: AsyncClient, tokens: TestTokens, database: Database, *, change: bool
) -> None:
    account = new_id()
    headers = tokens.headers(account)
    closed = Message(
        new_id(), "auth", 1, datetime.now(UTC), None, None, AccountClosed(account_id=account)
    )
    async with database.session() as closing, asyncio.TaskGroup() as group:
        await erase_profile(closing, closed)
        call = client.patch(ME, json={"bio": "b"}, headers=headers) if change else None
        answer = group.create_task(call or client.get(ME, headers=headers))
        async with asyncio.timeout(5):
            while not answer.done() and not await locks_waited_for(database):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await closing.commit()
    assert answer.result().status_code == 401
    async with database.session() as session:
        assert await session.get(Profile, account) is None


async def locks_waited_for(database: Database) -> int:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with database.session() as session:
        return int(await session.scalar(waiting) or 0)


async def test_a_client_has_no_profile(client: AsyncClient, tokens: TestTokens) -> None:
    own_token = tokens.headers(sid=None, email=None, name=None)
    assert (await client.get(ME, headers=own_token)).status_code == 403


async def test_reading_and_writing_need_their_scopes(
    client: AsyncClient, tokens: TestTokens
) -> None:
    assert (await client.get(ME)).status_code == 401
    assert (await client.patch(ME, json={})).status_code == 401
    for scope, method, path in (
        ("users:write", "GET", ME),
        ("users:read", "PATCH", ME),
        ("users:write", "GET", f"{USERS}/{new_id()}"),
    ):
        answer = await client.request(
            method, path, json={} if method == "PATCH" else None,
            headers=tokens.headers(scopes=[scope]),
        )  # fmt: skip
        assert answer.status_code == 403, (scope, method)


async def test_admins_find_people_by_name_and_address(
    client: AsyncClient, tokens: TestTokens, database: Database
) -> None:
    async with database.session() as session:
        await session.execute(delete(Profile))  # those of the tests before
        await session.commit()
    people = [
        ("ada@example.com", "Ada Lovelace"),
        ("grace@navy.example", "Grace Hopper"),
        ("adam@example.org", None),
    ]
    for email, name in people:
        await client.get(ME, headers=tokens.headers(email=email, name=name))
    admin = tokens.headers(roles=["admin"])

    async def found(**query: Any) -> list[str]:
        answer = await client.get(USERS, params=query, headers=admin)
        assert answer.status_code == 200
        return [profile["email"] for profile in answer.json()["items"]]

    assert await found() == ["adam@example.org", "grace@navy.example", "ada@example.com"]
    assert await found(q="ADA") == ["adam@example.org", "ada@example.com"]
    assert await found(q="ada love") == ["ada@example.com"]
    assert await found(q="grace@navy") == ["grace@navy.example"]
    first = (await client.get(USERS, params={"limit": 2}, headers=admin)).json()
    assert await found(limit=2, cursor=first["next_cursor"]) == ["ada@example.com"]


async def test_only_admins_list_profiles(client: AsyncClient, tokens: TestTokens) -> None:
    assert (await client.get(USERS)).status_code == 401
    assert (await client.get(USERS, headers=tokens.headers())).status_code == 403


@pytest.mark.parametrize(
    ("conditions", "read", "changed"),
    [
        ({"if-match": '"1"'}, 200, 200),
        ({"if-match": "*"}, 200, 200),
        ({"if-match": '"2"'}, 412, 412),
        ({"if-none-match": '"2"'}, 200, 200),
        ({"if-none-match": '"1"'}, 304, 412),
        ({"if-none-match": "*"}, 304, 412),
        ({"if-match": '"2"', "if-none-match": '"1"'}, 412, 412),
    ],
)
async def test_preconditions_count_for_reads_and_changes(
    client: AsyncClient,
    tokens: TestTokens,
    conditions: dict[str, str],
    read: int,
    changed: int,
) -> None:
    account = new_id()
    mine = tokens.headers(account)
    await client.get(ME, headers=mine)
    headers = {**mine, **conditions}
    for path in (ME, f"{USERS}/{account}"):
        for method in ("GET", "HEAD"):
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == read
            assert answer.headers.get("etag") == (None if read == 412 else '"1"')
    answer = await client.patch(ME, json={"bio": "new"}, headers=headers)
    assert answer.status_code == changed
    now = await client.get(ME, headers=mine)
    assert now.json()["bio"] == ("new" if changed == 200 else None)


async def test_a_list_exists_and_has_no_etag(client: AsyncClient, tokens: TestTokens) -> None:
    admin = tokens.headers(roles=["admin"])
    for conditions, expected in (
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"1"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"1"'}, 412),
    ):
        answer = await client.get(USERS, headers={**admin, **conditions})
        assert answer.status_code == expected
