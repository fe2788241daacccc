import { Logger, parseCrontab, runOnce } from "graphile-worker";
import { expect, test } from "vitest";
import { createPool } from "../../src/database/connect.ts";
import { crontab, taskList } from "../../src/tasks.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

/* What an application with a PostGraphile and a worker of its own does to have ours within them. */

const database = await testDatabase();
if (!database.native) process.env["DATAPLAN_PG_PREPARED_STATEMENT_CACHE_SIZE"] = "0";
// Loaded after the environment is set, as an application would start with it.
const { makeSchema } = await import("postgraphile");
const { makePgService } = await import("postgraphile/adaptors/pg");
const { grafast } = await import("postgraphile/grafast");
const { preset, requestSettings, rooms } = await import("../../src/api/preset.ts");

test("the preset in a PostGraphile that serves the application's own tables and signs people in itself", async () => {
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
      // Whose rows these are, the preset asks the database, in the service of the application too.
      trackTraits: { nodes: [{ value: "plan of ada" }] },
    },
  });
});

test("the tasks and the crontab in a worker that has tasks of its own", async () => {
  const done: string[] = [];
  await database.query("select graphile_worker.add_job('send_mail'), graphile_worker.add_job('make_partitions')");
  const pool = createPool({ url: database.url() }, 3);
  pool.on("connect", (client) => client.on("error", () => {}));
  await runOnce({
    pgPool: pool,
    noPreparedStatements: !database.native,
    logger: new Logger(() => () => {}),
    taskList: { ...taskList, send_mail: async () => void done.push("send_mail") },
  });
  await pool.end();
  expect(done).toEqual(["send_mail"]);
  expect(await database.value("select outcome from monitor.run where task = 'make_partitions'")).toBe("ok");
  expect(parseCrontab(`0 4 * * * send_mail\n${crontab}`).length).toBeGreaterThan(5);
});
