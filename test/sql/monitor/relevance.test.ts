import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { examined, makeLists, makeWorld, week } from "./lists.ts";

const database = await testDatabase();
const people = 240;
const weeks = 8;

interface Figures {
  name: string | null;
  starts_at: string | null;
  person_count: number;
  list_count: number;
  served_count: number;
  clicked_count: number;
  completed_count: number;
  click_rate: number;
  click_rate_lower: number;
  click_rate_upper: number;
  corrected_rate: number | null;
  corrected_rate_lower: number | null;
  corrected_rate_upper: number | null;
  item_count: number;
  coverage: number;
  gini: number;
  top_tenth_share: number;
  viewed_count: number;
  dwell_seconds: number | null;
  dwell_seconds_lower: number | null;
  dwell_seconds_upper: number | null;
  novelty: number | null;
}

const relevance = (role: string, since: number, until: number, by = "model", byWeek = false): Promise<Figures[]> =>
  database.as(role, {}, async (db) =>
    (
      await db.rows<{ row: Figures }>(
        "select to_jsonb(r) as row from monitor.relevance($1, $2, $3, by_week => $4) as r",
        [week(since), week(until), by, byWeek],
      )
    ).map(({ row }) => row),
  );

beforeAll(async () => {
  await makeWorld(database, people);
  await makeLists(database, { people, weeks, seed: 0.7 });
});

test("counts exactly, by each grouping", async () => {
  for (const [by, expression] of [
    ["all", "null"],
    ["model", "version::text"],
    ["basis", "basis"],
    ["rank", "rank::text"],
  ] as const) {
    const expected = await database.rows(
      `select ${expression} as name, count(distinct person_id)::int as person_count,
         count(distinct (person_id, listed_at))::int as list_count, count(*)::int as served_count,
         count(clicked_at)::int as clicked_count, count(distinct item_id)::int as item_count
       from recommend.impression join ml.model using (model_id)
       group by 1 order by min(case when '${by}' = 'rank' then rank else version end)`,
    );
    const figures = await relevance("insights_admin", 0, weeks, by);
    expect(figures).toHaveLength(expected.length);
    for (const [n, want] of expected.entries()) expect(figures[n]).toMatchObject(want as Partial<Figures>);
  }
});

test("concentration is that of the definition", async () => {
  const [all] = await relevance("insights_admin", 0, weeks, "all");
  const counts = (
    await database.rows<{ n: number }>(
      `select count(impression.item_id)::int as n from track.item left join recommend.impression using (item_id)
       where kind = 'course' group by item.item_id`,
    )
  ).map(({ n }) => n);
  // The mean absolute difference of all pairs, divided by twice the mean.
  const sum = counts.reduce((a, b) => a + b, 0);
  const differences = counts.flatMap((a) => counts.map((b) => Math.abs(a - b))).reduce((a, b) => a + b, 0);
  expect(all?.gini).toBeCloseTo(differences / (2 * counts.length * sum), 10);
  const top = [...counts].sort((a, b) => b - a).slice(0, Math.ceil(counts.length / 10));
  expect(all?.top_tenth_share).toBeCloseTo(top.reduce((a, b) => a + b, 0) / sum, 10);
  expect(all?.coverage).toBeCloseTo(counts.filter((n) => n > 0).length / counts.length, 10);
});

test("corrected rates are those of the true relevance, with intervals that contain it", async () => {
  // The truth of the simulation: the relevance of the served rows, from which the position is taken away.
  const truth = await database.rows<{ name: string; rate: number }>(
    `select version::text as name,
       avg((0.6 - 0.009 * place) * (0.2 + 1.2 * (person_id * 7 % 11) / 10.0))::float8 as rate
     from recommend.impression join ml.model using (model_id)
     join (select item_id, row_number() over (order by item_id) as place from track.item) as item using (item_id)
     group by 1 order by 1`,
  );
  const figures = await relevance("insights_admin", 0, weeks);
  for (const [n, { name, rate }] of truth.entries()) {
    const figure = figures[n];
    expect(figure?.name).toBe(name);
    expect(figure?.corrected_rate_lower ?? 9).toBeLessThan(rate);
    expect(figure?.corrected_rate_upper ?? 0).toBeGreaterThan(rate);
    expect(Math.abs((figure?.corrected_rate ?? 0) / rate - 1)).toBeLessThan(0.08);
    // A click rate is less than half of it: most rows are at ranks that are rarely examined.
    expect(figure?.click_rate).toBeLessThan(0.5 * rate);
  }
  expect(examined(10)).toBeLessThan(0.2);
});

