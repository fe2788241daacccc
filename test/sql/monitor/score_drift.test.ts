import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeWorld, week } from "./lists.ts";

/*
 * Scores of version 1, from week 0: the same distribution in weeks 0 to 3, moved in weeks 4 and 5. People differ in their
 * scores, so that rows of a person are alike.
 */

const database = await testDatabase();
const people = 400;

interface Shift {
  name: string;
  basis: string;
  reference_since: string;
  reference_people: number;
  reference_count: number;
  person_count: number;
  served_count: number;
  bin_count: number;
  stability_index: number | null;
  p_value: number | null;
  verdict: string;
}

const drift = (role: string, since: number, until: number, reference = "7 days"): Promise<Shift[]> =>
  database.as(role, {}, async (db) =>
    (
      await db.rows<{ row: Shift }>(
        "select to_jsonb(r) as row from monitor.score_drift($1, $2, reference => $3::interval) as r",
        [week(since), week(until), reference],
      )
    ).map(({ row }) => row),
  );

/** A row at each rank of a list of ten per person. */
const serve = (db: Queries, at: number, score: string, basis = "model", version = 1): Promise<unknown> =>
  db.query(
    `insert into recommend.impression (
       person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, score
     )
     select n, gen_random_uuid(), model_id, item_id, rank, $3, $2::timestamptz + n * interval '1 minute', true, ${score}
     from generate_series(1, $1::int) as n
     cross join generate_series(1, 10) as rank
     cross join lateral (select 0.3 * (n * 7 % 11) / 10.0 as habit) as person
     join ml.model on model.version = $4
     join track.item on item.external_id = 'course ' || rank`,
    [people, week(at), basis, version],
  );

beforeAll(async () => {
  await makeWorld(database, people);
  await database.query(
    `insert into ml.deployment (project_id, model_id, strategy, deployed_at)
     select project_id, model_id, 'manual', $1 from ml.model where version = 1`,
    [week(0)],
  );
  await database.query("update ml.model set trained_at = $1 where version = 2", [week(3)]);
  await database.query("select setseed(0.4)");
  for (const at of [0, 1, 2, 3]) await serve(database, at, "habit + random()");
  for (const at of [4, 5]) await serve(database, at, "habit + 0.3 + random()");
  // Scores of another scale, which did not move; and one score for all rows.
  for (const at of [0, 5]) await serve(database, at, "1000 * random()", "popularity");
  for (const at of [0, 5]) await serve(database, at, "1", "segment");
  // Unknown scores, and a version that was never deployed.
  await serve(database, 5.1, "null");
  for (const at of [3.1, 5.2]) await serve(database, at, "random()", "model", 2);
});

test("the index is that of the definition, over tenths of the first days", async () => {
  const [shift] = await drift("insights_admin", 4, 5);
  const scores = async (at: number): Promise<number[]> =>
    (
      await database.rows<{ score: number }>(
        `select score from recommend.impression join ml.model using (model_id)
         where version = 1 and basis = 'model' and listed_at >= $1 and listed_at < $2 and score is not null order by 1`,
        [week(at), week(at + 1)],
      )
    ).map(({ score }) => score);
  const [reference, current] = [await scores(0), await scores(4)];
  const edges = Array.from(
    { length: 9 },
    (_, n) => reference[Math.ceil(((n + 1) / 10) * reference.length - 1e-9) - 1] ?? 0,
  );
  const shares = (values: number[]): number[] => {
    const counts = new Array<number>(10).fill(0);
    for (const value of values) {
      const bin = edges.filter((edge) => edge <= value).length;
      counts[bin] = (counts[bin] ?? 0) + 1 / values.length;
    }
    return counts.map((share) => Math.max(share, 0.0001));
  };
  const [expected, actual] = [shares(reference), shares(current)];
  const index = expected.reduce(
    (sum, share, n) => sum + ((actual[n] ?? 0) - share) * Math.log((actual[n] ?? 0) / share),
    0,
  );
  expect(shift).toMatchObject({
    name: "1",
    basis: "model",
    reference_people: people,
    reference_count: 10 * people,
    person_count: people,
    served_count: 10 * people,
    bin_count: 10,
    verdict: "drifted",
  });
  expect(shift?.stability_index).toBeCloseTo(index, 9);
  expect(index).toBeGreaterThan(0.25);
  expect(shift?.p_value).toBeLessThan(1e-6);
});

test("scores that do not move are stable, those of other bases and versions are compared on their own", async () => {
  const [stable] = await drift("insights_admin", 1, 4);
  expect(stable).toMatchObject({ basis: "model", served_count: 30 * people, verdict: "stable" });
  expect(stable?.p_value).toBeGreaterThan(0.01);
  const shifts = await drift("insights_admin", 5, 6);
  expect(shifts.map(({ name, basis, verdict, bin_count }) => [name, basis, verdict, bin_count])).toEqual([
    ["1", "model", "drifted", 10],
    ["1", "popularity", "stable", 10],
    ["1", "segment", "unknown", 1],
    ["2", "model", "stable", 10],
  ]);
  // Rows without a score do not count; the first days of a version without a deployment begin with its training.
  expect(shifts[0]?.served_count).toBe(10 * people);
  expect(new Date(shifts[3]?.reference_since ?? 0).toISOString()).toBe(week(3));
});

test("the period has nothing of the first days", async () => {
  const [none] = await drift("insights_admin", 0, 1);
  expect(none).toMatchObject({ served_count: 0, stability_index: null, verdict: "unknown" });
  const [both] = await drift("insights_admin", 0, 2);
  expect(both).toMatchObject({ served_count: 10 * people });
});

