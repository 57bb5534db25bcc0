"""The HTTP API of profiles."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from service_platform.database.session import DbReader, DbSession, TheDatabase
from service_platform.errors import BadRequest, InvalidCursor, PreconditionFailed, responses
from service_platform.etags import IfMatch, IfNoneMatch, etag_for
from service_platform.pagination import KeysetPage, Page, PageQuery
from service_platform.text import OneLine
from users import repository, service
from users.dependencies import Admin, ProfileReader, ProfileWriter
from users.repository import Record
from users.schemas import ProfileChange, ProfileView, PublicProfile
from users.service import ProfileNotFound

router = APIRouter(prefix="/users", tags=["users"])

ETAG = {"ETag": {"description": "Version of the profile.", "schema": {"type": "string"}}}


@router.get(
    "/me",
    summary="The profile of the caller",
    response_model=ProfileView,
    responses={200: {"headers": ETAG}, 304: {"description": "The client has this version."}},
)
async def read_own_profile(
    owner: ProfileReader, database: TheDatabase, known: IfNoneMatch
) -> Response:
    """The profile of the caller; it is there from the first request on."""
    profile = await service.own_profile(database, owner)
    return known.not_modified(etag_for(profile.version)) or _answer(profile)


@router.patch(
    "/me",
    summary="Change the profile of the caller",
    response_model=ProfileView,
    responses={200: {"headers": ETAG}, **responses(BadRequest, PreconditionFailed)},
)
async def change_own_profile(
    change: ProfileChange, owner: ProfileWriter, session: DbSession, condition: IfMatch
) -> Response:
    """Change the profile; with `If-Match` only if nobody has changed it meanwhile."""
    return _answer(await service.change_own_profile(session, owner, change, condition))


@router.get(
    "",
    summary="Profiles, the newest accounts first",
    response_model=Page[ProfileView],
    responses=responses(InvalidCursor),
)
async def list_profiles(
    _: Admin,
    page: PageQuery,
    reader: DbReader,
    q: Annotated[
        OneLine | None,
        Query(max_length=200, description="Beginnings of words in name or address."),
    ] = None,
) -> KeysetPage[Record]:
    """For admins."""
    return await repository.page_of_profiles(reader, page, q)


@router.get(
    "/{account_id}",
    summary="The public part of a profile",
    response_model=PublicProfile,
    responses=responses(ProfileNotFound),
)
async def read_profile(account_id: UUID, _: ProfileReader, reader: DbReader) -> Record:
    """What any account may know of another one."""
    return await service.public_profile(reader, account_id)


def _answer(profile: Record) -> Response:
    """The profile with its `ETag`, serialized once."""
    content = ProfileView.model_validate(profile).model_dump_json()
    headers = {"etag": etag_for(profile.version)}
    return Response(content, headers=headers, media_type="application/json")