test("two versions of equal relevance at different ranks are equal only when corrected", async () => {
  // The same courses and people: version 1 at ranks 1 to 3, version 2 at ranks 4 to 6.
  await database.query("select setseed(0.21)");
  await database.query(
    `insert into recommend.impression (
       person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at
     )
     select n, gen_random_uuid(), model_id, item_id, rank, 'even', at, true,
       case when random() < power(rank, -0.8) * 0.5 then at end
     from generate_series(1, $1::int) as n
     cross join generate_series(1, 6) as rank
     cross join lateral (select item_id from track.item where kind = 'course' order by item_id offset (n + rank) % 7 limit 1) as item
     cross join (select model_id, version from ml.model) as model
     cross join generate_series(0, 9) as repeated
     cross join lateral (select $2::timestamptz + repeated * interval '1 hour' as at) as time
     where (version = 1) = (rank <= 3 and repeated < 8 or rank > 3 and repeated >= 8)`,
    [people, week(30)],
  );
  const [one, two] = await relevance("insights_admin", 30, 31);
  expect((one?.click_rate ?? 0) / (two?.click_rate ?? 1)).toBeGreaterThan(1.4);
  for (const figure of [one, two]) {
    expect(figure?.corrected_rate_lower ?? 9).toBeLessThan(0.5);
    expect(figure?.corrected_rate_upper ?? 0).toBeGreaterThan(0.5);
  }
});

test("intervals of click rates allow for people who click more than others", async () => {
  let inside = 0;
  let weeklyRates = 0;
  // The expected rate of all people of the simulation, by many more lists.
  const [all] = await relevance("insights_admin", 0, weeks, "all");
  for (const figure of await relevance("insights_admin", 0, weeks, "all", true)) {
    weeklyRates++;
    expect(figure.starts_at).not.toBeNull();
    if (figure.click_rate_lower <= (all?.click_rate ?? 0) && (all?.click_rate ?? 0) <= figure.click_rate_upper)
      inside++;
    // Wider than those of independent rows.
    const independent = 1.96 * Math.sqrt((figure.click_rate * (1 - figure.click_rate)) / figure.served_count);
    expect((figure.click_rate_upper - figure.click_rate_lower) / 2).toBeGreaterThan(0.99 * independent);
  }
  expect(weeklyRates).toBe(weeks);
  expect(inside).toBeGreaterThanOrEqual(weeks - 2);
});

test("groups by deployment, each until the next one", async () => {
  await database.query(
    `insert into ml.deployment (project_id, model_id, strategy, deployed_at)
     select project_id, model_id, 'manual', case version when 1 then $1::timestamptz else $2::timestamptz end
     from ml.model order by version`,
    [week(1), week(4)],
  );
  const figures = await relevance("insights_admin", 0, weeks, "deployment");
  expect(
    figures.map(({ starts_at, list_count }) => [starts_at && new Date(starts_at).toISOString(), list_count]),
  ).toEqual([
    [week(1), 3 * people],
    [week(4), (weeks - 4) * people],
    [null, people],
  ]);
});

