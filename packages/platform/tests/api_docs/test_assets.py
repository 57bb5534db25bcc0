"""The vendored files of the documentation pages, as browsers get and keep them."""

import gzip
import hashlib
from importlib.resources import files

import httpx2
import pytest

from service_platform.api_docs.assets import MEDIA_TYPES, asset_path

CSS = "swagger-ui.css"


def test_every_vendored_file_is_served_or_a_licence() -> None:
    names = {each.name for each in (files("service_platform.api_docs") / "assets").iterdir()}
    served = {name.removesuffix(".gz") for name in names} & MEDIA_TYPES.keys()
    assert served == MEDIA_TYPES.keys()


@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_a_file_is_there_under_the_digest_of_its_content(
    client: httpx2.AsyncClient, name: str
) -> None:
    path = asset_path(name)
    async with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as response:
        packed = b"".join([each async for each in response.aiter_raw()])
    assert response.status_code == 200
    assert response.headers["content-type"] == MEDIA_TYPES[name]
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert hashlib.sha256(packed).hexdigest().startswith(path.split("/")[3])
    plain = await client.get(path, headers={"accept-encoding": "identity"})
    assert gzip.decompress(packed) == plain.content
    assert "content-encoding" not in plain.headers


async def test_a_file_is_not_sent_again_to_whoever_has_it(client: httpx2.AsyncClient) -> None:
    path = asset_path(CSS)
    first = await client.get(path)
    again = await client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == first.headers["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        f"/docs/assets/0000000000000000/{CSS}",
        "/docs/assets/0000000000000000/pages.py",
        "/docs/assets/0000000000000000/..%2Fpages.py",
    ],
)
async def test_other_files_and_old_digests_are_not_found(
    client: httpx2.AsyncClient, path: str
) -> None:
    assert (await client.get(path)).status_code == 404
