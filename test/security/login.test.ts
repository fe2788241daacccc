import { randomBytes } from "node:crypto";
import pg from "pg";
import { expect, test } from "vitest";
import { startApi } from "../../src/api/server.ts";
import { readConfig } from "../../src/config.ts";
import { asDatabase, secret, testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

/*
 * The API needs a login that may do nothing itself but switch to the roles of its callers. On the embedded database every
 * login is the superuser.
 */

const database = await testDatabase();

test.skipIf(!database.native)("a login without rights of its own is enough (needs real logins)", async () => {
  await makeWorld(database);
  const login = `insights_test_${randomBytes(6).toString("hex")}`;
  const password = randomBytes(12).toString("hex");
  await database.query(`create role ${login} login noinherit password '${password}' in role insights_api`);
  try {
    await asLogin(login, password);
  } finally {
    await database.query(`drop role ${login}`);
  }
});

async function asLogin(login: string, password: string): Promise<void> {
  const url = new URL(database.url());
  url.username = login;
  url.password = password;

  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    for (const statement of [
      "select * from track.event",
      "select * from recommend.for_me()",
      "set role insights_owner",
    ]) {
      await expect(client.query(statement)).rejects.toMatchObject({ code: "42501" });
    }
  } finally {
    await client.end();
  }

  const api = await startApi(
    readConfig({ DATABASE_URL: url.href, PORT: "0", INSIGHTS_JWT_SECRET: secret, INSIGHTS_POOL_SIZE: "2" }),
    { ...asDatabase(database), url: url.href },
  );
  try {
    const { token } = await testApi(database);
    const ask = async (query: string, ...who: Parameters<typeof token>): Promise<unknown> => {
      const response = await fetch(`${api.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${await token(...who)}` },
        body: JSON.stringify({ query }),
      });
      return await response.json();
    };
    expect(await ask("{ trackIdentities { nodes { externalId } } }", "learner", "ada")).toEqual({
      data: { trackIdentities: { nodes: expect.arrayContaining([{ externalId: "ada" }]) } },
    });
    expect(await ask("{ analyticsPopularItems { nodes { item } } }", "analyst")).toMatchObject({
      data: { analyticsPopularItems: { nodes: expect.any(Array) } },
    });
    expect(await ask("{ trackPeople { totalCount } }", "analyst")).toMatchObject({
      errors: [{ message: "not allowed" }],
    });
    // What it may not look at, it does not tell.
    const headers = { authorization: `Bearer ${await token("admin", "admin")}` };
    expect(await (await fetch(`${api.url}/healthz`, { headers })).json()).toMatchObject({
      status: "ok",
      queue: null,
      freshness: null,
    });
  } finally {
    await api.close();
  }
}