test("a person counts in each of her segments", async () => {
  await database.query(
    `insert into track.person_set (name, description) values ('segment.low', 'The first'), ('segment.even', 'Even');
     insert into track.person_set_block (name, block, people)
     select name, 0, bit_or(b'1'::bit(4096) >> n)
     from generate_series(1, 100) as n
     join track.person_set on name = 'segment.low' and n <= 40 or name = 'segment.even' and n % 2 = 0
     group by name`,
  );
  const figures = await relevance("insights_admin", 0, weeks, "segment");
  expect(figures.map(({ name, person_count }) => [name, person_count])).toEqual([
    ["segment.even", 50],
    ["segment.low", 40],
  ]);
  // A rule of retention has deleted people of one of them.
  await database.as("postgres", {}, async (db) => {
    await db.query(`
      create function public.lost() returns table (name text) language sql as $$select 'segment.low'$$;
      update track.consumer set incomplete_sets = 'public.lost'
      where consumer = (select consumer from track.consumer order by position limit 1)`);
    expect(
      await db.rows("select name, person_count::int from monitor.relevance($1, $2, 'segment')", [week(0), week(weeks)]),
    ).toEqual([{ name: "segment.even", person_count: 50 }]);
  });
});

test("analysts cannot tell a group of few people from none, nor one person by the difference of two answers", async () => {
  const before = await relevance("insights_analyst", 0, 60);
  expect(before[0]?.served_count).toBeGreaterThan(0);
  expect((before[0]?.person_count ?? 1) % 5).toBe(0);
  await database.query(
    `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at)
     select 1 + n % 4, gen_random_uuid(), model_id, item_id, 1, 'model', $1::timestamptz, true, $1::timestamptz
     from generate_series(1, 200) as n, ml.model, track.item where external_id = 'course 1' and version = 1`,
    [week(50)],
  );
  expect(await relevance("insights_analyst", 0, 60)).toEqual(before);
  expect(await relevance("insights_analyst", 49, 52)).toEqual([]);
  // Visitors, whom any client can invent, do not count.
  await database.query(
    `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at)
     select 100000 + n, gen_random_uuid(), model_id, item_id, 1, 'model', $1::timestamptz, true, $1::timestamptz
     from generate_series(1, 200) as n, ml.model, track.item where external_id = 'course 1' and version = 1`,
    [week(50)],
  );
  expect(await relevance("insights_analyst", 49, 52)).toEqual([]);
  const [exact] = await relevance("insights_admin", 49, 52);
  expect(exact).toMatchObject({ served_count: 400, clicked_count: 400, click_rate: 1 });
});

/** Lists of the first course, clicked a minute later by people from 1 on; those of `views` then open pages. */
async function click(at: number, clicks: number, views: number): Promise<void> {
  await database.query(
    `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at)
     select n, gen_random_uuid(), model_id, item_id, 1, 'model', $1::timestamptz, true, $1::timestamptz + interval '1 minute'
     from generate_series(1, $2::int) as n join ml.model on version = 1 join track.item on external_id = 'course 1'`,
    [week(at), clicks],
  );
  // The course before the click, a page of the course for ten times n seconds, another course.
  await database.query(
    `insert into track.session (
       person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by,
       view_event_ids, view_item_ids, view_starts, view_engaged
     )
     select n, gen_random_uuid(), $1::timestamptz, $1::timestamptz + interval '30 minutes', 3, 3, '10 minutes', 'gaps',
       array[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()],
       array[course.item_id, page.item_id, other.item_id], '{0,60000000,900000000}', array[7000000, n * 10000000, 500000000]
     from generate_series(1, $2::int) as n
     join track.item as course on course.external_id = 'course 1'
     join track.item as page on page.external_id = 'page 1'
     join track.item as other on other.external_id = 'course 2'`,
    [week(at), views],
  );
}

