"""A worker of Procrastinate used bare: its jobs write a row each, on a connection of their own."""

import asyncio
import os

import asyncpg
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))
pools: list[asyncpg.Pool] = []


@app.task(name="write")
async def write(number: int) -> None:
    await pools[0].execute("INSERT INTO effects (number) VALUES ($1)", number)


async def main() -> None:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=8, max_size=8) as pool:
        pools.append(pool)
        async with app.open_async():
            await app.run_worker_async(concurrency=8, install_signal_handlers=True)


if __name__ == "__main__":
    asyncio.run(main())
