import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";
import { makeRhythms, type Rhythm, rhythmOf, rhythms, zones } from "./rhythms.ts";

const database = await testDatabase();
await makeRhythms(database);

interface Own extends Rhythm {
  zone: string;
}
const period = "'2026-02-01', '2026-05-01'";
const ask = (person: string, rest = ""): Promise<Own[]> =>
  database.as("insights_learner", { "insights.person": person }, (db) =>
    db.rows<Own>(
      `select zone, active_days::int as days, active_hours::int as hours, hour_shares as shares, mid_activity as mean,
         concentration, p_value as p, chronotype
       from analytics.my_chronotype(${period}${rest})`,
    ),
  );

function close(own: Own | undefined, rhythm: Rhythm): void {
  expect(own).toMatchObject({ days: rhythm.days, hours: rhythm.hours, chronotype: rhythm.chronotype });
  rhythm.shares.forEach((share, hour) => {
    expect(own?.shares[hour]).toBeCloseTo(share, 12);
  });
  expect(own?.shares.length).toBe(24);
  expect(own?.mean).toBeCloseTo(rhythm.mean, 9);
  expect(own?.concentration).toBeCloseTo(rhythm.concentration, 12);
  expect(own?.p).toBeCloseTo(rhythm.p, 12);
}

test("the types of people with a rhythm, in their zones, before and after a refresh", async () => {
  for (const refreshed of [false, true]) {
    if (refreshed) await refresh(database);
    for (const { person, offset } of rhythms) {
      const [own] = await ask(person);
      expect(own?.zone).toBe(zones[offset]);
      close(own, rhythmOf(person));
    }
  }
  expect(rhythms.map(({ person }) => rhythmOf(person).chronotype)).toEqual([
    "definitely_morning",
    "moderately_morning",
    "intermediate",
    "moderately_evening",
    "definitely_evening",
    "definitely_evening",
    "undetermined",
    "undetermined",
    "undetermined",
  ]);
});

test("the mean of hours around midnight is near midnight", async () => {
  const [own] = await ask("night");
  expect(Math.min(own?.mean ?? 12, 24 - (own?.mean ?? 12))).toBeLessThan(1);
});

test("in another zone", async () => {
  const [own] = await ask("dawn", ", 'Asia/Tokyo'");
  expect(own?.zone).toBe("Asia/Tokyo");
  close(own, rhythmOf("dawn", 9 - 2));
});

test("opposite hours have no mean", async () => {
  expect(
    await database.rows(
      `select mid_activity, round(concentration::numeric, 9)::float8 as concentration, p_value, chronotype
       from analytics._chronotype((select array_agg(case when hour in (3, 15) then 7 else 0 end order by hour)::bigint[]
         from generate_series(0, 23) as hour), 14)`,
    ),
  ).toEqual([{ mid_activity: null, concentration: 0, p_value: 1, chronotype: "undetermined" }]);
});

test("the bounds of the types belong to the later one", async () => {
  // One hour, and its neighbours with equal weights, have their middle as mean; two hours have the hour between them.
  for (const [hours, type] of [
    [[4], "definitely_evening"],
    [[4, 5], "definitely_morning"],
    [[7, 8], "moderately_morning"],
    [[9, 10], "intermediate"],
    [[16, 17], "moderately_evening"],
    [[21, 22], "definitely_evening"],
    [[23, 0], "definitely_evening"],
  ] as [number[], string][])
    expect(
      await database.value(
        `select chronotype from analytics._chronotype((select array_agg(case when hour = any ($1) then 20 else 0 end order by hour)::bigint[]
           from generate_series(0, 23) as hour), 20)`,
        [hours],
      ),
      hours.join(),
    ).toBe(type);
});

test("without activity, and of an unknown person", async () => {
  for (const person of ["nobody-yet", ""])
    expect(await ask(person)).toEqual([
      {
        zone: "UTC",
        days: 0,
        hours: 0,
        shares: null,
        mean: null,
        concentration: null,
        p: null,
        chronotype: null,
      },
    ]);
});

test("invalid arguments", async () => {
  for (const [given, code] of [
    ["zone => 'Mars'", "CF002"],
    ["zone => repeat('z', 100000)", "CF002"],
    ["since => '2026-02-01', until => '2026-01-01'", "CF001"],
    ["since => null", "CF001"],
    ["since => '1900-01-01'", "CF008"],
  ])
    await database.as("insights_learner", { "insights.person": "dawn" }, async (db) => {
      expect(await db.rejects(`select * from analytics.my_chronotype(${given})`)).toMatchObject({ code });
    });
});

test("is for learners, and instructors as such", async () => {
  expect(await rolesThatMay(database, "select * from analytics.my_chronotype()")).toEqual(["learner", "instructor"]);
});
