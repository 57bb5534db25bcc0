"""The baseline of reads: FastAPI and asyncpg, nothing else."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel

SQL = """SELECT id, owner_id, name, description, price::float8 AS price, tags, created_at,
updated_at FROM items WHERE id = $1"""


class Item(BaseModel):
    """What the items service answers."""

    id: UUID
    owner_id: UUID
    name: str
    description: str | None
    price: float | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """A pool as large as the platform's."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/ready")
async def ready() -> bool:
    """Answers once the pool is open."""
    return True


@app.get("/api/v1/items/{item_id}")
async def read_item(item_id: UUID) -> Item:
    """The item, whoever asks."""
    row = await app.state.pool.fetchrow(SQL, item_id)
    return Item.model_construct(**dict(row))
