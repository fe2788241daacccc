import { randomBytes } from "node:crypto";
import { getTasks, Logger, parseCrontab, runMigrations, runOnce, type TaskList } from "graphile-worker";
import { afterAll, expect, test, vi } from "vitest";
import { createPool } from "../../src/database/connect.ts";
import { crontab, taskList } from "../../src/worker/tasks.ts";
import { runWorkerOnce } from "../../src/worker/worker.ts";
import { asDatabase, secret } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

/* An application with a PostGraphile and a worker of its own that includes ours. */

const database = await testDatabase();
if (!database.native) process.env["DATAPLAN_PG_PREPARED_STATEMENT_CACHE_SIZE"] = "0";
// Imported after the environment is set, as an application would start with it.
const { makeSchema } = await import("postgraphile");
const { makePgService } = await import("postgraphile/adaptors/pg");
const { grafast } = await import("postgraphile/grafast");
const { preset, requestSettings, rooms } = await import("../../src/api/preset.ts");

test("the preset in a PostGraphile that serves the application's own tables and authenticates people itself", async () => {
  await makeWorld(database);
  await database.query(`
    create table public.lesson (lesson_id int primary key, owner text);
    insert into public.lesson values (1, 'ada');
    grant select on public.lesson to insights_learner`);
  const { schema, resolvedPreset } = await makeSchema({
    extends: [preset],
    pgServices: [
      makePgService({
        pool: database.pool,
        schemas: ["public", ...rooms],
        pubsub: false,
        pgSettingsForIntrospection: { role: "insights_api" },
      }),
    ],
    grafast: {
      context: () => ({ pgSettings: requestSettings({ role: "learner", person: "ada", source: "canvas" }) }),
    },
  });
  const answer = await grafast({
    schema,
    resolvedPreset,
    requestContext: {},
    source:
      "{ lessons { nodes { owner } } recommendForMe(top: 1) { nodes { item } } trackIdentities { nodes { externalId } } trackTraits { nodes { value } } }",
  });
  expect(JSON.parse(JSON.stringify(answer))).toMatchObject({
    data: {
      lessons: { nodes: [{ owner: "ada" }] },
      recommendForMe: { nodes: [{ item: expect.stringContaining("course-") }] },
      trackIdentities: { nodes: expect.arrayContaining([{ externalId: "ada" }]) },
      // The preset finds the person in the database, also within the application's service.
      trackTraits: { nodes: [{ value: "plan of ada" }] },
    },
  });
});

/** The application's login: not a superuser, owner of its own queue. The embedded database has one login for all. */
async function applicationLogin(): Promise<string> {
  if (!database.native) return database.url();
  const login = `my_app_${randomBytes(6).toString("hex")}`;
  const url = new URL(database.url());
  await database.query(`
    create role ${login} login password 'secret';
    grant create on database ${url.pathname.slice(1)} to ${login};
    grant insights_worker to ${login}`);
  afterAll(async () => {
    await database.query(`drop owned by ${login} cascade; drop role ${login}`);
  });
  url.username = login;
  url.password = "secret";
  return url.href;
}

test("the tasks and the crontab in a worker that has its own login, queue and tasks of the same names", async () => {
  const done: string[] = [];
  const pool = createPool({ url: await applicationLogin() }, 3);
  pool.on("connect", (client) => client.on("error", () => {}));
  const options = { pgPool: pool, noPreparedStatements: !database.native, logger: new Logger(() => () => {}) };
  await runMigrations(options);
  await pool.query(
    "select graphile_worker.add_job('refresh', job_key => 'refresh'), graphile_worker.add_job('insights:make_partitions')",
  );
  await database.query(
    "insert into track.stale (person_id, since, until) select person_id, '-infinity', 'infinity' from track.person",
  );
  await pool.query("select graphile_worker.add_job('insights:refresh')");
  const yours: TaskList = { refresh: async () => void done.push("refresh") };
  expect(Object.keys({ ...yours, ...taskList })).toHaveLength(1 + Object.keys(taskList).length);
  await runOnce({ ...options, taskList: { ...yours, ...taskList } });
  expect(done).toEqual(["refresh"]);
  // A finished job is removed a moment later.
  await vi.waitFor(async () => {
    const left = await pool.query("select task_identifier, last_error from graphile_worker.jobs");
    expect(left.rows).toEqual([]);
  }, 10_000);
  await pool.end();
  const runs = await database.rows("select task, outcome from monitor.run order by task");
  expect(runs).toEqual(["make_partitions", "refresh"].map((task) => ({ task, outcome: "ok" })));
  // The queue of `insights worker` is a different one.
  await runWorkerOnce(asDatabase(database));
  expect(await database.value("select count(*)::int from monitor.run where task = 'make_partitions'")).toBe(2);
  const ids = parseCrontab(`0 4 * * * refresh ?id=refresh\n${crontab}`).map(({ identifier }) => identifier);
  expect(new Set(ids).size).toBe(ids.length);
});

test("the same names by taskDirectory, as in graphile.config.ts", async () => {
  process.env["INSIGHTS_JWT_SECRET"] = secret;
  const { default: config } = await import("../../graphile.config.ts");
  const { tasks, release } = await getTasks({ logger: new Logger(() => () => {}) }, config.worker?.taskDirectory ?? "");
  expect(Object.keys(tasks).sort()).toEqual(Object.keys(taskList).sort());
  const scheduled = parseCrontab(crontab).map(({ task }) => task);
  expect(scheduled.filter((task) => !(task in tasks) || !task.startsWith("insights:"))).toEqual([]);
  await release();
});
