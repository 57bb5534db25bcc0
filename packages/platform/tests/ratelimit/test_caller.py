from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_platform.context import RequestContext
from service_platform.identity import Principal
from service_platform.ratelimit import RateLimitCaller
from service_platform.ratelimit.caller import address_key
from service_platform.ratelimit.policy import By
from service_platform.settings import PlatformSettings

ACCOUNT = UUID("019ab6a1-7c1e-7d3e-8f6e-2f0c6a1f5a10")


def request_of(principal: Principal | None, address: str = "192.0.2.7") -> RequestContext:
    context = RequestContext(
        {}, {}, settings=PlatformSettings(_env_file=None), client_address=address
    )
    context.principal = principal
    return context


PRINCIPAL = Principal(
    subject=ACCOUNT,
    client_id="web",
    scopes=frozenset(),
    roles=frozenset({"admin"}),
    session_id=None,
    token_id="t",
    expires_at=0,
)


def test_a_request_is_counted_by_account_client_or_address() -> None:
    caller = RateLimitCaller.of(request_of(PRINCIPAL))
    assert caller.key_for("account") == f"a:{ACCOUNT.hex}"
    assert caller.key_for("client") == "c:web"
    assert caller.key_for("address") == "i:192.0.2.7"
    assert caller.roles == {"admin"}


def test_whoever_is_not_authenticated_is_counted_by_address() -> None:
    caller = RateLimitCaller.of(request_of(None))
    assert caller.key_for("account") == caller.key_for("client") == "i:192.0.2.7"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("2001:db8:1:2::1", "2001:0DB8:0001:0002:0:0:0:1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::2%eth1"),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_caller(one: str, other: str) -> None:
    assert address_key(one) == address_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("192.0.2.7", "192.0.2.8"),
        ("::1", "127.0.0.1"),
        ("unknown", "unknowm"),
    ],
)
def test_other_addresses_are_other_callers(one: str, other: str) -> None:
    assert address_key(one) != address_key(other)


ANY_TEXT = st.text(max_size=200)
KINDS: list[By] = ["account", "client", "address", "key"]


@given(text=ANY_TEXT)
def test_whatever_a_caller_sends_its_key_is_short_plain_and_has_no_braces(text: str) -> None:
    caller = RateLimitCaller(text, client=text, key=text)
    for by in KINDS:
        key = caller.key_for(by)
        assert len(key) <= 64
        assert key.isascii()
        assert not set(key) & set("{}\r\n \0")


@given(one=ANY_TEXT, other=ANY_TEXT)
def test_no_text_makes_the_key_of_somebody_else(one: str, other: str) -> None:
    def keys(text: str) -> set[str]:
        caller = RateLimitCaller(text, client=text or None, key=text)
        return {caller.key_for("client"), caller.key_for("key")}

    assert one == other or not keys(one) & keys(other) - {address_key(one), address_key(other)}


@pytest.mark.parametrize(
    "pretender",
    [f"a:{ACCOUNT.hex}", ACCOUNT.hex, "i:192.0.2.7", "}:default:w60", "x" * 100_000],
)
def test_no_client_or_key_can_pass_for_an_account_or_an_address(pretender: str) -> None:
    victim = RateLimitCaller("192.0.2.7", account=ACCOUNT)
    attacker = RateLimitCaller("192.0.2.9", client=pretender, key=pretender)
    others = {attacker.key_for(by) for by in KINDS}
    assert not others & {victim.key_for("account"), victim.key_for("address")}


def test_a_policy_by_key_needs_one() -> None:
    with pytest.raises(ValueError, match="key"):
        RateLimitCaller("192.0.2.7").key_for("key")
