"""`Idempotency-Key`: a request that is repeated is carried out once and gets the same response.

The key is a row of the service's own database, written in the same transaction as the effect of
the request (draft-ietf-httpapi-idempotency-key-header-07): either both are there or neither is.

    @router.post(
        "/books", status_code=201, response_model=BookRead,
        responses=responses(*IDEMPOTENCY_PROBLEMS),
    )
    async def create_book(
        book: BookCreate, caller: ..., session: DbSession, key: IdempotencyKey
    ) -> BookRow | Response:
        async def create() -> BookRow: ...
        return await key.once(session, caller.subject, create)

The table comes with `idempotency_table(Base.metadata)` in the service's `models.py`.

A repetition gets the response of the first request even if what it created was changed or deleted
since: it tells what that request did. The current state is at the `Location`.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.routing import APIRoute, serialize_response
from pydantic import WithJsonSchema
from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    func,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import JSONResponse

from service_platform.errors import BadRequest, IdempotencyConflict, IdempotencyKeyReused

LIFETIME: Final = timedelta(hours=24)
"""How long a response is kept; a key used again later is a new request."""
CLEANED_AT_ONCE: Final = 2
"""Expired rows removed with each new key: more than come in, so the table stays bounded."""
WAITS_SECONDS: Final = (0.05, 0.1, 0.2, 0.4)
"""Pauses in which a second request waits for the first, holding no connection meanwhile."""
KEPT_HEADERS: Final = frozenset({"content-type", "etag", "location"})
MAX_KEY_LENGTH: Final = 255

REPLAYED_HEADER: Final[dict[str, Any]] = {
    "Idempotency-Replayed": {
        "description": "`true` where the response is that of an earlier request with this key.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
"""Documents a repetition: `responses={201: {"headers": REPLAYED_HEADER}}`."""

T = TypeVar("T")

_acceptable_key: Final = re.compile(r"[\x21-\x7e]{1,255}")


IDEMPOTENCY_PROBLEMS: Final = (IdempotencyKeyReused, IdempotencyConflict)


def idempotency_table(metadata: MetaData) -> Table:
    """The table of used keys, `idempotency_keys`, as part of a service's tables."""
    return Table(
        "idempotency_keys",
        metadata,
        Column("account", Text, primary_key=True),
        Column("route", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("status", Integer),
        Column("headers", JSONB),
        Column("body", LargeBinary),
        Column("expires_at", DateTime(timezone=True), nullable=False),
        Index("ix_idempotency_keys_expires_at", "expires_at"),
    )


_keys: Final = idempotency_table(MetaData())


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The `Idempotency-Key` of a request, if it has one.

    Attributes:
        key: as the client chose it; `None` where it sent none.
        route: method and path, for which the key counts.
        fingerprint: digest of the body.
        request: whose route says how a result becomes a response.
        response: whose headers and status the endpoint sets.
    """

    key: str | None
    route: str
    fingerprint: bytes
    request: Request
    response: Response

    async def once(
        self,
        session: AsyncSession,
        account: UUID | str,
        work: Callable[[], Awaitable[T]],
    ) -> T | Response:
        """Do the work, or return the response of an earlier request with this key.

        Must be the first use of the session in the request. When the work raises, nothing is kept
        and the request may be sent again with the same key.

        Args:
            session: of the request; commits the effect of the work and the key together.
            account: whose key it is: the keys of two accounts have nothing to do with each other.
            work: carries the request out. It returns what the endpoint of the route would return: a
                value for the response model, or a response with a complete body.

        Returns:
            The result of the work, or a complete response where the request has a key.

        Raises:
            IdempotencyKeyReused: the key was used with another body.
            IdempotencyConflict: the first request with this key takes too long.
        """
        if self.key is None:
            return await work()
        identity = {"account": str(account), "route": self.route, "key": self.key}
        for pause in (*WAITS_SECONDS, None):
            if await self._claim(session, identity):
                response = await self._response_of(await work())
                await _keep(session, identity, response)
                return response
            stored = await self._stored(session, identity)
            if stored is not None:
                return stored
            await session.rollback()  # gives the connection back
            if pause is not None:
                await asyncio.sleep(pause)
        raise IdempotencyConflict(headers={"retry-after": "1"})

    async def _response_of(self, result: Any) -> Response:
        """Serialize the result of an endpoint as FastAPI does."""
        if isinstance(result, Response):
            return result
        route: APIRoute = self.request.scope["route"]
        status = self.response.status_code or route.status_code or 200
        response: Response
        if route.response_field is None:
            response = JSONResponse(jsonable_encoder(result), status)
        else:
            content = await serialize_response(
                field=route.response_field,
                response_content=result,
                include=route.response_model_include,
                exclude=route.response_model_exclude,
                by_alias=route.response_model_by_alias,
                exclude_unset=route.response_model_exclude_unset,
                exclude_defaults=route.response_model_exclude_defaults,
                exclude_none=route.response_model_exclude_none,
                dump_json=True,
            )
            response = Response(content, status, media_type="application/json")
        response.raw_headers += self.response.raw_headers
        return response

    async def _claim(self, session: AsyncSession, identity: dict[str, str]) -> bool:
        """Write the key, in one statement that never waits for another request.

        An advisory lock, held until the transaction ends, tells that the same key is at work.
        """
        lock = int.from_bytes(
            hashlib.sha256("\0".join(identity.values()).encode()).digest()[:8], signed=True
        )
        clean = _remove_some_expired(identity)
        values: dict[str, ColumnElement[Any]] = {
            **{name: literal(value) for name, value in identity.items()},
            "fingerprint": literal(self.fingerprint, LargeBinary),
            "expires_at": func.now() + literal(LIFETIME),
        }
        row = select(*(value.label(name) for name, value in values.items())).where(
            func.pg_try_advisory_xact_lock(lock)
        )
        statement = insert(_keys).from_select(list(values), row).add_cte(clean)
        claimed = await session.execute(
            statement.on_conflict_do_update(
                index_elements=["account", "route", "key"],
                set_={
                    "fingerprint": statement.excluded.fingerprint,
                    "expires_at": statement.excluded.expires_at,
                    "status": None,
                },
                where=_keys.c.expires_at < func.now(),
            ).returning(literal(1))
        )
        return claimed.first() is not None

    async def _stored(self, session: AsyncSession, identity: dict[str, str]) -> Response | None:
        """Read the response of the first request; `None` while that is being carried out."""
        found = await session.execute(
            select(_keys.c.fingerprint, _keys.c.status, _keys.c.headers, _keys.c.body).where(
                _is(identity), _keys.c.status.is_not(None)
            )
        )
        row = found.one_or_none()
        if row is None:
            return None
        if row.fingerprint != self.fingerprint:
            raise IdempotencyKeyReused
        headers = {**row.headers, "idempotency-replayed": "true"}
        return Response(row.body, status_code=row.status, headers=headers)


def _is(identity: dict[str, str]) -> Any:
    return and_(*(_keys.c[name] == value for name, value in identity.items()))


def _remove_some_expired(identity: dict[str, str]) -> Any:
    """Removes a few expired rows, but never the one to be claimed or one in use elsewhere."""
    place = (_keys.c.account, _keys.c.route, _keys.c.key)
    expired = (
        select(*place)
        .where(_keys.c.expires_at < func.now(), ~_is(identity))
        .limit(CLEANED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return delete(_keys).where(tuple_(*place).in_(expired)).cte("expired")


async def _keep(session: AsyncSession, identity: dict[str, str], response: Response) -> None:
    headers = {name: value for name, value in response.headers.items() if name in KEPT_HEADERS}
    await session.execute(
        update(_keys)
        .where(_is(identity))
        .values(status=response.status_code, headers=headers, body=bytes(response.body))
    )


async def forget_keys(session: AsyncSession, account: UUID | str) -> None:
    """Delete an account's keys and the responses kept with them, when it is closed."""
    await session.execute(delete(_keys).where(_keys.c.account == str(account)))


async def request_key(
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        Annotated[
            str | None,
            WithJsonSchema(
                {
                    "type": "string",
                    "pattern": f"^[!-~]{{1,{MAX_KEY_LENGTH}}}$",
                    "minLength": 1,
                    "maxLength": MAX_KEY_LENGTH,
                }
            ),
        ],
        # No example: Swagger UI would send it with every request that is tried out.
        Header(
            description="Makes it safe to repeat the request: any text, new for each request.",
        ),
    ] = None,
) -> RequestKey:
    """Read the `Idempotency-Key` of the request, which may be written with or without quotes.

    Raises:
        BadRequest: when it is not 1 to 255 visible ASCII characters.
    """
    route = f"{request.method} {request.url.path}"
    if idempotency_key is None:
        return RequestKey(None, route, b"", request, response)
    key = idempotency_key.strip()
    if len(key) > 1 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if _acceptable_key.fullmatch(key) is None:
        raise BadRequest(
            f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} visible ASCII characters."
        )
    fingerprint = hashlib.sha256(await request.body()).digest()
    return RequestKey(key, route, fingerprint, request, response)


IdempotencyKey = Annotated[RequestKey, Depends(request_key)]

__all__ = [
    "IDEMPOTENCY_PROBLEMS",
    "REPLAYED_HEADER",
    "IdempotencyConflict",
    "IdempotencyKey",
    "IdempotencyKeyReused",
    "RequestKey",
    "forget_keys",
    "idempotency_table",
]
