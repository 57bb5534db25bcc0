"""Whom clients of other services trust."""

import asyncio
import ssl

import httpx2
import pytest

from service_platform.tls import default_ssl_context, ssl_context_for


def test_the_authorities_are_read_once_for_all() -> None:
    assert ssl_context_for("https://auth.example.com") is ssl_context_for(
        "HTTPS://users.example.com/api"
    )
    assert default_ssl_context().verify_mode is ssl.CERT_REQUIRED
    assert default_ssl_context().cert_store_stats()["x509_ca"] > 50


def test_who_calls_without_encryption_trusts_nobody() -> None:
    context = ssl_context_for("http://auth:8000")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.cert_store_stats()["x509_ca"] == 0


async def test_a_client_without_encryption_is_answered() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with httpx2.AsyncClient(verify=ssl_context_for(url)) as client:
            assert (await client.get(url)).status_code == 204
            with pytest.raises(httpx2.TransportError):
                await client.get(url.replace("http:", "https:"))
