"""What somebody does with the generated Python client of items; see `test_python_client`.

The argument has the addresses of the services and an account with its token, as JSON.
"""

import json
import sys
import uuid
from http import HTTPStatus

from items_client import AuthenticatedClient
from items_client.api.items import create_item, delete_item, list_items, read_item, update_item
from items_client.models import (
    ItemCreate,
    ItemPage,
    ItemRead,
    ItemSort,
    ItemUpdate,
    ProblemDetail,
)

given = json.loads(sys.argv[1])
account_id = uuid.UUID(given["account_id"])
sent: list[bytes] = []
"""The bodies of the requests."""

# An item: one member is changed and nothing else is sent.
items = AuthenticatedClient(
    given["urls"]["items"],
    given["token"],
    httpx_args={"event_hooks": {"request": [lambda request: sent.append(request.read())]}},
)
created = create_item.sync_detailed(
    client=items, body=ItemCreate("Lamp", price=19.5), idempotency_key=uuid.uuid4().hex
)
assert created.status_code == HTTPStatus.CREATED, created
lamp = created.parsed
assert isinstance(lamp, ItemRead), lamp
assert (lamp.name, lamp.price, lamp.tags, lamp.owner_id) == ("Lamp", 19.5, [], account_id)
assert json.loads(sent[-1]) == {"name": "Lamp", "price": 19.5}

etag = created.headers["etag"]
changed = update_item.sync(lamp.id, client=items, body=ItemUpdate(price=24.99), if_match=etag)
assert json.loads(sent[-1]) == {"price": 24.99}
assert isinstance(changed, ItemRead), changed
assert (changed.name, changed.price) == ("Lamp", 24.99)

free = update_item.sync(lamp.id, client=items, body=ItemUpdate(price=None))
assert json.loads(sent[-1]) == {"price": None}
assert isinstance(free, ItemRead), free
assert free.price is None

# Lists.
desk = create_item.sync(client=items, body=ItemCreate("Desk", price="120.00", tags=["Home"]))
assert isinstance(desk, ItemRead), desk
page = list_items.sync(client=items, sort=ItemSort.NAME_DESCENDING, limit=1)
assert isinstance(page, ItemPage), page
assert [each.name for each in page.items] == ["Lamp"]
assert isinstance(page.next_cursor, str)
page = list_items.sync(
    client=items, sort=ItemSort.NAME_DESCENDING, limit=1, cursor=page.next_cursor
)
assert isinstance(page, ItemPage), page
assert page.items == [desk]
assert page.next_cursor is None
page = list_items.sync(client=items, tag=["home"], q="de")
assert isinstance(page, ItemPage), page
assert page.items == [desk]

# Errors.
stale = update_item.sync_detailed(lamp.id, client=items, body=ItemUpdate(price=1), if_match=etag)
assert stale.status_code == HTTPStatus.PRECONDITION_FAILED, stale
assert isinstance(stale.parsed, ProblemDetail), stale
assert stale.parsed.error == "precondition_failed", stale
missing = read_item.sync(uuid.uuid4(), client=items)
assert isinstance(missing, ProblemDetail), missing
assert (missing.status, missing.error) == (404, "item_not_found"), missing
invalid = create_item.sync(client=items, body=ItemCreate(""))
assert isinstance(invalid, ProblemDetail), invalid
assert invalid.details, invalid
assert [each.field for each in invalid.details] == ["body.name"], invalid

# A deletion has no result.
deleted = delete_item.sync_detailed(lamp.id, client=items)
assert (deleted.status_code, deleted.parsed) == (HTTPStatus.NO_CONTENT, None), deleted
