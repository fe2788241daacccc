import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { examined, makeLists, makeWorld, week } from "./lists.ts";

const database = await testDatabase();
const people = 300;
const weeks = 16;

interface Figures {
  rank: number;
  listed_count: number;
  clicked_count: number;
  click_rate: number;
  compared_count: number;
  examination: number | null;
  standard_error: number | null;
  lower: number | null;
  upper: number | null;
}

const bias = (role: string, since: number, until: number): Promise<Figures[]> =>
  database.as(role, {}, async (db) =>
    (
      await db.rows<{ row: Figures }>("select to_jsonb(r) as row from monitor.position_bias($1, $2) as r", [
        week(since),
        week(until),
      ])
    ).map(({ row }) => row),
  );

beforeAll(async () => {
  await makeWorld(database, people);
  await makeLists(database, { people, weeks, seed: 0.4 });
});

test("recovers the true examination where click rates mislead", async () => {
  const figures = await bias("insights_admin", 0, weeks);
  expect(figures.map(({ rank }) => rank)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(figures[0]).toMatchObject({ examination: 1, standard_error: 0, lower: 1, upper: 1 });
  let squares = 0;
  for (const { rank, examination, standard_error, listed_count, clicked_count, click_rate } of figures) {
    expect(listed_count).toBe(people * weeks);
    expect(click_rate).toBeCloseTo(clicked_count / listed_count, 12);
    if (rank === 1) continue;
    const z = ((examination ?? 0) - examined(rank)) / (standard_error ?? 0);
    expect(Math.abs(z)).toBeLessThan(3.5);
    squares += z ** 2;
    expect(standard_error).toBeLessThan(0.05);
  }
  // Nine dependent squares: their mean is near 1, neither 0 nor large.
  expect(squares / 9).toBeLessThan(3);
  expect(squares / 9).toBeGreaterThan(0.05);
  // The best courses are at the top, so that the quotient of click rates is far below the examination.
  const [first, , , , , , , , , last] = figures;
  expect((last?.click_rate ?? 0) / (first?.click_rate ?? 1)).toBeLessThan(0.8 * examined(10));
});

test("intervals contain the truth as often as they say", async () => {
  let inside = 0;
  let intervals = 0;
  for (let start = 0; start < weeks; start += 2) {
    for (const { rank, lower, upper } of await bias("insights_worker", start, start + 2)) {
      if (rank === 1) continue;
      intervals++;
      if ((lower ?? 9) <= examined(rank) && examined(rank) <= (upper ?? 0)) inside++;
    }
  }
  expect(intervals).toBe(9 * 8);
  expect(inside / intervals).toBeGreaterThan(0.85);
});

test("a rank without equal rows at other ranks has no estimate", async () => {
  await database.query(
    `insert into track.item (external_id, kind) values ('alone', 'video');
     insert into recommend.impression (person_id, serving_key, item_id, rank, basis, listed_at, is_served, clicked_at)
     select n, gen_random_uuid(), item_id, 1 + n % 2, 'newest' || n % 2, '2025-01-06', true, '2025-01-06'
     from generate_series(1, 40) as n join track.item on external_id = 'alone'`,
  );
  const rows = await database.rows(
    "select rank, clicked_count::int, compared_count::int, examination from monitor.position_bias($1, $2, 'video')",
    [week(0), week(1)],
  );
  expect(rows).toEqual([
    { rank: 1, clicked_count: 20, compared_count: 0, examination: null },
    { rank: 2, clicked_count: 20, compared_count: 0, examination: null },
  ]);
});

test("analysts read rounded figures, which a person more does not change", async () => {
  const shown = await bias("insights_analyst", 0, weeks);
  for (const { rank, listed_count, clicked_count, examination } of shown) {
    expect(listed_count % 5).toBe(0);
    expect(clicked_count % 5).toBe(0);
    expect(examination).toBe(Number((examination ?? 0).toPrecision(2)));
    expect(Math.abs((examination ?? 0) - examined(rank))).toBeLessThan(0.1);
  }
  // Weeks are whole, also when a part of them is given.
  expect(await bias("insights_analyst", 0.9, weeks - 0.9)).toEqual(shown);
  // A rank, and a week, of few people reads as one without people.
  await database.query(
    `insert into recommend.impression (person_id, serving_key, item_id, rank, basis, listed_at, is_served, clicked_at)
     select 1 + n % 4, gen_random_uuid(), item_id, 11, 'model', $1::timestamptz, true, $1::timestamptz
     from generate_series(1, 100) as n join track.item on external_id = 'course 1'`,
    [week(1.5)],
  );
  expect(await bias("insights_analyst", 0, weeks)).toEqual(shown);
  expect((await bias("insights_admin", 0, weeks)).at(-1)).toMatchObject({ rank: 11, clicked_count: 100 });
});

test("invalid arguments are refused", async () => {
  expect(await database.rejects("select monitor.position_bias($1, $2)", [week(1), week(0)])).toMatchObject({
    code: "CF001",
  });
  expect(await database.rejects("select monitor.position_bias($1, $2, 'curse')", [week(0), week(1)])).toMatchObject({
    code: "CF002",
    message: 'there is no item of kind "curse"',
  });
  expect(await rolesThatMay(database, "select monitor.position_bias()")).toEqual(["analyst", "admin", "worker"]);
});
