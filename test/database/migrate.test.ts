import { setTimeout as wait } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { afterAll, describe, expect, test, vi } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { checkServer, holdsNothingElse, migrate } from "../../src/database/migrate.ts";
import { openPglite } from "../../src/database/pglite.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { serveLocally } from "../support/embedded.ts";

const database = await testDatabase({ empty: true });
const own = await testDatabase({ empty: true });
const shared = await testDatabase({ empty: true });

describe("an unsuitable server", () => {
  test("one that is too old is reported with its version and the required one", async () => {
    const version = await database.value<string>("select current_setting('server_version')");
    await withClient(database.url(), async (client) => {
      await expect(checkServer(client, 990_000)).rejects.toMatchObject({
        message: `the server runs PostgreSQL ${version}, but version 99 or later is required`,
        hint: expect.stringContaining("Upgrade"),
      });
      await checkServer(client);
    });
  });

  test("one without pgvector is reported with installation instructions, and nothing is changed", async () => {
    const bare = await PGlite.create();
    const socket = await serveLocally(bare);
    const { rows: versions } = await bare.query<{ major: number }>(
      "select current_setting('server_version_num')::int / 10000 as major",
    );
    await expect(migrate(socket.url)).rejects.toMatchObject({
      message: "the server does not have the extension pgvector",
      hint: expect.stringMatching(
        new RegExp(`postgresql-${versions[0]?.major}-pgvector.*pgvector/pgvector:pg${versions[0]?.major}\\)`),
      ),
    });
    const { rows } = await bare.query("select from pg_roles where rolname like 'insights%'");
    expect(rows).toEqual([]);
    await socket.stop();
    await bare.close();
  });
});

test("a migration that fails is reported, also if the database is closed right after", async () => {
  const taken = await openPglite();
  await taken.exec("create role insights_owner; create schema ml authorization insights_owner");
  const socket = await serveLocally(taken);
  await expect(migrate(socket.url)).rejects.toMatchObject({ message: 'schema "ml" already exists' });
  const exit = vi.spyOn(process, "exit").mockImplementation(() => undefined as never);
  await socket.stop();
  await taken.close();
  await wait(300);
  expect(exit).not.toHaveBeenCalled();
  exit.mockRestore();
});

describe.skipIf(!database.native)("logins that are not superusers (need a real server)", () => {
  const suffix = Math.random().toString(36).slice(2, 8);
  const allowed = `insights_test_allowed_${suffix}`;
  const refused = `insights_test_refused_${suffix}`;
  const name = new URL(database.url()).pathname.slice(1);
  const roles = [
    "owner",
    "reader",
    "visitor",
    "learner",
    "instructor",
    "analyst",
    "admin",
    "worker",
    "api",
    "queue",
  ].map((name) => `insights_${name}`);

  afterAll(async () => {
    await database.query(`alter database ${pg.escapeIdentifier(name)} owner to current_user`);
    for (const role of [allowed, refused]) {
      await database.query(`drop owned by ${role} cascade`);
      await database.query(`drop role ${role}`);
    }
  });

  function signedInAs(role: string): string {
    const url = new URL(database.url());
    url.username = role;
    url.password = "secret";
    return url.href;
  }

  test("one that may create roles, and owns its database, can migrate once an administrator has created pgvector", async () => {
    await database.query(`create role ${refused} login password 'secret'`);
    await database.query(`create role ${allowed} login createrole password 'secret'`);
    // As if it had created them itself, as an earlier installation on this cluster has done.
    await database.query(`grant ${roles.join(", ")} to ${allowed} with admin option`);
    await database.query(`alter database ${pg.escapeIdentifier(name)} owner to ${allowed}`);
    await expect(migrate(signedInAs(allowed))).rejects.toMatchObject({
      message: expect.stringContaining("the extension pgvector cannot be created"),
      hint: expect.stringContaining("administrator"),
    });
    await database.query("create extension vector");
    await migrate(signedInAs(allowed));
    await withClient(signedInAs(allowed), async (client) => {
      const { rows } = await client.query(
        "select rolname as owner, rolsuper as super from pg_class join pg_roles on pg_roles.oid = relowner where pg_class.oid = 'track.event'::regclass",
      );
      expect(rows).toEqual([{ owner: "insights_owner", super: false }]);
      await client.query("begin");
      await client.query("set local role insights_learner");
      // The view of /healthz on it.
      await client.query("set local role insights_worker");
      await client.query("select from graphile_migrate.migrations, insights_queue.jobs");
      await client.query("rollback");
    });
  });

  test("one without the privilege gets the list of missing privileges", async () => {
    await expect(migrate(signedInAs(refused))).rejects.toMatchObject({
      message: expect.stringContaining("may not create the roles"),
      hint: expect.stringContaining("createrole"),
    });
  });
});

test.skipIf(!database.native)(
  "two concurrent migrations have the effect of one (needs parallel sessions)",
  async () => {
    const results = await Promise.all([migrate(database.url()), migrate(database.url())]);
    expect(results.every(({ applied }) => Array.isArray(applied))).toBe(true);
  },
);

describe("the privilege to create temporary objects", () => {
  const grantees = async (db: Queries): Promise<string[]> => {
    const names = await db.value<string[]>(
      `select array_agg(case grantee when 0 then 'public' else grantee::regrole::text end)
       from pg_database cross join lateral aclexplode(coalesce(datacl, acldefault('d', datdba)))
       where datname = current_database() and privilege_type = 'TEMPORARY' and grantee <> datdba`,
    );
    return names.sort();
  };
  const trainers = [
    // The login of the embedded database.
    ...(database.native ? [] : ["insights"]),
    ...["insights_admin", "insights_analyst", "insights_owner", "insights_worker"],
  ];

  test("is revoked from public in a database without other applications, once, and roles that train have it", async () => {
    expect(await migrate(own.url())).toMatchObject({ temporaryRevoked: true });
    expect(await grantees(own)).toEqual(trainers);
    // A DBA who grants it again has a reason.
    await own.query(
      `grant temporary on database ${await own.value("select quote_ident(current_database())")} to public`,
    );
    expect(await migrate(own.url())).toMatchObject({ temporaryRevoked: false });
    expect(await grantees(own)).toEqual([...trainers, "public"]);
  });

  test("is left to public in the database of an application", async () => {
    await shared.query("create schema shop");
    expect(await migrate(shared.url())).toMatchObject({ temporaryRevoked: false });
    expect(await grantees(shared)).toEqual([...trainers, "public"]);
  });

  test.each([
    ["table", "create table public.shop (shop_id int)"],
    ["function", "create function public.shop() returns int language sql return 1"],
    ["type", "create type public.shop as enum ('open')"],
  ])("distinguishes a %s in public from the objects of an extension", async (_, sql) => {
    await withClient(own.url(), async (client) => {
      expect(await holdsNothingElse(client)).toBe(true);
      await client.query(`begin; ${sql}`);
      expect(await holdsNothingElse(client)).toBe(false);
      await client.query("rollback");
    });
  });
});
