import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeWorld } from "../../support/world.ts";

const database = await testDatabase();

const turn = async (): Promise<{ checks: number; seconds: number | null }> =>
  (
    await database.rows<{ checks: number; seconds: number | null }>(
      "select checks::int, extract(epoch from duration)::float8 as seconds from track.rollup_turn()",
    )
  )[0] ?? { checks: -1, seconds: null };

test("without people there is nothing to compare", async () => {
  expect(await turn()).toEqual({ checks: 0, seconds: null });
});

test("a turn compares each rollup of each month, and sums of each day and item", async () => {
  await makeWorld(database);
  const { checks, seconds } = await turn();
  const months = await database.value<number>("select cardinality(track._checked_months())");
  expect([checks, seconds]).toEqual([months, null]);
  expect(checks).toBeGreaterThan(0);

  // Each row is tampered with.
  const rollups = ["presence", "item_month", "item_day"];
  for (const rollup of rollups) {
    await database.query(`update track.${rollup} set event_count = event_count + 1`);
  }
  for (let check = 0; check < checks; check++) await database.query("select track.check_rollups()");
  const days = await database.rows<{ days: number; months: number }>(
    `select count(distinct day)::int as days, count(distinct month)::int as months
     from track.rollup_check where rollup = 'track.item_day'`,
  );
  expect(days[0]?.months).toBe(months);
  expect(days[0]?.days).toBe(
    await database.value<number>(
      `select sum(extract(day from month + interval '1 month - 1 day'))::int
       from unnest(track._checked_months()) as month`,
    ),
  );
  // All were found and repaired: another turn finds nothing.
  const differing = (): Promise<Record<string, number>[]> =>
    database.rows(
      `select rollup, sum(differing)::int as differing from track.rollup_check
       where differing > 0 group by rollup order by rollup`,
    );
  const found = await differing();
  expect(found.map(({ rollup }) => rollup)).toEqual(["track.item_day", "track.item_month sums", "track.presence"]);
  for (const [rollup, name] of [
    ["track.item_day", "item_day"],
    ["track.presence", "presence"],
  ] as const) {
    const cells = await database.value<number>(`select count(*)::int from track.${name}`);
    expect(found.find((row) => String(row["rollup"]) === rollup)?.["differing"]).toBe(cells);
  }
  for (let check = 0; check < checks; check++) await database.query("select track.check_rollups()");
  expect(await differing()).toEqual(found);
  expect((await turn()).seconds).toBeGreaterThan(0);
});

test("with more people there are more checks, and none for a gap in their keys", async () => {
  const { checks } = await turn();
  await database.query(
    "insert into track.person (person_id) overriding system value values (20000), (4096 * 100000::bigint)",
  );
  expect((await turn()).checks).toBe(3 * checks);
  // All are compared in one turn, each once, and all days are.
  await database.query("truncate track.rollup_check");
  for (let check = 0; check < 3 * checks; check++) await database.query("select track.check_rollups()");
  expect(
    await database.rows(
      `select count(*)::int as checks, count(distinct (month, block))::int as units,
         (select count(distinct day)::int from track.rollup_check) as days
       from track.rollup_check where rollup = 'track.presence'`,
    ),
  ).toEqual([
    {
      checks: 3 * checks,
      units: 3 * checks,
      days: await database.value<number>(
        `select sum(extract(day from month + interval '1 month - 1 day'))::int
         from unnest(track._checked_months()) as month`,
      ),
    },
  ]);
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select track.rollup_turn()")).toEqual(["admin", "worker"]);
});
