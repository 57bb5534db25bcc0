// What somebody does with the generated TypeScript clients of auth and users; the argument has
// the addresses of the services and a password, as JSON.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { createAuthClient, type components as Auth } from "#clients/auth";
import { createUsersClient, type components as Users } from "#clients/users";
import type { Middleware } from "openapi-fetch";

type ProfileRead = Users["schemas"]["ProfileRead"];
type Problem = Users["schemas"]["ProblemDetail"];

const given = JSON.parse(process.argv[2]!) as {
  urls: { auth: string; users: string };
  password: string;
};
const email = `client-${randomUUID()}@example.com`;

/** The data of an answer, which must be one of success. */
function data<Data>(answer: { data?: Data; error?: unknown }): Data {
  assert.equal(answer.error, undefined, JSON.stringify(answer.error));
  return answer.data as Data;
}

// Register and log in.
const auth = createAuthClient({ baseUrl: given.urls.auth });
const account: Auth["schemas"]["AccountRead"] = data(
  await auth.POST("/api/v1/auth/register", {
    body: { email, password: given.password, full_name: "Ada Lovelace" },
  }),
);
const form = { "Content-Type": "application/x-www-form-urlencoded" };
const refused = await auth.POST("/api/v1/auth/token", {
  body: { grant_type: "password", username: email, password: "another phrase" },
  headers: form,
});
assert.equal(refused.response.status, 400);
assert.equal(refused.error?.error, "invalid_grant");
const tokens: Auth["schemas"]["TokenRead"] = data(
  await auth.POST("/api/v1/auth/token", {
    body: { grant_type: "password", username: email, password: given.password },
    headers: form,
  }),
);
const headers = { Authorization: `${tokens.token_type} ${tokens.access_token}` };
assert.deepEqual(data(await auth.GET("/api/v1/auth/me", { headers })), account);

// A profile: one member is changed and nothing else is sent.
const sent: string[] = [];
const record: Middleware = {
  async onRequest({ request }) {
    sent.push(await request.clone().text());
  },
};
const users = createUsersClient({ baseUrl: given.urls.users, headers });
users.use(record);
const read = await users.GET("/api/v1/users/me");
const profile: ProfileRead = data(read);
assert.deepEqual([profile.id, profile.full_name], [account.id, "Ada Lovelace"]);

const etag = read.response.headers.get("etag")!;
const changed: ProfileRead = data(
  await users.PATCH("/api/v1/users/me", {
    params: { header: { "If-Match": etag } },
    body: { bio: "Wrote the first program." },
  }),
);
assert.equal(sent.at(-1), '{"bio":"Wrote the first program."}');
assert.deepEqual(
  [changed.bio, changed.full_name],
  ["Wrote the first program.", "Ada Lovelace"],
);
assert.deepEqual(data(await users.GET("/api/v1/users/me")), changed);
const itsPath = { account_id: account.id };
const published: Users["schemas"]["PublicProfileRead"] = data(
  await users.GET("/api/v1/users/{account_id}", { params: { path: itsPath } }),
);
assert.equal(published.bio, changed.bio);

const silent: ProfileRead = data(
  await users.PATCH("/api/v1/users/me", { body: { bio: null } }),
);
assert.equal(silent.bio, null);

// Errors.
const stale = await users.PATCH("/api/v1/users/me", {
  params: { header: { "If-Match": etag } },
  body: { locale: "en-GB" },
});
assert.equal(stale.response.status, 412);
const changedMeanwhile: Problem | undefined = stale.error;
assert.equal(changedMeanwhile?.error, "precondition_failed");
const missing = await users.GET("/api/v1/users/{account_id}", {
  params: { path: { account_id: randomUUID() } },
});
const notFound: Problem | undefined = missing.error;
assert.deepEqual([notFound?.status, notFound?.error], [404, "profile_not_found"]);
const forbidden = await users.GET("/api/v1/users", { params: { query: { limit: 1 } } });
assert.equal(forbidden.error?.status, 403);
const invalid = await users.PATCH("/api/v1/users/me", { body: { full_name: "" } });
assert.deepEqual(invalid.error?.details?.map((each) => each.field), ["body.full_name"]);

// What the types refuse; each is an error of the compiler where they no longer do.
// @ts-expect-error: an account has a password
const open: Auth["schemas"]["AccountCreate"] = { email };
// @ts-expect-error: a biography is text
const counted: Users["schemas"]["ProfileUpdate"] = { bio: 1 };
// @ts-expect-error: there is no such member
const unknown: Users["schemas"]["ProfileUpdate"] = { nickname: "Ada" };
void [open, counted, unknown];

// A deletion has no result.
const sessions = data(await auth.GET("/api/v1/auth/sessions", { headers }));
const ended = await auth.DELETE("/api/v1/auth/sessions/{session_id}", {
  params: { path: { session_id: sessions.items[0]!.id } },
  headers,
});
assert.deepEqual([ended.response.status, ended.data], [204, undefined]);
