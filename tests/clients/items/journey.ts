// What somebody does with the generated TypeScript client of items; the argument has the addresses
// of the services and an account with its token, as JSON.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { createItemsClient, type components as Items } from "#clients/items";
import type { Middleware } from "openapi-fetch";

type ItemRead = Items["schemas"]["ItemRead"];
type Problem = Items["schemas"]["ProblemDetail"];

const given = JSON.parse(process.argv[2]!) as {
  urls: { items: string };
  account_id: string;
  token: string;
};
const headers = { Authorization: `Bearer ${given.token}` };

/** The data of an answer, which must be one of success. */
function data<Data>(answer: { data?: Data; error?: unknown }): Data {
  assert.equal(answer.error, undefined, JSON.stringify(answer.error));
  return answer.data as Data;
}

// An item: one member is changed and nothing else is sent.
const sent: string[] = [];
const record: Middleware = {
  async onRequest({ request }) {
    sent.push(await request.clone().text());
  },
};
const items = createItemsClient({ baseUrl: given.urls.items, headers });
items.use(record);
const created = await items.POST("/api/v1/items", {
  params: { header: { "idempotency-key": randomUUID() } },
  body: { name: "Lamp", price: 19.5 },
});
const lamp: ItemRead = data(created);
assert.equal(created.response.status, 201);
assert.deepEqual([lamp.name, lamp.price, lamp.tags, lamp.owner_id], ["Lamp", 19.5, [], given.account_id]);

const etag = created.response.headers.get("etag")!;
const itsPath = { item_id: lamp.id };
const changed: ItemRead = data(
  await items.PATCH("/api/v1/items/{item_id}", {
    params: { path: itsPath, header: { "If-Match": etag } },
    body: { price: 24.99 },
  }),
);
assert.equal(sent.at(-1), '{"price":24.99}');
assert.deepEqual([changed.name, changed.price], ["Lamp", 24.99]);

const free: ItemRead = data(
  await items.PATCH("/api/v1/items/{item_id}", {
    params: { path: itsPath },
    body: { price: null },
  }),
);
assert.equal(free.price, null);

// Lists.
const desk = data(
  await items.POST("/api/v1/items", { body: { name: "Desk", price: "120.00", tags: ["Home"] } }),
);
const first = data(
  await items.GET("/api/v1/items", { params: { query: { sort: "-name", limit: 1 } } }),
);
assert.deepEqual(first.items.map((each) => each.name), ["Lamp"]);
assert.ok(first.next_cursor);
const second = data(
  await items.GET("/api/v1/items", {
    params: { query: { sort: "-name", limit: 1, cursor: first.next_cursor } },
  }),
);
assert.deepEqual(second, { items: [desk], next_cursor: null });
const found = data(
  await items.GET("/api/v1/items", { params: { query: { tag: ["home"], q: "de" } } }),
);
assert.deepEqual(found.items, [desk]);

// Errors.
const stale = await items.PATCH("/api/v1/items/{item_id}", {
  params: { path: itsPath, header: { "If-Match": etag } },
  body: { price: 1 },
});
assert.equal(stale.response.status, 412);
const changedMeanwhile: Problem | undefined = stale.error;
assert.equal(changedMeanwhile?.error, "precondition_failed");
const missing = await items.GET("/api/v1/items/{item_id}", {
  params: { path: { item_id: randomUUID() } },
});
const notFound: Problem | undefined = missing.error;
assert.deepEqual([notFound?.status, notFound?.error], [404, "item_not_found"]);
const invalid = await items.POST("/api/v1/items", { body: { name: "" } });
assert.deepEqual(invalid.error?.details?.map((each) => each.field), ["body.name"]);

// What the types refuse; each is an error of the compiler where they no longer do.
// @ts-expect-error: an item has a name
const nameless: Items["schemas"]["ItemCreate"] = { price: 1 };
// @ts-expect-error: a name is never null
const unnamed: Items["schemas"]["ItemUpdate"] = { name: null };
// @ts-expect-error: there is no such order
const unordered: Items["schemas"]["ItemSort"] = "weight";
void [nameless, unnamed, unordered];

// A deletion has no result.
const deleted = await items.DELETE("/api/v1/items/{item_id}", { params: { path: itsPath } });
assert.deepEqual([deleted.response.status, deleted.error], [204, undefined]);
