"""Signed access tokens and their public keys, without a running auth service.

The keys are served over HTTP at the place where auth publishes its own, so a service under test
verifies these tokens by the same code and the same requests as in production.
"""

import threading
import time
import uuid
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey

from service_platform.ids import new_id
from service_testing.declarations import declarations

_DECLARED = declarations()
AUDIENCES = tuple(each.name for each in _DECLARED)
DEFAULT_SCOPES = tuple(scope for each in _DECLARED for scope in each.scopes)


class TestTokens:
    """Issues access tokens as auth does (RFC 9068, ES256) and publishes the keys.

    Attributes:
        auth_url: what the service under test must take for auth's address.
        issuer: the `iss` of the tokens, the same address.
    """

    __test__ = False  # not a test class, whatever its name

    def __init__(self) -> None:
        self._key = new_key()
        self._published = [self._key]
        self.requests = 0
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            """Answers every GET with the keys."""

            wbufsize = -1  # head and body in one packet: the second would wait 40 ms for the first

            def do_GET(self) -> None:
                """Sends the key set."""
                tokens.requests += 1
                body = tokens.jwks()
                self.send_response(200)
                self.send_header("content-type", "application/jwk-set+json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.auth_url = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = self.auth_url
        threading.Thread(target=self._server.serve_forever, daemon=True, name="jwks").start()

    def issue(
        self,
        subject: uuid.UUID | str | None = None,
        *,
        scopes: Iterable[str] = DEFAULT_SCOPES,
        roles: Iterable[str] = (),
        expires_in: int = 600,
        audience: Iterable[str] | str = AUDIENCES,
        key: ECKey | None = None,
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Returns a signed access token.

        Args:
            subject: account id; a new one unless told.
            scopes: what the token allows.
            roles: of the account.
            expires_in: seconds; negative for an expired token.
            audience: services that may accept it.
            key: signs it instead of the published one.
            header: members to add to or replace in the protected header.
            **claims: claims to add or replace; `None` leaves one out.
        """
        now = int(time.time())
        signing_key = key or self._key
        subject = str(subject or new_id())
        content = {
            "iss": self.issuer,
            "sub": subject,
            "aud": [audience] if isinstance(audience, str) else list(audience),
            "iat": now + min(expires_in, 0),
            "exp": now + expires_in,
            "jti": str(new_id()),
            "client_id": "tests",
            "scope": " ".join(scopes),
            "roles": list(roles),
            "sid": str(new_id()),
            "email": f"{subject}@example.com",
            "name": "Test Person",
            **claims,
        }
        protected = {"alg": "ES256", "typ": "at+jwt", "kid": signing_key.kid, **(header or {})}
        return jwt.encode(
            {name: value for name, value in protected.items() if value is not None},
            {name: value for name, value in content.items() if value is not None},
            signing_key,
            algorithms=["ES256"],
        )

    def headers(self, subject: uuid.UUID | str | None = None, **options: Any) -> dict[str, str]:
        """Returns the `Authorization` header with a new token; arguments as for `issue`."""
        return {"authorization": f"Bearer {self.issue(subject, **options)}"}

    def rotate(self) -> None:
        """Signs with a new key from now on; the earlier keys stay published."""
        self._key = new_key()
        self._published.insert(0, self._key)

    def jwks(self) -> bytes:
        """Returns the published keys as JSON (RFC 7517, section 5)."""
        return orjson.dumps({"keys": [key.as_dict(private=False) for key in self._published]})

    def stop(self) -> None:
        """Stops publishing."""
        self._server.shutdown()
        self._server.server_close()


def new_key() -> ECKey:
    """Returns a new P-256 key with its thumbprint for an id."""
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
