import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
const at = (hours: number): string => iso(start + hours * 3_600_000);
/** 40 people: 20 end. Of these 15 searched in between, of the others 3; one searched too late, one before. */
await ingest(
  database,
  Array.from({ length: 40 }, (_, index) => index).flatMap((index) => {
    const userId = `p${index}`;
    const ends = index < 20;
    const searches = index < 15 || (index >= 20 && index < 23);
    return [
      message({ userId, event: "Opened", timestamp: at(1) }),
      message({ userId, event: "Read", timestamp: at(2) }),
      ...(searches ? [message({ userId, event: "Searched", timestamp: at(3) })] : []),
      ...(index === 16 ? [message({ userId, event: "Searched", timestamp: at(9) })] : []),
      ...(index === 30 ? [message({ userId, event: "Searched", timestamp: at(0) })] : []),
      ...(ends ? [message({ userId, event: "Ended", timestamp: at(5) })] : []),
      { type: "identify", messageId: `plan ${index}`, userId, traits: { plan: index % 2 === 0 ? "pro" : "free" } },
    ];
  }),
);
await refresh(database);
const call = (rest = ""): string => `
  select factor, converted_with::int, dropped_with::int, converted_without::int, dropped_without::int, odds_ratio,
    lower_bound, upper_bound, adjusted_p_value, is_significant
  from analytics.funnel_correlation('["Opened", "Ended"]', $1, $2${rest})`;
const period = [iso(start), iso(start + 20 * DAY)];

test("events between the steps, with the odds ratio and Woolf's interval", async () => {
  const rows = await withFloor<Record<string, unknown>>(database, 1, call(), period);
  // log((15.5 * 17.5) / (3.5 * 5.5)), and the root of 1/15.5 + 1/3.5 + 1/5.5 + 1/17.5.
  const logOdds = Math.log((15.5 * 17.5) / (3.5 * 5.5));
  const deviation = Math.sqrt(1 / 15.5 + 1 / 3.5 + 1 / 5.5 + 1 / 17.5);
  expect(rows).toEqual([
    {
      factor: "Searched",
      converted_with: 15,
      dropped_with: 3,
      converted_without: 5,
      dropped_without: 17,
      odds_ratio: expect.closeTo(Math.exp(logOdds), 9),
      lower_bound: expect.closeTo(Math.exp(logOdds - 1.959963984540054 * deviation), 9),
      upper_bound: expect.closeTo(Math.exp(logOdds + 1.959963984540054 * deviation), 9),
      // Of the logarithm of the odds in standard deviations, by the complementary error function.
      adjusted_p_value: expect.closeTo(0.0005677957786, 11),
      is_significant: true,
    },
  ]);
});

test("values of a trait and sets of people", async () => {
  const traits = await withFloor<{ factor: string }>(database, 1, call(", factors => 'trait.plan'"), period);
  expect(traits).toMatchObject([
    { factor: "free", converted_with: 10, dropped_with: 10, odds_ratio: 1, is_significant: false },
    { factor: "pro", converted_with: 10, dropped_with: 10, odds_ratio: 1, is_significant: false },
  ]);
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "select track.set_person_set('early', array(select track.find_person('p' || n) from generate_series(0, 9) n))",
    );
    expect(await db.rows(call(", factors => 'set'"), period)).toMatchObject([
      { factor: "early", converted_with: 10, dropped_with: 0, converted_without: 10, dropped_without: 20 },
    ]);
  });
});

test("for analysts, figures are those of the numbers as shown", async () => {
  expect(await withFloor(database, 5, call(), period)).toMatchObject([
    {
      factor: "Searched",
      converted_with: 15,
      dropped_with: 0,
      converted_without: 5,
      dropped_without: 15,
      odds_ratio: expect.closeTo((15.5 * 15.5) / (0.5 * 5.5), 9),
    },
  ]);
  expect(await withFloor(database, 19, call(), period)).toEqual([]);
});

test("other factors are an error", async () => {
  for (const factors of ["'events'", "null", "'trait.'", "''"])
    expect(await database.rejects(call(`, factors => ${factors}`), period)).toMatchObject({ code: "CF001" });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, `select * from analytics.funnel_correlation('["Opened", "Ended"]')`)).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
