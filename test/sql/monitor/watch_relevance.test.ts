import { beforeEach, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeWorld } from "./lists.ts";

const database = await testDatabase();
const people = 200;
await makeWorld(database, people);

interface Reading {
  version: number;
  former_version: number;
  person_count: number;
  click_rate: number | null;
  former_click_rate: number | null;
  difference: number | null;
  standard_error: number | null;
  is_corrected: boolean;
  evidence: number;
  verdict: string;
  note: string | null;
}

/** As the worker does. */
const watch = async (): Promise<Reading[]> => {
  const client = await database.pool.connect();
  try {
    await client.query("begin; set local role insights_worker");
    const { rows } = await client.query<{ row: Reading }>(
      "select to_jsonb(r) as row from monitor.watch_relevance() as r",
    );
    await client.query("commit");
    return rows.map(({ row }) => row);
  } finally {
    client.release();
  }
};
const deployed = () => database.value<number>("select ml.deployed_version('recommend.course')");
const findings = () => database.rows("select subject, severity, message from monitor._check_relevance()");

/** Deployments, each as version and days ago. */
const deploy = (deployments: [version: number, ago: number, strategy?: string][]) =>
  database.query(
    `insert into ml.deployment (project_id, model_id, strategy, deployed_at)
     select project_id, model_id, coalesce(strategy, 'manual'), now() - ago * interval '1 day'
     from jsonb_to_recordset($1) as given (place int, version int, ago float8, strategy text)
     join ml.model using (version) order by place`,
    [JSON.stringify(deployments.map(([version, ago, strategy], place) => ({ place, version, ago, strategy })))],
  );

/** A list per person and day, from `since` to `until` days ago, with clicks by the relevance of all rows. */
const serve = (
  since: number,
  until: number,
  relevance: number,
  ranks = 5,
  version = 1,
  experiment: number | null = null,
) =>
  database.query(
    `insert into recommend.impression (
       person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at, experiment_id
     )
     select n, gen_random_uuid(), model_id, item_id, rank, 'model', at, true,
       case when random() < power(rank, -0.8) * $4 * (0.4 + n % 4 * 0.4) then at + interval '1 minute' end, $7
     from generate_series(1, $1::int) as n
     cross join generate_series(0, $2::int - $3::int - 1) as day
     cross join lateral (
       select now() - ($2::int - day) * interval '1 day' + n * interval '1 minute' as at
     ) as time
     cross join generate_series(1, $5::int) as rank
     cross join lateral (
       select item_id from track.item where kind = 'course' order by item_id offset (n + rank + day) % 12 limit 1
     ) as item
     join ml.model on version = $6`,
    [people, since, until, relevance, ranks, version, experiment],
  );

beforeEach(async () => {
  await database.query(
    `delete from monitor.deployment_relevance; delete from ml.deployment; delete from recommend.impression;
     delete from monitor.relevance_setting; update ml.model set marked_at = null; select setseed(0.3)`,
  );
});

test("a worse version is found, and rolled back once, when that is allowed", async () => {
  await deploy([
    [1, 40],
    [2, 12],
  ]);
  await serve(40, 12, 0.3);
  await serve(12, 0, 0.15, 5, 2);
  const [found, ...others] = await watch();
  expect(others).toEqual([]);
  expect(found).toMatchObject({
    version: 2,
    former_version: 1,
    person_count: people,
    is_corrected: true,
    verdict: "worse",
    note: "Versions of this kind are not rolled back: see monitor.relevance_setting.",
  });
  expect(found?.click_rate).toBeCloseTo(0.15, 1);
  expect(found?.former_click_rate).toBeCloseTo(0.3, 1);
  expect(await deployed()).toBe(2);
  expect(await findings()).toMatchObject([{ subject: "recommend.course", severity: "critical" }]);
  expect((await findings())[0]?.["message"]).toMatch(
    /^version 2 of recommend.course gets [45]\d % fewer clicks than version 1$/,
  );

  // The verdict remains when a later reading differs, or has no lists of the version before any more.
  for (const difference of ["0.01", "null"])
    await database.as("postgres", {}, async (db) => {
      await db.query(`update monitor.deployment_relevance set difference = ${difference}`);
      expect(await db.value("select message from monitor._check_relevance()")).toMatch(
        /^version 2 of recommend.course got on \d{4}-\d\d-\d\d fewer clicks than version 1$/,
      );
    });

  await database.query("select monitor.set_relevance_watch('course', true)");
  expect(await watch()).toMatchObject([{ verdict: "rolled_back", note: null }]);
  expect(await deployed()).toBe(1);
  expect(await findings()).toMatchObject([
    { severity: "warning", message: expect.stringContaining("was deployed again") },
  ]);
  // Once: there is nothing to compare after a rollback.
  expect(await watch()).toEqual([]);
  expect(await database.value("select count(*)::int from ml.deployment where strategy = 'rollback'")).toBe(1);
  // The operator deploys it again: a deployment of its own, without lists that are old enough.
  await database.query("select ml.deploy('recommend.course', 2)");
  expect(await watch()).toEqual([]);
  expect(await deployed()).toBe(2);
});