test("dwell time is the engaged time on the item and its contents in the session of the click, from the click on", async () => {
  await database.query(
    `insert into track.item (external_id, kind, parent_item_id)
     select 'page 1', 'page', item_id from track.item where external_id = 'course 1'`,
  );
  await click(70, 8, 7);
  // A second click, in the same session: what is viewed from then on is its own.
  await database.query(
    `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at)
     select 6, gen_random_uuid(), model_id, item_id, 1, 'model', $1::timestamptz + interval '5 minutes', true,
       $1::timestamptz + interval '15 minutes'
     from ml.model join track.item on external_id = 'course 2' where version = 1`,
    [week(70)],
  );
  const [figure] = await relevance("insights_admin", 70, 71);
  const clicks = [1, 1, 1, 1, 1, 2, 1, 1];
  const seconds = [10, 20, 30, 40, 50, 60 + 500, 70, 0];
  const sum = (of: number[]): number => of.reduce((a, b) => a + b, 0);
  const mean = sum(seconds) / sum(clicks);
  const squares = sum(seconds.map((value, n) => (value - mean * (clicks[n] ?? 0)) ** 2));
  const half = (1.959964 * Math.sqrt((squares * 8) / 7)) / sum(clicks);
  expect(figure).toMatchObject({ clicked_count: 9, viewed_count: 8 });
  expect(figure?.dwell_seconds).toBeCloseTo(mean, 9);
  expect(figure?.dwell_seconds_upper).toBeCloseTo(mean + half, 4);
  expect(figure?.dwell_seconds_lower).toBeCloseTo(Math.max(0, mean - half), 4);
  // Each rank has its own.
  expect((await relevance("insights_admin", 70, 71, "rank"))[0]).toMatchObject({ name: "1", viewed_count: 8 });
  const [shown] = await relevance("insights_analyst", 70, 71);
  expect(shown?.dwell_seconds).toBe(Number(mean.toPrecision(2)));
  // Without clicks that were followed by a view, there is none.
  expect(await relevance("insights_admin", 0, weeks, "all")).toMatchObject([{ viewed_count: 0, dwell_seconds: null }]);
});

test("analysts see no dwell time of few people", async () => {
  await click(72, 12, 4);
  expect(await relevance("insights_admin", 72, 73)).toMatchObject([{ viewed_count: 4, dwell_seconds: 100 / 12 }]);
  expect(await relevance("insights_analyst", 72, 73)).toMatchObject([
    { viewed_count: 0, dwell_seconds: null, dwell_seconds_lower: null, dwell_seconds_upper: null },
  ]);
});

test("novelty is the mean self-information of the rows", async () => {
  expect((await relevance("insights_admin", 0, weeks, "all"))[0]?.novelty).toBeNull();
  // Of 40 people, all used course 1, 10 course 2, 2 course 3, and nobody the others; one only rejected course 4.
  await database.query(
    `insert into recommend.interaction (person_id, item_id, weight, event_count, first_at, last_at)
     select n, item_id, case external_id when 'course 4' then 0 else 1 end, 1, $1, $1
     from generate_series(1, 40) as n
     join track.item on external_id = 'course 1' or external_id = 'course 2' and n <= 10
       or external_id = 'course 3' and n <= 2 or external_id = 'course 4' and n = 1`,
    [week(0)],
  );
  const bits = (fewest: number): Promise<{ novelty: number }[]> =>
    database.rows(
      `select avg(ln(40 / greatest(case external_id when 'course 1' then 40 when 'course 2' then 10 when 'course 3' then 2 else 0 end, $1::int)::float8)
         / ln(2::float8))::float8 as novelty
       from recommend.impression join track.item using (item_id) where listed_at >= $2 and listed_at < $3`,
      [fewest, week(0), week(weeks)],
    );
  const [exact] = await bits(1);
  expect((await relevance("insights_admin", 0, weeks, "all"))[0]?.novelty).toBeCloseTo(exact?.novelty ?? 0, 10);
  // Items that few people used are alike for analysts.
  const [floor] = await bits(5);
  expect((await relevance("insights_analyst", 0, weeks, "all"))[0]?.novelty).toBe(
    Number((floor?.novelty ?? 0).toPrecision(2)),
  );
});

test("invalid arguments are refused", async () => {
  expect(await database.rejects("select monitor.relevance($1, $2, 'curse')", [week(0), week(1)])).toMatchObject({
    code: "CF001",
    message: 'by is "curse"',
  });
  expect(await database.rejects("select monitor.relevance($1, $2)", [week(1), week(0)])).toMatchObject({
    code: "CF001",
  });
  expect(
    await database.rejects("select monitor.relevance($1, $2, 'model', 'curse')", [week(0), week(1)]),
  ).toMatchObject({ code: "CF002", message: 'there is no item of kind "curse"' });
  expect(await rolesThatMay(database, "select monitor.relevance()")).toEqual(["analyst", "admin", "worker"]);
});
