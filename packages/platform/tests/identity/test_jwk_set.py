"""Parsing a JWK Set: only keys that verify tokens of the configured algorithm are used."""

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from service_platform.identity.jwk_set import MAX_KEYS, parse_jwk_set
from service_testing.tokens import new_key


def test_only_keys_for_the_configured_algorithm_are_used() -> None:
    good = new_key()
    entries = [
        good.as_dict(private=False),
        {**new_key().as_dict(private=False), "use": "enc"},
        {**new_key().as_dict(private=False), "alg": "ES384"},
        {**new_key().as_dict(private=False), "kid": 7},
        {**new_key().as_dict(private=False), "x": "AAAA"},
        ECKey.generate_key("P-384", {"use": "sig"}, auto_kid=True).as_dict(private=False),
        RSAKey.generate_key(2048, auto_kid=True).as_dict(private=False),
        OctKey.generate_key(256, auto_kid=True).as_dict(private=True),
    ]
    assert set(parse_jwk_set({"keys": entries}, "ES256")) == {good.kid}


def test_short_rsa_keys_are_not_used() -> None:
    good = RSAKey.generate_key(2048, auto_kid=True)
    short = {**good.as_dict(private=False), "kid": "short", "n": "_" * 171}
    entries = [
        good.as_dict(private=False),
        short,
        new_key().as_dict(private=False),
    ]
    assert set(parse_jwk_set({"keys": entries}, "RS256")) == {good.kid}


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, "keys"])
def test_a_document_without_a_list_of_keys_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="not a key set"):
        parse_jwk_set(document, "ES256")


def test_what_is_no_key_is_ignored_and_the_number_of_keys_is_bounded() -> None:
    key = new_key()
    good = key.as_dict(private=False)
    assert set(parse_jwk_set({"keys": [None, 1, [], {}, good]}, "ES256")) == {key.kid}
    assert parse_jwk_set({"keys": [{}] * MAX_KEYS + [good]}, "ES256") == {}
