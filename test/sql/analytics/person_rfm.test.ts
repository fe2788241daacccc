import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { did, happen } from "./people.ts";

const database = await testDatabase();
// Five people, each more active and more recently than the one before.
await happen(
  database,
  ...[1, 2, 3, 4, 5].flatMap((score) =>
    Array.from({ length: score }, (_, index) => did(`p${score}`, 10 - score + index)),
  ),
);

test("each fifth has a score of its own", async () => {
  expect(
    await database.rows(
      `select person, recency_days, active_days, recency_score, frequency_score, engaged_score, cell
       from analytics.person_rfm(now() - interval '30 days') order by person`,
    ),
  ).toEqual(
    [1, 2, 3, 4, 5].map((score) => ({
      person: `p${score}`,
      recency_days: 10 - score,
      active_days: score,
      recency_score: score,
      frequency_score: score,
      // Nothing follows within a session, so that all people have the same engaged time: no one has less.
      engaged_score: 1,
      cell: ["hibernating", "hibernating", "about_to_sleep", "potential_loyal", "potential_loyal"][score - 1],
    })),
  );
});

test("of one cell", async () => {
  expect(
    await database.rows(
      "select person from analytics.person_rfm(now() - interval '30 days', cell => 'potential_loyal')",
    ),
  ).toEqual([{ person: "p4" }, { person: "p5" }]);
});
