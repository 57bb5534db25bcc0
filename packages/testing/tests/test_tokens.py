import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from service_testing.tokens import TestTokens, new_key


def published(tokens: TestTokens) -> KeySet:
    with urllib.request.urlopen(f"{tokens.auth_url}/.well-known/jwks.json") as answer:
        document: Any = json.load(answer)
    assert all("d" not in key for key in document["keys"])
    return KeySet.import_key_set(document)


def test_a_token_has_the_claims_of_an_access_token(tokens: TestTokens) -> None:
    token = jwt.decode(tokens.issue("me", roles=["admin"]), published(tokens), algorithms=["ES256"])
    claims = token.claims
    assert token.header["typ"] == "at+jwt"
    assert (claims["iss"], claims["sub"], claims["roles"]) == (tokens.issuer, "me", ["admin"])
    assert claims["exp"] > time.time()
    required = {"aud", "exp", "iat", "jti", "client_id", "scope", "sid"}
    assert required <= claims.keys()


def test_claims_and_header_can_be_changed_or_left_out(tokens: TestTokens) -> None:
    text = tokens.issue(expires_in=-5, aud=None, header={"typ": "JWT"}, scopes=["a", "b"])
    token = jwt.decode(text, published(tokens), algorithms=["ES256"])
    assert token.header["typ"] == "JWT"
    assert "aud" not in token.claims
    assert token.claims["scope"] == "a b"
    assert token.claims["exp"] < time.time()


def test_a_token_of_another_key_does_not_verify(tokens: TestTokens) -> None:
    stranger = new_key()
    forged = tokens.issue(key=stranger, header={"kid": published(tokens).keys[0].kid})
    with pytest.raises(BadSignatureError):
        jwt.decode(forged, published(tokens), algorithms=["ES256"])


def test_after_a_rotation_old_and_new_tokens_verify() -> None:
    tokens = TestTokens()
    before = tokens.issue()
    tokens.rotate()
    after = tokens.issue()
    keys = published(tokens)
    tokens.stop()
    for text in (before, after):
        jwt.decode(text, keys, algorithms=["ES256"])
    with pytest.raises(urllib.error.URLError):
        published(tokens)
