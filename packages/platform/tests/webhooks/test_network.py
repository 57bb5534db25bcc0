"""Connections go to the addresses that were checked, and to no private one."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from cryptography import x509
from shop.authority import Authority

from service_platform.webhooks import WebhookSender, WebhookSettings, network
from service_platform.webhooks import sender as sender_module
from service_platform.webhooks.network import AddressRefusedError, PublicNetwork
from service_platform.webhooks.sender import Outcome
from service_testing.webhook_receiver import WebhookReceiver, receiving

PUBLIC, OTHER_PUBLIC, PRIVATE = "93.184.215.14", "2606:4700::1111", "10.0.0.1"
SETTINGS = WebhookSettings(project_name="shop", webhooks_timeout_seconds=5)


class Names:
    """Answers a name differently each time it is asked.

    Args:
        *answers: the addresses of each answer; the last one goes on.
    """

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class Redirected(httpcore2.AnyIOBackend):
    """Connects to the receiver whatever the address, which it records.

    Args:
        url: of the receiver.
        away: addresses that do not answer.
    """

    def __init__(self, url: str, *away: str) -> None:
        self._port = int(url.split(":")[2].split("/", maxsplit=1)[0])
        self._away = away
        self.addresses: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.addresses.append(host)
        if host in self._away:
            raise httpcore2.ConnectError
        return await super().connect_tcp("127.0.0.1", self._port, timeout)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def make_sender(
    authority: Authority, names: Names, inner: Redirected, monkeypatch: pytest.MonkeyPatch
) -> WebhookSender:
    """A sender as in production, but for where its connections end."""

    def network(**options: Any) -> PublicNetwork:
        return PublicNetwork(**options, inner=inner)

    monkeypatch.setattr(sender_module, "PublicNetwork", network)
    verify = ssl.create_default_context(cafile=str(authority.file))
    return WebhookSender(SETTINGS, resolve=names.resolve, verify=verify)


def tls_of(authority: Authority, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(name, x509.DNSName(name)))
    return context


async def send(sender: WebhookSender, url: str = "https://example.com/hook") -> Outcome:
    return await sender.send(url, {"webhook-id": "1"}, b"{}")


async def test_a_connection_goes_to_the_address_that_was_checked_and_keeps_its_name(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(ssl=tls_of(authority, "example.com")) as receiver:
        names, inner = Names([PUBLIC], [PRIVATE]), Redirected(receiver.url)
        sender = make_sender(authority, names, inner, monkeypatch)
        assert await send(sender) == Outcome(204, None)
        assert inner.addresses == [PUBLIC]
        assert names.asked == ["example.com"]  # once: what it answers later counts for nothing
        assert receiver.requests[0].headers["host"] == "example.com"

        receiver.headers["connection"] = "close"
        assert await send(sender) == Outcome(204, None)  # by the connection that is open
        assert await send(sender) == Outcome(None, "address_refused")
        assert inner.addresses == [PUBLIC]
        await sender.stop()


@pytest.mark.parametrize(
    "addresses", [[PRIVATE], ["127.0.0.1"], [PUBLIC, PRIVATE], ["::1", OTHER_PUBLIC]]
)
async def test_a_name_with_a_private_address_is_refused(
    authority: Authority, receiver: WebhookReceiver, addresses: list[str], monkeypatch: Any
) -> None:
    inner = Redirected(receiver.url)
    sender = make_sender(authority, Names(addresses), inner, monkeypatch)
    assert await send(sender) == Outcome(None, "address_refused")
    assert inner.addresses == []
    await sender.stop()


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://127.0.0.1/", "https://example.com:8443/"]
)
async def test_a_url_of_other_settings_is_refused(
    authority: Authority, receiver: WebhookReceiver, url: str, monkeypatch: Any
) -> None:
    inner = Redirected(receiver.url)
    sender = make_sender(authority, Names([PUBLIC]), inner, monkeypatch)
    assert await send(sender, url) == Outcome(None, "address_refused")
    assert inner.addresses == []


@pytest.mark.parametrize("url", ["https://2130706433/", "https://0x7f.1/", "https://localhost/"])
async def test_other_spellings_of_this_machine_are_refused(url: str) -> None:
    sender = WebhookSender(SETTINGS)
    assert (await send(sender, url)).error in {"address_refused", "unknown_host"}
    await sender.stop()


async def test_the_next_address_is_tried_where_one_does_not_answer(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(ssl=tls_of(authority, "example.com")) as receiver:
        inner = Redirected(receiver.url, PUBLIC)
        sender = make_sender(authority, Names([PUBLIC, OTHER_PUBLIC]), inner, monkeypatch)
        assert await send(sender) == Outcome(204, None)
        assert inner.addresses == [PUBLIC, OTHER_PUBLIC]
        await sender.stop()


async def test_a_certificate_of_another_name_is_refused(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(ssl=tls_of(authority, "other.example.com")) as receiver:
        sender = make_sender(authority, Names([PUBLIC]), Redirected(receiver.url), monkeypatch)
        assert await send(sender) == Outcome(None, "connect_error")
        assert receiver.requests == []
        await sender.stop()


async def test_a_name_without_an_address_is_unknown(
    authority: Authority, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = make_sender(authority, Names([]), Redirected(receiver.url), monkeypatch)
    assert await send(sender) == Outcome(None, "unknown_host")
    assert (await send(WebhookSender(SETTINGS), "https://nobody.invalid/")).error == "unknown_host"


async def test_a_proxy_of_the_environment_is_not_used(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with receiving(ssl=tls_of(authority, "example.com")) as receiver:
        sender = make_sender(authority, Names([PUBLIC]), Redirected(receiver.url), monkeypatch)
        assert await send(sender) == Outcome(204, None)
        await sender.stop()


async def test_sockets_of_this_machine_are_refused() -> None:
    with pytest.raises(AddressRefusedError):
        await PublicNetwork(allow_private=False).connect_unix_socket("/run/docker.sock")


async def test_names_that_take_for_ever_hold_up_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_again = threading.Event()

    def wait(*_: Any, **__: Any) -> list[Any]:
        open_again.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    lookups = [asyncio.create_task(network.resolve("example.com", 443)) for _ in range(40)]
    try:
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(str, 1) == "1"
    finally:
        open_again.set()
        await asyncio.gather(*lookups)
