"""Who can log in after `./dev seed`, where that was done."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

from devtools.state import State

ASK_SECONDS: Final = 3.0


@dataclass(slots=True)
class DemoLogins:
    """The accounts of `./dev seed`; whether they are there is looked up now and then."""

    _asked: float = field(default=float("-inf"), init=False)
    _there: bool = field(default=False, init=False)

    async def show(self, state: State) -> list[dict[str, Any]]:
        """Who can log in; nobody where the demo data is not there, or auth does not run."""
        if "auth" not in state.services or not state.postgres_url:
            return []
        if time.monotonic() - self._asked > ASK_SECONDS:
            self._asked = time.monotonic()
            self._there = await _is_there(state)
        return _logins() if self._there else []


def _logins() -> list[dict[str, Any]]:
    from devtools import seed  # noqa: PLC0415 - brings an HTTP client, for few who look

    ada = seed.PEOPLE[0].partition(" ")[0].lower()
    return [
        {"who": who, "email": f"{login}@{seed.DOMAIN}", "password": seed.PASSWORD}
        for who, login in (("admin", seed.ADMIN[0]), ("user", ada))
    ]


async def _is_there(state: State) -> bool:
    """Whether auth's database has the demo admin. To log in would be heard by rate limits."""
    import asyncpg  # noqa: PLC0415

    from devtools.addresses import url_of  # noqa: PLC0415
    from devtools.credentials import Credentials  # noqa: PLC0415
    from devtools.databases import DatabaseSetupError, connect  # noqa: PLC0415
    from devtools.services import AUTH  # noqa: PLC0415

    try:
        connection = await connect(url_of(AUTH, state.postgres_url, Credentials()))
    except DatabaseSetupError:
        return False
    try:
        email = _logins()[0]["email"]
        found = await connection.fetchval("SELECT true FROM accounts WHERE email = $1", email)
    except (asyncpg.PostgresError, OSError):
        return False
    finally:
        await connection.close()
    return bool(found)
