import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { makePopulation } from "../../support/population.ts";
import { deploy, send } from "../../support/recommend.ts";

/*
 * A recommender is made worse on purpose. The learners and their true preferences are those of the simulator: a learner
 * examines a rank with the probability k^-0.8, and clicks on what matches her preferences.
 */
const database = await testDatabase();
const next = generator(23);
const served = 6;
let learners: string[];
let match: Map<string, number>;
let good: number;
let bad: number;

const deployed = () => database.value<number>("select ml.deployed_version('recommend.course')");

/** A day on which each learner gets a list; afterwards, a day passes. */
async function day(): Promise<void> {
  const lists = await database.rows<{ person: string; item: string; serving_id: string; rank: number }>(
    `select person, listed.item, listed.serving_id, listed.rank
     from unnest($1::text[]) as person
     cross join lateral recommend.serve_person(person, $2) as listed
     order by person collate "C", listed.rank`,
    [learners, served],
  );
  const messages: Record<string, unknown>[] = [];
  for (const { person, item, serving_id, rank } of lists) {
    if (next() >= rank ** -0.8 * 1.5 * (match.get(`${person} ${item}`) ?? 0)) continue;
    messages.push({
      type: "track",
      messageId: `click ${serving_id} ${rank}`,
      userId: person,
      event: "Recommendation Clicked",
      timestamp: new Date().toISOString(),
      properties: { item, servingId: serving_id },
    });
  }
  for (let start = 0; start < messages.length; start += 500) await send(database, messages.slice(start, start + 500));
  await database.query("select track.refresh(100000)");
  // Also of former days: the refresh takes the time of their clicks from the events, which stay where they are.
  await database.query(
    `update recommend.impression
     set listed_at = listed_at - interval '1 day',
       seen_at = case when seen_at is not null then listed_at - interval '1 day' + interval '1 minute' end,
       clicked_at = case when clicked_at is not null then listed_at - interval '1 day' + interval '1 minute' end;
     update ml.deployment set deployed_at = deployed_at - interval '1 day'`,
  );
}

/** As the worker does. */
async function watch(): Promise<{ verdict: string; version: number; is_corrected: boolean }[]> {
  const client = await database.pool.connect();
  try {
    await client.query("begin; set local role insights_worker");
    const { rows } = await client.query("select verdict, version, is_corrected from monitor.watch_relevance()");
    await client.query("commit");
    return rows;
  } finally {
    client.release();
  }
}

beforeAll(async () => {
  await makePopulation(database, { learners: 260, courses: 48, weeks: 3, seed: 9, until: new Date("2026-04-20") });
  const truth = await database.rows<{ person: string; item: string; match: number }>(
    `select learner.person, course.item,
       (select sum(taste * share) from unnest(learner.tastes, course.topics) as topic (taste, share)) as match
     from canvas_flow_truth.learner cross join canvas_flow_truth.course
     where track.find_person(learner.person) is not null
     order by learner.person collate "C"`,
  );
  match = new Map(truth.map((row) => [`${row.person} ${row.item}`, Number(row.match)]));
  learners = [...new Set(truth.map(({ person }) => person))];
  await database.query("select monitor.set_relevance_watch('course', true, answer_period => '1 hour')");
  good = await deploy(database, "item_knn");
});

test("a version that is made worse is found, rolled back, and the figures recover", async () => {
  for (let n = 0; n < 5; n++) await day();
  expect(await watch()).toEqual([]);

  // The same method and data, but from each course to those whose topics have the least in common with it.
  bad = await deploy(database, "item_knn");
  await database.query(
    `with apart as (
       select one.item_id, array_agg(other.item_id order by other.item_id) as ids,
         array_agg((1 - one.common)::real order by other.item_id) as weights
       from (
         select item.item_id, other.item_id as other_id,
           (select sum(a * b) / sqrt(sum(a * a) * sum(b * b)) from unnest(course.topics, another.topics) as topic (a, b)) as common
         from canvas_flow_truth.course join track.item on item.external_id = course.item
         cross join canvas_flow_truth.course as another
         join track.item as other on other.external_id = another.item and other.item_id <> item.item_id
       ) as one
       join track.item as other on other.item_id = one.other_id
       group by one.item_id
     )
     update recommend.neighbours set neighbour_ids = apart.ids, weights = apart.weights
     from apart, ml.model
     where apart.item_id = neighbours.item_id and model.model_id = neighbours.model_id and model.version = $1`,
    [bad],
  );
  let days = 0;
  let verdict = "watching";
  while (verdict === "watching" && days < 10) {
    days++;
    await day();
    verdict = (await watch())[0]?.verdict ?? "none";
  }
  expect(verdict).toBe("rolled_back");
  expect(await deployed()).toBe(good);
  const [finding] = await database.rows<{ message: string; severity: string }>(
    "select message, severity from monitor._check_relevance()",
  );
  expect(finding?.severity).toBe("warning");
  expect(finding?.message).toMatch(
    new RegExp(`^version ${bad} of recommend.course gets \\d+ % fewer clicks than version ${good}, which was deployed`),
  );

  for (let n = 0; n < 5; n++) await day();
  expect(await watch()).toEqual([]);
  const [before, worse, after] = await database.as("insights_admin", {}, (db) =>
    db.rows<{ click_rate: number; change: number; change_lower: number; change_upper: number }>(
      "select click_rate, change, change_lower, change_upper from monitor.recommendation_report(by => 'deployment')",
    ),
  );
  expect(worse?.change_upper).toBeLessThan(0);
  expect(after?.change_lower).toBeGreaterThan(0);
  expect((after?.click_rate ?? 0) / (before?.click_rate ?? 1)).toBeGreaterThan(0.85);
  expect((worse?.click_rate ?? 1) / (before?.click_rate ?? 1)).toBeLessThan(0.85);
});

test("scores that move without a new version are found by their drift", async () => {
  const drift = () =>
    database.as("insights_admin", {}, (db) =>
      db.rows<{ verdict: string; p_value: number; reference_mean: number; score_mean: number }>(
        `select verdict, p_value, reference_mean, score_mean
         from monitor.score_drift(now() - interval '36 hours', reference => '3 days') where name = $1 and basis = 'model'`,
        [String(good)],
      ),
    );
  const [still] = await drift();
  expect(still?.verdict).not.toBe("drifted");
  // A job that was to refresh the weights of the deployed version has left out their normalization.
  await database.query(
    `update recommend.neighbours set weights = array(select weight * 4 from unnest(weights) with ordinality as e (weight, n) order by n)
     from ml.model where model.model_id = neighbours.model_id and model.version = $1`,
    [good],
  );
  await day();
  const [moved] = await drift();
  expect(moved).toMatchObject({ verdict: "drifted" });
  expect(moved?.p_value).toBeLessThan(0.001);
  expect((moved?.score_mean ?? 0) / (moved?.reference_mean ?? 1)).toBeGreaterThan(1.5);
});