test("p-values are as frequent as they should be, although rows of a person are alike", async () => {
  // All rows of a person have nearly the same score: 2,000 rows are as good as 200.
  const p = await database.as("postgres", {}, async (db) => {
    const values: number[] = [];
    await db.query("select setseed(0.123)");
    for (let trial = 0; trial < 60; trial++) {
      await db.query("delete from recommend.impression");
      for (const from of [0, 1000])
        await db.query(
          `insert into recommend.impression (
             person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, score
           )
           select $2::int + n, gen_random_uuid(), model_id, item_id, rank, 'model', $1::timestamptz + n * interval '1 minute', true,
             habit + 0.01 * random()
           from (select n, random() as habit from generate_series(1, 200) as n) as person
           cross join generate_series(1, 10) as rank
           join ml.model on version = 1
           join track.item on external_id = 'course ' || rank`,
          [week(from === 0 ? 0 : 2), from],
        );
      const [shift] = await db.rows<Shift>("select * from monitor.score_drift($1, $2)", [week(2), week(3)]);
      values.push(Number(shift?.p_value));
    }
    return values;
  });
  // Of 60, about 3 and 30; with rows taken as independent, nearly all were below 0.05.
  expect(p.filter((value) => value < 0.05).length).toBeLessThanOrEqual(9);
  expect(p.filter((value) => value < 0.5).length).toBeGreaterThan(10);
  expect(p.filter((value) => value < 0.5).length).toBeLessThan(50);
});

test("few rows do not make an index that is called a drift", async () => {
  const [few] = await database.as("postgres", {}, async (db) => {
    await db.query("delete from recommend.impression where person_id > 5");
    return await db.rows<Shift>("select person_count::int, verdict from monitor.score_drift($1, $2)", [
      week(4),
      week(5),
    ]);
  });
  expect(few).toMatchObject({ person_count: 5, verdict: "unknown" });
});

test("of 600 comparisons of 50 people whose scores did not move, at most a few in a thousand are called a shift", async () => {
  // Rows of a person: independent, alike, the same, and skewed with a few people who have most of them.
  const kinds = ["random()", "habit + 0.3 * random()", "habit", "-ln(1 - habit) + 0.1 * random()"];
  const called = await database.as("postgres", {}, async (db) => {
    await db.query("delete from recommend.impression");
    await db.query("select setseed(0.271)");
    for (const [kind, score] of kinds.entries()) {
      for (const at of [0, 2]) {
        await db.query(
          `insert into recommend.impression (
             person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, score
           )
           select n, gen_random_uuid(), model_id, item_id, rank, basis, $1::timestamptz + n * interval '1 minute', true,
             ${score}
           from (
             select n, format('%s %s', $2::int, trial) as basis, random() as habit,
               case when $2::int = 3 and n % 10 = 0 then 10 else 4 end as size
             from generate_series(1, 150) as trial
             cross join generate_series(1, 50) as n
           ) as person
           cross join lateral generate_series(1, person.size) as rank
           join ml.model on version = 1
           join track.item on external_id = 'course ' || rank`,
          [week(at), kind],
        );
      }
    }
    return await db.rows<{ kind: number; verdict: string; n: number; below: number }>(
      `select split_part(basis, ' ', 1)::int as kind, verdict, count(*)::int as n,
         count(*) filter (where p_value <= 0.001)::int as below
       from monitor.score_drift($1, $2) group by 1, 2 order by 1, 2`,
      [week(2), week(3)],
    );
  });
  const sum = (verdicts: string[]): number =>
    called.filter(({ verdict }) => verdicts.includes(verdict)).reduce((total, { n }) => total + n, 0);
  expect(sum(["unknown", "stable", "shifting", "drifted"])).toBe(600);
  // With a probability of 0.001 each, five or more of 600 have one of 0.0004. Without half a person per bin, 21 of 1,200 were.
  expect(sum(["shifting", "drifted"]), JSON.stringify(called)).toBeLessThanOrEqual(4);
});

test("analysts read groups of whole weeks", async () => {
  const [shift] = await drift("insights_analyst", 4.2, 4.8);
  expect(shift).toMatchObject({ basis: "model", reference_people: people, person_count: people, verdict: "drifted" });
  const index = Number(shift?.stability_index);
  expect(index).toBe(Number(index.toPrecision(2)));
  // A week with four people, and people who are not counted.
  await database.query(
    `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, score)
     select case when n % 2 = 0 then 5000 + n else 1 + n % 8 end, gen_random_uuid(), model_id, item_id, 1, 'model', $1, true, 7
     from generate_series(1, 40) as n join ml.model on version = 1 join track.item on external_id = 'course 1'`,
    [week(8)],
  );
  expect((await drift("insights_admin", 8, 9))[0]?.served_count).toBe(40);
  expect((await drift("insights_analyst", 8, 9))[0]?.served_count).toBe(0);
});

test("invalid arguments are refused", async () => {
  expect(await database.rejects("select monitor.score_drift(reference => '91 days')")).toMatchObject({
    code: "CF001",
    message: "reference is 91 days",
  });
  expect(await database.rejects("select monitor.score_drift(kind => 'curse')")).toMatchObject({ code: "CF002" });
  expect(await rolesThatMay(database, "select monitor.score_drift()")).toEqual(["analyst", "admin", "worker"]);
  expect(await rolesThatMay(database, "select monitor._score_drift(now(), now(), 'course', '1 day', null)")).toEqual([
    "admin",
    "worker",
  ]);
});
