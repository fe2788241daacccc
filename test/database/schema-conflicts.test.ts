import { Logger, runMigrations, runOnce } from "graphile-worker";
import { describe, expect, test } from "vitest";
import { createPool } from "../../src/database/connect.ts";
import { migrate } from "../../src/database/migrate.ts";
import { runWorkerOnce } from "../../src/worker/worker.ts";
import { asDatabase } from "../support/api.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

/* A database is used by an application, and Insights is installed in it. */

const silent = new Logger(() => () => {});

/**
 * All objects that an installation could change: schemas, extensions, roles, and the privileges on the database. Other
 * test files create roles in the same server concurrently.
 */
const state = (database: TestDatabase): Promise<unknown> =>
  database.value(`
    select jsonb_build_object(
      'schemas', (select jsonb_object_agg(nspname, nspowner::regrole) from pg_namespace),
      'extensions', (select jsonb_agg(extname order by extname) from pg_extension),
      'roles', (
        select jsonb_agg(to_jsonb(role) order by rolname) from pg_roles as role
        where rolname = current_user or rolname ~ '^insights_'),
      'members', (
        select jsonb_agg(to_jsonb(membership) - 'oid' order by roleid, member, grantor) from pg_auth_members as membership
        where member::regrole::text in (current_user, (select rolname from pg_roles where oid = member and rolname ~ '^insights_'))),
      'rights', (select datacl::text from pg_database where datname = current_database())
    )`);

describe("schemas of the same name", async () => {
  const database = await testDatabase({ empty: true });
  const owner = await database.value<string>("select current_user");

  test.each([
    ["ml", 'alter schema "ml" rename to'],
    ["common", 'alter schema "common" rename to'],
    ["monitor", 'alter schema "monitor" rename to'],
    ["insights_queue", 'alter schema "insights_queue" rename to'],
    ["graphile_migrate", "uses graphile-migrate too"],
  ])("%s is reported before anything is changed", async (name, way) => {
    await database.query(`create schema ${name}`);
    const before = await state(database);
    await expect(migrate(database.url())).rejects.toMatchObject({
      message: expect.stringContaining(
        `a schema of another application where Insights needs one of its own: "${name}" (owner "${owner}")`,
      ),
      hint: expect.stringContaining(way),
    });
    expect(await state(database)).toEqual(before);
    await database.query(`drop schema ${name}`);
  });

  test("all of them at once", async () => {
    await database.query("create schema track; create schema analytics; create schema unrelated");
    await expect(migrate(database.url())).rejects.toMatchObject({
      message: expect.stringContaining(`: "analytics" (owner "${owner}"), "track" (owner "${owner}")`),
    });
  });
});

test("an application's own queue is not changed, whatever its owner and version", async () => {
  const database = await testDatabase({ empty: true });
  // An older version has other tables.
  await database.query(`
    create schema graphile_worker;
    create table graphile_worker.migrations (id int primary key, ts timestamptz not null default now());
    insert into graphile_worker.migrations (id) values (1), (2), (3);
    create table graphile_worker.jobs (id int primary key)`);
  const tables = "select count(*)::int from pg_class where relnamespace = 'graphile_worker'::regnamespace";
  const before = await database.value<number>(tables);
  await migrate(database.url());
  await runWorkerOnce(asDatabase(database));
  expect(await database.value(tables)).toBe(before);
  expect(await database.value("select count(*)::int from monitor.run where outcome = 'ok'")).toBeGreaterThan(0);

  // A current version runs at the same time: each takes its own jobs.
  await database.query("drop schema graphile_worker cascade");
  const pool = createPool({ url: database.url() }, 2);
  pool.on("connect", (client) => client.on("error", () => {}));
  const options = { pgPool: pool, noPreparedStatements: !database.native, logger: silent };
  const done: unknown[] = [];
  await runMigrations(options);
  await database.query("select graphile_worker.add_job('refresh'), insights_queue.add_job('insights:delete_old_runs')");
  expect(await migrate(database.url())).toMatchObject({ applied: [] });
  await runOnce({ ...options, taskList: { refresh: async () => void done.push("refresh") } });
  expect(done).toEqual(["refresh"]);
  await runWorkerOnce(asDatabase(database));
  expect(await database.value("select count(*)::int from insights_queue.jobs")).toBe(0);
  await pool.end();
});
