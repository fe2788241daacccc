import { expect, test } from "vitest";
import { serveLists } from "../../src/simulator/lists.ts";
import { testDatabase } from "../support/database.ts";
import { makePopulation } from "../support/population.ts";
import { refresh } from "../support/world.ts";

const database = await testDatabase();
const until = new Date("2026-04-20");
await makePopulation(database, { learners: 120, courses: 12, weeks: 6, until, seed: 1 });
await refresh(database);
await database.query("select analytics.refresh_views(), recommend.refresh_lists()");
await database.query("select recommend.train()");
const served = await serveLists(database);
await refresh(database);
const since = new Date(until.getTime() - 56 * 86_400_000);

test("people were served lists in the past weeks, as the recording functions write them", async () => {
  expect(served.lists).toBeGreaterThan(200);
  const [stored] = await database.rows(
    `select
       count(*)::int as rows,
       count(distinct (person_id, listed_at))::int as lists,
       count(*) filter (where seen_at is not null)::int as shown,
       count(*) filter (where clicked_at is not null)::int as clicks,
       bool_and(is_served and function_name = 'serve_person' and identity_id is not null) as are_served,
       bool_and(listed_at < $1 and listed_at > $2) as are_past,
       bool_and(rank between 1 and 10) as are_ranked
     from recommend.impression`,
    [until, since],
  );
  expect(stored).toEqual({ ...served, are_served: true, are_past: true, are_ranked: true });
  // No list before a person came, or after she left.
  expect(
    await database.value(
      `select count(*)::int from recommend.impression
       join track.identity using (identity_id)
       join canvas_flow_truth.learner on learner.person = identity.external_id
       where listed_at < joined_at or listed_at >= left_at`,
    ),
  ).toBe(0);
});

test("the answers follow the rank and the preferences", async () => {
  const [truth] = await database.rows<{ examined: number; shown: number; liked: number; clicks: number; gap: number }>(
    `with row as (
       select impression.*, (select sum(taste * topic) from unnest(tastes, topics) as entry (taste, topic)) as match
       from recommend.impression
       join track.identity using (identity_id)
       join canvas_flow_truth.learner on learner.person = identity.external_id
       join track.item on item.item_id = impression.item_id
       join canvas_flow_truth.course on course.item = item.external_id
     )
     select
       sum(rank ^ -0.8) as examined,
       count(seen_at)::int as shown,
       sum(0.02 + 0.58 * match) filter (where seen_at is not null) as liked,
       count(clicked_at)::int as clicks,
       avg(match) filter (where clicked_at is not null) - avg(match) filter (where seen_at is not null) as gap
     from row`,
  );
  // Within five standard deviations of sums of independent answers.
  const { examined, shown, liked, clicks, gap } = truth as NonNullable<typeof truth>;
  expect(Math.abs(shown - examined)).toBeLessThan(5 * Math.sqrt(examined));
  expect(Math.abs(clicks - liked)).toBeLessThan(5 * Math.sqrt(liked));
  expect(clicks).toBeGreaterThan(50);
  expect(gap).toBeGreaterThan(0);
});

test("the functions of relevance have figures", async () => {
  const period = [since, until];
  const [relevance] = await database.rows<{ list_count: number; seen_count: number; clicked_count: number }>(
    `select sum(list_count)::int as list_count, sum(seen_count)::int as seen_count, sum(clicked_count)::int as clicked_count
     from monitor.relevance($1, $2)`,
    period,
  );
  expect(relevance).toEqual({ list_count: served.lists, seen_count: served.shown, clicked_count: served.clicks });
  const examination = await database.rows<{ rank: number; examination: number }>(
    "select rank, examination from monitor.position_bias($1, $2) order by rank",
    period,
  );
  expect(examination.length).toBeGreaterThan(7);
  expect(examination[2]?.examination).toBeLessThan(examination[0]?.examination as number);
  for (const call of ["calibration($1, $2)", "recommendation_trend($1, $2)", "recommendation_report($1, $2)"])
    expect((await database.rows(`select * from monitor.${call}`, period)).length, call).toBeGreaterThan(0);
});