test("a version that is as good, or better, stays", async () => {
  await deploy([
    [1, 40],
    [2, 12],
  ]);
  await serve(40, 12, 0.3);
  await serve(12, 0, 0.3, 5, 2);
  await database.query("select monitor.set_relevance_watch('course', true)");
  const [reading] = await watch();
  expect(reading).toMatchObject({ verdict: "watching" });
  expect(reading?.evidence).toBeLessThan(20);
  expect(Math.abs(reading?.difference ?? 1)).toBeLessThan(4 * (reading?.standard_error ?? 0));
  expect(await findings()).toEqual([]);
});

test("longer lists have fewer clicks per row, and are not worse", async () => {
  await deploy([
    [1, 40],
    [2, 12],
  ]);
  await serve(40, 12, 0.3, 3);
  await serve(12, 0, 0.3, 10, 2);
  await database.query("select monitor.set_relevance_watch('course', true)");
  const [reading] = await watch();
  expect(reading).toMatchObject({ verdict: "watching", is_corrected: true });
  // Without the correction it would be.
  const rates = await database.rows<{ rate: number }>(
    "select avg((clicked_at is not null)::int)::float8 as rate from recommend.impression group by model_id order by model_id",
  );
  expect((rates[1]?.rate ?? 1) / (rates[0]?.rate ?? 1)).toBeLessThan(0.8);
});

test("a version that was itself rolled back, or is marked for training, is not deployed again", async () => {
  await deploy([
    [1, 80],
    [2, 60],
    [1, 50, "rollback"],
    [2, 40],
    [1, 12],
  ]);
  await serve(40, 12, 0.3, 5, 2);
  await serve(12, 0, 0.1, 5, 1);
  await database.query("select monitor.set_relevance_watch('course', true)");
  expect(await watch()).toMatchObject([{ verdict: "worse", note: "The version before was rolled back itself." }]);
  expect(await deployed()).toBe(1);

  await database.query("delete from monitor.deployment_relevance; delete from ml.deployment");
  await deploy([
    [2, 40],
    [1, 12],
  ]);
  await database.query("update ml.model set marked_at = now() where version = 2");
  expect(await watch()).toMatchObject([{ verdict: "worse", note: "The version before is marked for training." }]);
  expect(await deployed()).toBe(1);
});

test("lists of experiments, fresh lists, and those of few people decide nothing", async () => {
  await deploy([
    [1, 40],
    [2, 12],
  ]);
  await serve(40, 12, 0.3);
  await serve(12, 4, 0.3, 5, 2);
  await database.query("select monitor.set_relevance_watch('course', true)");
  const [before] = await watch();
  // Rows of today have had no time to be clicked.
  await database.query(
    `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served)
     select n % 200 + 1, gen_random_uuid(), model_id, item_id, 1, 'model', now() - interval '1 hour', true
     from generate_series(1, 5000) as n join ml.model on version = 2 join track.item on external_id = 'course 1'`,
  );
  expect(await watch()).toMatchObject([{ click_rate: before?.click_rate, verdict: "watching" }]);
  await database.query("select monitor.set_relevance_watch('course', true, fewest_people => 201)");
  await database.query(
    "update recommend.impression set clicked_at = null where listed_at > now() - interval '12 days'",
  );
  expect(await watch()).toMatchObject([{ verdict: "watching" }]);
  await database.query("select monitor.set_relevance_watch('course', true, fewest_people => 200)");
  expect(await watch()).toMatchObject([{ verdict: "rolled_back" }]);
});

test.runIf(database.native)("two watches at once roll back once", async () => {
  await deploy([
    [1, 60],
    [2, 40],
    [1, 12],
  ]);
  await serve(40, 12, 0.3, 5, 2);
  await serve(12, 0, 0.1, 5, 1);
  await database.query("select monitor.set_relevance_watch('course', true)");
  const [one, two] = await Promise.all([watch(), watch()]);
  expect([...(one ?? []), ...(two ?? [])]).toMatchObject([{ verdict: "rolled_back" }]);
  expect(await deployed()).toBe(2);
});

test("only admins and workers watch", async () => {
  expect(await rolesThatMay(database, "select monitor.watch_relevance()")).toEqual(["admin", "worker"]);
});
