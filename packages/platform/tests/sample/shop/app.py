"""The shop's application."""

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from sqlalchemy import select
from starlette.responses import Response

from service_platform.app import create_app as create_platform_app
from service_platform.database import Database
from service_platform.database.session import DbReader, DbSession
from service_platform.errors import responses
from service_platform.idempotency import IDEMPOTENCY_PROBLEMS, IdempotencyKey
from service_platform.pagination import Keyset, Page, PageQuery, fetch_page
from service_platform.redis_client import RedisClient
from service_platform.settings import PlatformSettings, load_settings
from shop.models import Product

router = APIRouter(prefix="/products", tags=["products"])
BY_NAME = Keyset("name", Product.name)


class NewProduct(BaseModel):
    name: str
    stock: int = 0


class ProductView(BaseModel):
    name: str
    stock: int


@router.post("", status_code=201, responses=responses(*IDEMPOTENCY_PROBLEMS))
async def create(body: NewProduct, session: DbSession, key: IdempotencyKey) -> Response:
    async def work() -> Response:
        session.add(Product(name=body.name, stock=body.stock, tags=[]))
        await session.flush()
        return Response(
            body.model_dump_json(),
            status_code=201,
            media_type="application/json",
            headers={"location": f"/api/v1/products/{body.name}", "x-not-kept": "1"},
        )

    return await key.once(session, "somebody", work)


@router.get("")
async def list_products(reader: DbReader, page: PageQuery) -> Page[ProductView]:
    rows = await fetch_page(reader, select(Product.name, Product.stock), BY_NAME, page)
    items = [ProductView(name=row.name, stock=row.stock) for row in rows.items]
    return Page(items=items, next_cursor=rows.next_cursor)


def create_app() -> FastAPI:
    settings = load_settings(PlatformSettings)
    return create_platform_app(
        settings,
        routers=[router],
        resources=[Database(settings, migrations="shop.migrations"), RedisClient(settings)],
    )
