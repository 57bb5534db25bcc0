"""Secrets in the database."""

import pytest

from service_platform.encryption import DecryptionError, SecretBox, derived_key

OLD, NEW = "old-secret-" * 4, "new-secret-" * 4


def test_what_is_encrypted_is_read_by_the_key_and_by_its_successor() -> None:
    encrypted = SecretBox([OLD], "shop/test").encrypt(b"plain", bound_to="row")
    assert b"plain" not in encrypted
    assert SecretBox([OLD], "shop/test").decrypt(encrypted, bound_to="row") == (b"plain", False)
    assert SecretBox([NEW, OLD], "shop/test").decrypt(encrypted, bound_to="row") == (b"plain", True)


def test_the_same_value_is_never_encrypted_to_the_same() -> None:
    box = SecretBox([OLD], "shop/test")
    assert len({box.encrypt(b"plain", bound_to="row") for _ in range(10)}) == 10


@pytest.mark.parametrize(
    ("secret", "purpose", "bound_to"),
    [(NEW, "shop/test", "row"), (OLD, "shop/other", "row"), (OLD, "shop/test", "another row")],
)
def test_it_is_not_read_by_another_key_for_another_purpose_or_in_another_row(
    secret: str, purpose: str, bound_to: str
) -> None:
    encrypted = SecretBox([OLD], "shop/test").encrypt(b"plain", bound_to="row")
    with pytest.raises(DecryptionError, match="SECRET_KEY_FALLBACKS"):
        SecretBox([secret], purpose).decrypt(encrypted, bound_to=bound_to)


@pytest.mark.parametrize("changed", [0, 1, 12, 13, -1])
def test_a_changed_value_is_not_read(changed: int) -> None:
    box = SecretBox([OLD], "shop/test")
    encrypted = bytearray(box.encrypt(b"plain", bound_to="row"))
    encrypted[changed] ^= 1
    with pytest.raises(DecryptionError):
        box.decrypt(bytes(encrypted), bound_to="row")


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x01" + b"x" * 12, b"\x01" + b"x" * 27])
def test_what_is_no_encrypted_value_is_not_read(value: bytes) -> None:
    with pytest.raises(DecryptionError):
        SecretBox([OLD], "shop/test").decrypt(value, bound_to="row")


def test_keys_stay_what_they_were() -> None:
    """Whatever is stored was encrypted by them."""
    assert derived_key("secret", "shop/test").hex() == (
        "b6ac3fce3890d0a5faf9d979086abade97b7bc1e65a47908879c474a9f053478"
    )
