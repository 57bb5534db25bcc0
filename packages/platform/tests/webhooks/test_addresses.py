"""No webhook is sent to what is not of the public internet."""

import pytest

from service_platform.webhooks.addresses import UrlError, check_url, is_public


@pytest.mark.parametrize(
    "address",
    [
        "93.184.215.14",
        "1.1.1.1",
        "192.0.0.9",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",  # of carriers, and of some clusters
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",  # metadata of a cloud
        "172.16.0.1",
        "192.168.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::10.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",  # NAT64
        "64:ff9b:1::1",
        "100::1",
        "2001:db8::1",
        "2001::1",  # Teredo
        "2002:a00:1::",  # 6to4 of 10.0.0.1
        "2002:101:101::",
        "fc00::1",
        "fd00:ec2::254",  # metadata of a cloud
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1111%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "0x7f000001",
        "2130706433",
        "127.1",
        "",
        "example.com",
    ],
)
def test_all_other_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/hooks?token=a%20b",
        "https://EXAMPLE.com:443/",
        "https://93.184.215.14/",
        "https://[2606:4700::1111]/",
    ],
)
def test_urls_that_are_right_everywhere(url: str) -> None:
    assert check_url(url, allow_private=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "https://",
        "https:///path",
        "ftp://example.com",
        "file:///etc/passwd",
        "https://example.com#fragment",
        "https://user:secret@example.com",
        "https://user@example.com",
        "https://@example.com",
        "https://example.com:99999",
        "https://example.com:port",
        "https://[::1",
        "https://example.com/\r\nx-injected: yes",
        "https://exa mple.com",
        "https://example.com\\@10.0.0.1",
        "https://bücher.example",
        "https://example.com/" + "x" * 3_000,
    ],
)
@pytest.mark.parametrize("allow_private", [True, False])
def test_urls_that_are_wrong_everywhere(url: str, allow_private: bool) -> None:
    with pytest.raises(UrlError):
        check_url(url, allow_private=allow_private)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com:8443",
        "https://example.com:80",
        "https://127.0.0.1",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
    ],
)
def test_urls_that_are_right_in_development_alone(url: str) -> None:
    assert check_url(url, allow_private=True) == url
    with pytest.raises(UrlError):
        check_url(url, allow_private=False)
