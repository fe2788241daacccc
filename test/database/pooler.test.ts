import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { type Database, openDatabase, withClient } from "../../src/database/connect.ts";
import { isPooled } from "../../src/database/pooler.ts";
import { runWorkerOnce, startWorker } from "../../src/worker/worker.ts";
import { secret } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";
import { makeWorld } from "../support/world.ts";

/*
 * All commands through a real PgBouncer in transaction mode, with one server connection for all clients of a login:
 * session state that a client leaves behind is visible to the next one. INSIGHTS_TEST_PGBOUNCER is the path of its
 * program; `.ci/run --full` installs it and sets the variable.
 */

const program = process.env["INSIGHTS_TEST_PGBOUNCER"];
const possible = inject("server").kind === "native" && program !== undefined && program !== "";
const database = possible ? await testDatabase() : (undefined as never);
const empty = possible ? await testDatabase({ empty: true }) : (undefined as never);
endAtEndOfFile();

const suffix = randomBytes(6).toString("hex");
const logins = { api: `my_api_${suffix}`, worker: `my_worker_${suffix}`, owner: `my_owner_${suffix}` };
const password = randomBytes(12).toString("hex");

interface Bouncer {
  child: ChildProcess;
  /** The same database and login through PgBouncer. */
  through(url: string): string;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

async function startBouncer(directory: string, poolSize: number): Promise<Bouncer> {
  const { hostname, port } = new URL(database.url());
  const listens = await freePort();
  const [, major = 0, minor = 0] = (
    /(\d+)\.(\d+)/.exec(execFileSync(program ?? "", ["--version"], { encoding: "utf8" })) ?? []
  ).map(Number);
  await writeFile(
    join(directory, "users.txt"),
    Object.values(logins)
      .map((login) => `"${login}" "${password}"\n`)
      .join(""),
  );
  await writeFile(
    join(directory, "pgbouncer.ini"),
    `[databases]
* = host=${hostname} port=${port || 5432}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listens}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${join(directory, "users.txt")}
pool_mode = transaction
default_pool_size = ${poolSize}
${major > 1 || minor >= 21 ? "max_prepared_statements = 0" : ""}
`,
  );
  // It refuses to run as root.
  const user = process.getuid?.() === 0 ? ["--user", "nobody"] : [];
  const child = spawn(program ?? "", ["--quiet", ...user, join(directory, "pgbouncer.ini")], { stdio: "inherit" });
  const through = (url: string): string => {
    const result = new URL(url);
    result.host = `127.0.0.1:${listens}`;
    return result.href;
  };
  for (let attempt = 1; ; attempt++) {
    try {
      await withClient(through(signedInAs(logins.owner)), (client) => client.query("select"));
      return { child, through };
    } catch (error) {
      if (attempt > 1000 || child.exitCode !== null) throw error;
      await wait(50);
    }
  }
}

function signedInAs(login: string, url = database.url()): string {
  const result = new URL(url);
  result.username = login;
  result.password = password;
  return result.href;
}

/** Session state that a client of the pooler finds after others have used the session. */
const found = `
  select
    current_user <> session_user as other_role,
    array(select name from pg_catalog.pg_prepared_statements) as statements,
    array(select pg_catalog.pg_listening_channels()) as channels,
    array(select name from pg_catalog.pg_cursors where name <> '') as cursors,
    array(
      select name || '=' || setting
      from pg_catalog.pg_settings
      where source = 'session'
        -- State that PgBouncer keeps for each client.
        and name not in ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')
    ) as settings,
    coalesce(pg_catalog.current_setting('insights.person', true), '') as person,
    (select pg_catalog.count(*)::int from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()) as locks,
    array(
      select relname::text from pg_catalog.pg_class where relnamespace = pg_catalog.pg_my_temp_schema() and relkind <> 'i'
    ) as temporary`;
const nothing = {
  other_role: false,
  statements: [],
  channels: [],
  cursors: [],
  settings: [],
  person: "",
  locks: 0,
  temporary: [],
};

/** Another client of the same login checks the session continuously, while work is done through the pooler. */
async function observed(url: string, work: () => Promise<void>): Promise<void> {
  const seen = new Map<string, unknown>();
  let checks = 0;
  let done = false;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const check = async (): Promise<void> => {
    const { rows } = await client.query(found);
    seen.set(JSON.stringify(rows[0]), rows[0]);
    checks++;
  };
  try {
    await check();
    const looking = (async () => {
      while (!done) {
        await check();
        await wait(2);
      }
    })();
    try {
      await work();
    } finally {
      done = true;
      await looking;
    }
    await check();
  } finally {
    await client.end();
  }
  expect([...seen.values()]).toEqual([nothing]);
  expect(checks).toBeGreaterThan(2);
}

describe.skipIf(!possible)("through PgBouncer in transaction mode (needs PgBouncer)", () => {
  let directory = "";
  let bouncer: Bouncer;

  beforeAll(async () => {
    await makeWorld(database);
    await database.query(`create role ${logins.api} login password '${password}' in role insights_api`);
    await database.query(`create role ${logins.worker} login password '${password}' in role insights_queue`);
    await database.query(`create role ${logins.owner} login superuser password '${password}'`);
    directory = await mkdtemp(join(tmpdir(), "insights-pgbouncer-"));
    await chmod(directory, 0o755);
    bouncer = await startBouncer(directory, 1);
  });

  afterAll(async () => {
    bouncer.child.kill("SIGINT");
    await once(bouncer.child, "exit");
    await rm(directory, { recursive: true });
    // The events of the simulation.
    await empty.query(`drop owned by ${logins.owner} cascade`);
    await database.query(`drop role ${Object.values(logins).join(", ")}`);
  });

  const open = (login: string): Promise<Database> =>
    openDatabase(readConfig({ DATABASE_URL: bouncer.through(signedInAs(login)) }), "test");

  test("the check of this file detects state that a client leaves behind", async () => {
    const url = bouncer.through(signedInAs(logins.owner));
    await withClient(url, async (client) => {
      await client.query("set role insights_owner; set work_mem = '5MB'; listen something; prepare mine as select 1");
      await withClient(url, async (other) => {
        expect((await other.query(found)).rows).toEqual([
          { ...nothing, other_role: true, statements: ["mine"], channels: ["something"], settings: ["work_mem=5120"] },
        ]);
        await other.query("discard all");
      });
    });
  });

  test("it is detected by its behaviour, on any port, and the server itself is not", async () => {
    expect(await withClient(bouncer.through(signedInAs(logins.owner)), isPooled)).toBe(true);
    expect(await withClient(database.url(), isPooled)).toBe(false);
    expect(await open(logins.worker)).toMatchObject({ pooler: true });
    const without = { INSIGHTS_POOLER: "false", DATABASE_URL: bouncer.through(signedInAs(logins.owner)) };
    expect(await openDatabase(readConfig(without), "test")).toMatchObject({ pooler: false });
    expect(await openDatabase(readConfig({ DATABASE_URL: database.url() }), "test")).toMatchObject({ pooler: false });
  });

  test("a wrong or missing password and an unknown login are reported with a hint", async () => {
    const wrong = new URL(bouncer.through(signedInAs(logins.api)));
    wrong.password = "wrong";
    const missing = new URL(wrong);
    missing.password = "";
    const unknown = new URL(wrong);
    unknown.username = "nobody";
    for (const url of [wrong, missing, unknown]) {
      for (const command of ["api", "worker", "migrate", "train"]) {
        const call = insights([command], { DATABASE_URL: url.href, PORT: "0", INSIGHTS_JWT_SECRET: secret });
        expect(await call.exitCode()).toBe(1);
        expect(call.output()).toMatch(/^error: .*\nhint: Check user and password in DATABASE_URL/);
      }
    }
  });

  test("a migration is refused before anything is changed, and uses DIRECT_DATABASE_URL", async () => {
    const url = bouncer.through(signedInAs(logins.owner, empty.url()));
    await observed(url, async () => {
      for (const command of ["migrate", "start"]) {
        const refused = insights([command], { DATABASE_URL: url, PORT: "0", INSIGHTS_JWT_SECRET: secret });
        expect(await refused.exitCode()).toBe(1);
        expect(refused.output()).toMatch(/the connection goes through a pooler[\s\S]*hint: Set DIRECT_DATABASE_URL/);
      }
      const changed =
        "select (select count(*) from pg_extension) + (select count(*) from pg_namespace where nspname ~ '^(ml|graphile|insights)') as count";
      expect(await empty.value(changed)).toBe("1");
      const migrated = insights(["migrate"], { DATABASE_URL: url, DIRECT_DATABASE_URL: empty.url() });
      expect(await migrated.exitCode(), migrated.output()).toBe(0);
      expect(migrated.output()).toContain("applied 000001");
    });
  });

  test("everything in one process: start, with its API and worker", async () => {
    const url = bouncer.through(signedInAs(logins.owner, empty.url()));
    await observed(url, async () => {
      const started = insights(["start"], {
        DATABASE_URL: url,
        DIRECT_DATABASE_URL: empty.url(),
        PORT: "0",
        INSIGHTS_JWT_SECRET: secret,
      });
      const [, address] = await started.prints(/start page {2}(http:\S+)/);
      expect(await (await fetch(`${address}healthz`)).json()).toMatchObject({ status: "ok" });
      started.child.kill("SIGTERM");
      expect(await started.exitCode(), started.output()).toBe(0);
      expect(started.output()).not.toMatch(/^worker: /m);
    });
  });

  test("simulate, import, train, recommend, sql and doctor", async () => {
    const url = bouncer.through(signedInAs(logins.owner, empty.url()));
    const line = JSON.stringify({
      type: "track",
      messageId: "1",
      userId: "ada",
      event: "Course Started",
      properties: { item: "sql-101" },
    });
    await observed(url, async () => {
      for (const [words, input] of [
        [["simulate", "--learners", "40", "--weeks", "1"], ""],
        [["import", "segment", "-"], `${line}\n`],
        [["train"], ""],
        [["worker", "--once"], ""],
        [["recommend", "ada"], ""],
        [["sql", "select count(*) from track.event"], ""],
        [["sql", "--role", "insights_learner", "--person", "ada", "select count(*) from track.event"], ""],
        [["query", "--as", "admin", "table track.event"], ""],
        [["query", "popular-courses", "--format", "csv"], ""],
        [["sql", "-"], "set role insights_owner; set work_mem = '7MB'; listen x; prepare y as select 1; -- no end"],
        [
          ["sql", "select pg_advisory_lock(1), set_config('insights.person', 'ada', false); create temp table z ()"],
          "",
        ],
        [["doctor"], ""],
      ] as const) {
        const call = insights([...words], { DATABASE_URL: url }, input);
        expect(await call.exitCode(), `${words.join(" ")}\n${call.output()}`).toBe(0);
        if (words[0] === "doctor") expect(call.output()).toContain("insights migrate requires DIRECT_DATABASE_URL");
      }
    });
  });

  test("the worker, all its tasks and its schedule, by its own login", async () => {
    const target = await open(logins.worker);
    await observed(target.url, async () => {
      await database.query(
        "insert into track.stale (person_id, since, until) select person_id, '-infinity', 'infinity' from track.person",
      );
      // Twice: a prepared statement of the first run would exist in the second.
      await runWorkerOnce(target);
      await runWorkerOnce(target);
      const workers = [await startWorker(readConfig({}), target), await startWorker(readConfig({}), target)];
      await database.query("select insights_queue.add_job('insights:refresh_views') from generate_series(1, 20)");
      for (let left = 1; left > 0; ) {
        await wait(100);
        left = await database.value<number>("select count(*)::int from insights_queue.jobs");
      }
      for (const worker of workers) await worker.close();
    });
    expect(await database.value("select count(*)::int from monitor.run where outcome <> 'ok'")).toBe(0);
    expect(await database.value("select count(*)::int from monitor.run where task = 'refresh_views'")).toBe(22);
  });

  test("the API, for many concurrent clients, by its own login", async () => {
    const target = await open(logins.api);
    const { startApi } = await import("../../src/api/server.ts");
    const { signToken } = await import("../../src/api/authentication.ts");
    const config = readConfig({ PORT: "0", INSIGHTS_JWT_SECRET: secret, INSIGHTS_POOL_SIZE: "4" });
    await observed(target.url, async () => {
      const api = await startApi(config, target);
      const ask = async (person: string): Promise<unknown> => {
        const token = await signToken({ role: "learner", person, source: undefined }, { secret });
        const response = await fetch(`${api.url}/graphql`, {
          method: "POST",
          headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
          body: JSON.stringify({
            query: "{ trackIdentities { nodes { externalId } } }",
          }),
        });
        return await response.json();
      };
      const people = ["ada", "ben", "ada", "ben", "ada", "ben", "ada", "ben"];
      for (let round = 0; round < 5; round++) {
        const answers = await Promise.all(people.map(ask));
        for (const [place, answer] of answers.entries()) {
          const names = (answer as { data: { trackIdentities: { nodes: { externalId: string }[] } } }).data
            .trackIdentities.nodes;
          expect(names.map(({ externalId }) => externalId)).toContain(people[place]);
          expect(names.map(({ externalId }) => externalId)).not.toContain(people[(place + 1) % people.length]);
        }
      }
      expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
      await api.close();
    });
  });
});
