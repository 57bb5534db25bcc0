"""A worker of PgQueuer used bare: its jobs write a row each, on a connection of their own."""

import asyncio
import os
import signal

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.domain.models import Job


async def main() -> None:
    url = os.environ["DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=8, max_size=8) as pool:
        queue = PgQueuer.from_asyncpg_connection(await asyncpg.connect(url))

        @queue.entrypoint("write")
        async def write(job: Job) -> None:
            await pool.execute("INSERT INTO effects (number) VALUES ($1)", int(job.payload))

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, queue.shutdown.set)
        await queue.run(max_concurrent_tasks=20)


if __name__ == "__main__":
    asyncio.run(main())
