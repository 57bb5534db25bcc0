"""The platform works where the acceleration package does not exist and is switched off."""

import json
import subprocess
import sys

PROGRAM = """
import asyncio
import json
import sys


class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("service_platform.acceleration"):
            raise ImportError(f"{name} was imported although acceleration is off.")


sys.meta_path.insert(0, Refusing())

import httpx2
from shop.app import create_app


async def main():
    app = create_app()
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://shop.test") as client,
    ):
        answers = [
            await client.get(path)
            for path in ("/health/ready", "/api/v1/products", "/nowhere", "/docs", "/metrics")
        ]
        created = await client.post("/api/v1/products", json={"name": "chair", "stock": 1})
        read = [await client.get("/api/v1/products") for _ in range(4)]
    loaded = [name for name in sys.modules if name.startswith("service_platform.acceleration")]
    statuses = [each.status_code for each in [*answers, created]]
    print(json.dumps([statuses, [each.json()["items"] for each in read], loaded]))


asyncio.run(main())
"""


def test_a_service_answers_without_the_package(service_environment: dict[str, str]) -> None:
    environment = {
        **service_environment,
        "ACCELERATION": "false",
        "LOG_LEVEL": "CRITICAL",
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    statuses, read, loaded = json.loads(done.stdout)
    assert statuses == [200, 200, 404, 200, 200, 201]
    assert read == [[{"name": "chair", "stock": 1}]] * 4
    assert loaded == []
