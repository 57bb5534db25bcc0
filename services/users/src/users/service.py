"""Operations on profiles.

A profile is added by the event of its account's registration (`events.py`), or by the account's
first request when that comes earlier.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database, Reader
from service_platform.errors import Forbidden, NotFound, Unauthorized
from service_platform.etags import RequestPreconditions, etag_of
from service_platform.identity import Principal
from users import repository
from users.repository import ProfileRow
from users.schemas import ProfileUpdate


class ProfileNotFound(NotFound):
    """There is no account with this id."""

    slug = "profile-not-found"
    title = "No such profile"
    default_message = "There is no profile with this id."


async def read_profile(reader: Reader, account_id: UUID) -> ProfileRow:
    """Return the profile of any account; raises `ProfileNotFound`."""
    profile = await repository.profile_of(reader, account_id)
    if profile is None:
        raise ProfileNotFound
    return profile


async def read_own_profile(database: Database, owner: Principal) -> ProfileRow:
    """Return the caller's profile; it is added from the token when it does not exist yet.

    Raises:
        Forbidden: the token is a client's own.
        Unauthorized: the account was closed, though its token has not expired yet.
    """
    profile = await repository.profile_of(database.reader, owner.subject)
    if profile is None:
        await database.run(lambda session: _add_profile(session, owner))
        profile = await repository.profile_of(database.reader, owner.subject)
    if profile is None:
        raise _account_closed()
    return profile


async def update_own_profile(
    session: AsyncSession,
    owner: Principal,
    change: ProfileUpdate,
    preconditions: RequestPreconditions,
) -> ProfileRow:
    """Change the caller's profile; a change of nothing keeps its version.

    Raises:
        PreconditionFailed: it is not the version that the client has read.
        Forbidden, Unauthorized: as `read_own_profile`.
    """
    profile = await repository.profile_to_change(session, owner.subject)
    if profile is None:
        await _add_profile(session, owner)
        profile = await repository.profile_to_change(session, owner.subject)
    if profile is None:
        raise _account_closed()
    preconditions.check(etag_of(profile.version))
    values = change.changed_fields()
    if not values:
        return profile
    return await repository.update_profile(session, owner.subject, values)


async def _add_profile(session: AsyncSession, owner: Principal) -> None:
    if owner.session_id is None or owner.email is None:
        raise Forbidden("A client has no profile: this needs the token of an account.")
    await repository.add_profile(session, owner.subject, owner.email, owner.name)


def _account_closed() -> Unauthorized:
    return Unauthorized("The account is closed.", error="invalid_token")
