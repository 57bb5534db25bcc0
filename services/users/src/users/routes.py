"""The HTTP API of profiles."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from service_platform.database.session import DbReader, DbSession, TheDatabase
from service_platform.errors import InvalidCursor, responses
from service_platform.etags import (
    NOT_MODIFIED_RESPONSE,
    PRECONDITION_RESPONSES,
    READ_RESPONSES,
    UPDATE_RESPONSES,
    Preconditions,
    etag_of,
)
from service_platform.pagination import KeysetPage, PageQuery
from service_platform.text import SearchText
from users import repository, service
from users.dependencies import Admin, ProfileReader, ProfileWriter
from users.repository import ProfileRow
from users.schemas import ProfilePage, ProfileRead, ProfileUpdate, PublicProfileRead
from users.service import ProfileNotFound

router = APIRouter(prefix="/users", tags=["users"])


@router.get(
    "/me",
    summary="Get the profile of the caller",
    response_model=ProfileRead,
    responses=READ_RESPONSES,
)
async def read_own_profile(
    owner: ProfileReader, database: TheDatabase, preconditions: Preconditions
) -> ProfileRow:
    """Return the profile of the caller; it exists from the first request on."""
    profile = await service.read_own_profile(database, owner)
    etag = etag_of(profile.version)
    preconditions.check(etag)
    preconditions.tag(etag)
    return profile


@router.patch(
    "/me",
    summary="Update the profile of the caller",
    response_model=ProfileRead,
    responses=UPDATE_RESPONSES,
)
async def update_own_profile(
    change: ProfileUpdate, owner: ProfileWriter, session: DbSession, preconditions: Preconditions
) -> ProfileRow:
    """Change the profile; with `If-Match` only if nobody has changed it meanwhile."""
    profile = await service.update_own_profile(session, owner, change, preconditions)
    preconditions.tag(etag_of(profile.version))
    return profile


@router.get(
    "",
    summary="List profiles, the newest accounts first",
    response_model=ProfilePage,
    responses={**PRECONDITION_RESPONSES, **NOT_MODIFIED_RESPONSE, **responses(InvalidCursor)},
)
async def list_profiles(
    _: Admin,
    page: PageQuery,
    reader: DbReader,
    preconditions: Preconditions,
    q: Annotated[
        SearchText | None,
        Query(
            description="Search text: every word must begin a word of name or address.",
            openapi_examples={"word": {"value": "ada"}},
        ),
    ] = None,
) -> KeysetPage[ProfileRow]:
    """List all profiles, page by page; for admins.

    A list has no `ETag`: of preconditions only `*` matches it.
    """
    preconditions.check(None)
    return await repository.page_of_profiles(reader, page, q)


@router.get(
    "/{account_id}",
    summary="Get the public part of a profile",
    response_model=PublicProfileRead,
    responses={**READ_RESPONSES, **responses(ProfileNotFound)},
)
async def read_profile(
    account_id: Annotated[UUID, Path(description="The `id` of the account.")],
    _: ProfileReader,
    reader: DbReader,
    preconditions: Preconditions,
) -> ProfileRow:
    """Return what any account may read of another one."""
    profile = await service.read_profile(reader, account_id)
    etag = etag_of(profile.version)
    preconditions.check(etag)
    preconditions.tag(etag)
    return profile
