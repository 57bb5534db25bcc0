"""What can be done with profiles.

A profile is made by the event of its account's registration (`events.py`), or by the account's
first request when that comes earlier.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database, Reader
from service_platform.errors import Forbidden, NotFound, Unauthorized
from service_platform.etags import MatchCondition
from service_platform.identity import Principal
from users import repository
from users.repository import Record
from users.schemas import ProfileChange


class ProfileNotFound(NotFound):
    """There is no account with this id."""

    slug = "profile-not-found"
    title = "No such profile"
    default_message = "There is no profile with this id."


async def public_profile(reader: Reader, account_id: UUID) -> Record:
    """The profile of any account; raises `ProfileNotFound`."""
    profile = await repository.profile_of(reader, account_id)
    if profile is None:
        raise ProfileNotFound
    return profile


async def own_profile(database: Database, owner: Principal) -> Record:
    """The caller's profile, made from the token when it is not there yet.

    Raises:
        Forbidden: the token is a client's own.
        Unauthorized: the account was closed, though its token has not expired yet.
    """
    profile = await repository.profile_of(database.reader, owner.subject)
    if profile is None:
        await database.run(lambda session: _add_profile(session, owner))
        profile = await repository.profile_of(database.reader, owner.subject)
    if profile is None:
        raise _closed()
    return profile


async def change_own_profile(
    session: AsyncSession, owner: Principal, change: ProfileChange, condition: MatchCondition
) -> Record:
    """Change the caller's profile where the condition holds; without one the last change wins.

    Raises:
        PreconditionFailed: it is not what the client has seen.
        Forbidden, Unauthorized: as `own_profile`.
    """
    version = await repository.version_to_change(session, owner.subject)
    if version is None:
        await _add_profile(session, owner)
        version = await repository.version_to_change(session, owner.subject)
    if version is None:
        raise _closed()
    condition.require(version)
    return await repository.change_profile(session, owner.subject, change.given())


async def _add_profile(session: AsyncSession, owner: Principal) -> None:
    if owner.session_id is None or owner.email is None:
        raise Forbidden("A client has no profile: this needs the token of an account.")
    await repository.add_profile(session, owner.subject, owner.email, owner.name)


def _closed() -> Unauthorized:
    return Unauthorized("The account is closed.", error="invalid_token")
