"""What somebody does with the generated Python clients of auth and users; see `test_python_client`.

The argument has the addresses of the services and a password, as JSON.
"""

import json
import sys
import uuid
from http import HTTPStatus

from auth_client import AuthenticatedClient, Client
from auth_client.api.accounts import (
    end_session,
    list_sessions,
    read_own_account,
    register,
)
from auth_client.api.oauth import issue_token
from auth_client.models import (
    AccountCreate,
    AccountRead,
    OAuthErrorRead,
    SessionList,
    TokenForm,
    TokenFormGrantType,
    TokenRead,
)
from users_client import AuthenticatedClient as UsersClient
from users_client.api.users import (
    list_profiles,
    read_own_profile,
    read_profile,
    update_own_profile,
)
from users_client.models import ProblemDetail, ProfileRead, ProfileUpdate, PublicProfileRead

given = json.loads(sys.argv[1])
urls = given["urls"]
email = f"client-{uuid.uuid4().hex}@example.com"
sent: list[bytes] = []
"""The bodies of the requests to users."""

# Register and log in.
auth = Client(base_url=urls["auth"], raise_on_unexpected_status=True)
account = register.sync(
    client=auth, body=AccountCreate(email, given["password"], full_name="Ada Lovelace")
)
assert isinstance(account, AccountRead), account
refused = issue_token.sync(
    client=auth,
    body=TokenForm(TokenFormGrantType.PASSWORD, username=email, password="another phrase"),
)
assert isinstance(refused, OAuthErrorRead), refused
assert refused.error == "invalid_grant", refused
tokens = issue_token.sync(
    client=auth,
    body=TokenForm(TokenFormGrantType.PASSWORD, username=email, password=given["password"]),
)
assert isinstance(tokens, TokenRead), tokens
token = tokens.access_token
assert read_own_account.sync(client=AuthenticatedClient(urls["auth"], token)) == account

# A profile: one member is changed and nothing else is sent.
users = UsersClient(
    urls["users"],
    token,
    httpx_args={"event_hooks": {"request": [lambda request: sent.append(request.read())]}},
)
read = read_own_profile.sync_detailed(client=users)
assert isinstance(read.parsed, ProfileRead), read
assert (read.parsed.id, read.parsed.full_name) == (account.id, "Ada Lovelace")

etag = read.headers["etag"]
changed = update_own_profile.sync(
    client=users, body=ProfileUpdate(bio="Wrote the first program."), if_match=etag
)
assert json.loads(sent[-1]) == {"bio": "Wrote the first program."}
assert isinstance(changed, ProfileRead), changed
assert (changed.bio, changed.full_name) == ("Wrote the first program.", "Ada Lovelace")
assert read_own_profile.sync(client=users) == changed
public = read_profile.sync(account.id, client=users)
assert isinstance(public, PublicProfileRead), public
assert public.bio == changed.bio

silent = update_own_profile.sync(client=users, body=ProfileUpdate(bio=None))
assert json.loads(sent[-1]) == {"bio": None}
assert isinstance(silent, ProfileRead), silent
assert silent.bio is None

# Errors.
stale = update_own_profile.sync_detailed(
    client=users, body=ProfileUpdate(locale="en-GB"), if_match=etag
)
assert stale.status_code == HTTPStatus.PRECONDITION_FAILED, stale
assert isinstance(stale.parsed, ProblemDetail), stale
assert stale.parsed.error == "precondition_failed", stale
missing = read_profile.sync(uuid.uuid4(), client=users)
assert isinstance(missing, ProblemDetail), missing
assert (missing.status, missing.error) == (404, "profile_not_found"), missing
forbidden = list_profiles.sync(client=users, limit=1)
assert isinstance(forbidden, ProblemDetail), forbidden
assert forbidden.status == HTTPStatus.FORBIDDEN, forbidden
invalid = update_own_profile.sync(client=users, body=ProfileUpdate(full_name=""))
assert isinstance(invalid, ProblemDetail), invalid
assert invalid.details, invalid
assert [each.field for each in invalid.details] == ["body.full_name"], invalid

# A deletion has no result.
owner = AuthenticatedClient(urls["auth"], token)
sessions = list_sessions.sync(client=owner)
assert isinstance(sessions, SessionList), sessions
ended = end_session.sync_detailed(sessions.items[0].id, client=owner)
assert (ended.status_code, ended.parsed) == (HTTPStatus.NO_CONTENT, None), ended
