import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { startApi } from "../../src/api/server.ts";
import { readConfig } from "../../src/config.ts";
import { withClient } from "../../src/database/connect.ts";
import { bootstrap, installWorker } from "../../src/database/migrate.ts";
import type { InsightsError } from "../../src/errors.ts";
import { runWorkerOnce, startWorker } from "../../src/worker/worker.ts";
import { asDatabase, secret, testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";
import { makeWorld } from "../support/world.ts";

/*
 * The API and the worker each need a login without rights of its own except switching to their roles. On the embedded
 * database every login is the superuser.
 */

const database = await testDatabase();
endAtEndOfFile();

/** Logins created as in docs/deploying.md, dropped at the end. */
async function withLogins(
  work: (logins: { api: string; worker: string; urlOf: (login: string) => string }) => Promise<void>,
): Promise<void> {
  const suffix = randomBytes(6).toString("hex");
  const password = randomBytes(12).toString("hex");
  const api = `my_api_${suffix}`;
  const worker = `my_worker_${suffix}`;
  // If connect is revoked from public, their groups have it.
  await database.query(`revoke connect on database ${new URL(database.url()).pathname.slice(1)} from public`);
  await withClient(database.url(), bootstrap);
  await database.query(`create role ${api} login password '${password}' in role insights_api`);
  await database.query(`create role ${worker} login password '${password}' in role insights_queue`);
  try {
    await work({
      api,
      worker,
      urlOf(login) {
        const url = new URL(database.url());
        url.username = login;
        url.password = password;
        return url.href;
      },
    });
  } finally {
    await database.query(`drop role ${api}, ${worker}`);
  }
}

/** Actions that the login may not do itself. */
async function refused(url: string, statements: string[]): Promise<void> {
  await withClient(url, async (client) => {
    for (const statement of statements) {
      await expect(client.query(statement), statement).rejects.toMatchObject({ code: "42501" });
    }
  });
}

test.skipIf(!database.native)(
  "the API needs a login in insights_api and nothing else (needs real logins)",
  async () => {
    await makeWorld(database);
    await withLogins(async ({ api, urlOf }) => {
      await refused(urlOf(api), [
        "select * from track.event",
        "select * from recommend.for_me()",
        "select * from insights_queue._private_jobs",
        "set role insights_owner",
        "set role insights_queue",
      ]);
      await serve(urlOf(api));
    });
  },
);

test.skipIf(!database.native)(
  "a worker needs a login in insights_queue and nothing else (needs real logins)",
  async () => {
    await withLogins(async ({ worker, urlOf }) => {
      await refused(urlOf(worker), [
        "select * from track.event",
        "select * from track.stale",
        "delete from insights_queue.migrations",
        "create table insights_queue.mine ()",
        "create function insights_queue.mine() returns int language sql return 1",
        "set role insights_owner",
        "set role insights_admin",
        "set role insights_api",
      ]);
      await runWorkerOnce({ ...asDatabase(database), url: urlOf(worker) });
      // The tasks with nothing to do are not recorded; the refresh has something to do.
      await database.query(
        "insert into track.stale (person_id, since, until) select person_id, '-infinity', 'infinity' from track.person",
      );
      await runWorkerOnce({ ...asDatabase(database), url: urlOf(worker) });
      const running = await startWorker(readConfig({}), { ...asDatabase(database), url: urlOf(worker) });
      await running.close();
      const runs = await database.rows<{ task: string; outcome: string }>(
        "select distinct task, outcome from monitor.run order by 1",
      );
      expect(runs.filter(({ outcome }) => outcome !== "ok")).toEqual([]);
      expect(runs.map(({ task }) => task)).toEqual(
        expect.arrayContaining(["make_partitions", "refresh", "refresh_views", "train"]),
      );
      expect(await database.value("select count(*)::int from insights_queue._private_known_crontabs")).toBeGreaterThan(
        5,
      );

      // A new version of graphile-worker has migrations that the queue lacks.
      await database.query(
        "delete from insights_queue.migrations where id = (select max(id) from insights_queue.migrations)",
      );
      const target = { ...asDatabase(database), url: urlOf(worker) };
      for (const attempt of [() => runWorkerOnce(target), () => startWorker(readConfig({}), target)]) {
        await expect(attempt()).rejects.toMatchObject({
          message: expect.stringContaining("the job queue is older than this version"),
          hint: "Run: insights migrate",
        });
      }
      await installWorker(database.url());
      await runWorkerOnce(target);
    });
  },
);

test.skipIf(!database.native)(
  "a login that is not meant for a worker gets instructions (needs real logins)",
  async () => {
    await withLogins(async ({ api, urlOf }) => {
      const target = { ...asDatabase(database), url: urlOf(api) };
      const told = await runWorkerOnce(target).catch((error: unknown) => error);
      expect(told).toMatchObject({ message: expect.stringContaining(`"${api}" may not use the job queue`) });
      await expect(startWorker(readConfig({}), target)).rejects.toMatchObject(told as InsightsError);
      const [, statement = ""] = /this login for both: (.*)$/.exec((told as InsightsError).hint ?? "") ?? [];
      await database.query(statement);
      await runWorkerOnce(target);
    });
  },
);

test.skipIf(!database.native)("doctor reports no problem of either login (needs real logins)", async () => {
  await withLogins(async ({ api, worker, urlOf }) => {
    for (const [login, may] of [
      [api, "serve the API"],
      [worker, "process the job queue"],
    ] as const) {
      const call = insights(["doctor", "--json"], { DATABASE_URL: urlOf(login) });
      await call.exitCode();
      const findings = JSON.parse(call.printed()) as {
        check: string;
        text: string;
        status: string;
      }[];
      expect(findings.filter(({ check, status }) => status !== "ok" && check !== "migrations")).toEqual([]);
      expect(findings.find(({ check }) => check === "roles")?.text).toMatch(
        new RegExp(`"${login}", which may ${may}$`),
      );
    }
  });
});

test.skipIf(!database.native)("doctor names the logins that can set the person (needs real logins)", async () => {
  await withLogins(async ({ api, urlOf }) => {
    const person = `my_person_${randomBytes(6).toString("hex")}`;
    await database.query(`create role ${person} login in role insights_learner;
        grant connect on database ${new URL(database.url()).pathname.slice(1)} to ${person}`);
    try {
      const call = insights(["doctor", "--json"], { DATABASE_URL: urlOf(api) });
      await call.exitCode();
      const findings = JSON.parse(call.printed()) as { check: string; status: string; text: string; fix?: string }[];
      const found = findings.find(({ check }) => check === "roles");
      expect(found).toMatchObject({ status: "warning", text: expect.stringContaining(`"${person}" can act as`) });
      await database.query(found?.fix ?? "");
      const fixed = insights(["doctor", "--json"], { DATABASE_URL: urlOf(api) });
      await fixed.exitCode();
      expect(JSON.parse(fixed.printed())).toContainEqual(expect.objectContaining({ check: "roles", status: "ok" }));
    } finally {
      await database.query(`drop owned by ${person}; drop role ${person}`);
    }
  });
});

async function serve(url: string): Promise<void> {
  const api = await startApi(
    readConfig({ DATABASE_URL: url, PORT: "0", INSIGHTS_JWT_SECRET: secret, INSIGHTS_POOL_SIZE: "2" }),
    { ...asDatabase(database), url },
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
    const headers = { authorization: `Bearer ${await token("admin", "admin")}` };
    expect(await (await fetch(`${api.url}/healthz`, { headers })).json()).toMatchObject({
      status: "ok",
      queue: { waiting: 0, failed: 0 },
      freshness: { stalePeople: 0 },
    });
  } finally {
    await api.close();
  }
}
