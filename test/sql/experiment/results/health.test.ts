import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { refresh } from "../../track/messages.ts";
import { at, send, start, viewed } from "../experiments.ts";

const database = await testDatabase();
interface Health {
  people: number[];
  expected: number[] | null;
  srm_p: number | null;
  is_mismatched: boolean;
  multiple: number;
  not_counted: number;
  first_day: string | null;
  warnings: string[];
}
const health = (experiment: string, db: Pick<typeof database, "value"> = database): Promise<Health> =>
  db.value<Health>("select to_jsonb(health) from experiment.health($1) as health", [experiment]);

await send(database, [{ person: "zoe", event: "Task Submitted", day: 1 }]);
await database.query("select experiment.define_metric('submits', 'proportion', '{Task Submitted}')");

test("people by variation, those with several, and those who are not counted", async () => {
  await start(database, { key: "page", goals: ["submits"] }, 5);
  expect(await health("page")).toMatchObject({
    people: [0, 0],
    expected: null,
    srm_p: null,
    is_mismatched: false,
    multiple: 0,
    first_day: null,
    warnings: [],
  });
  await send(database, [
    ...Array.from({ length: 30 }, (_, i) => viewed(`person ${i}`, "page", i % 3 === 0 ? "treatment" : "control", 6)),
    viewed("person 1", "page", "treatment", 9),
    viewed("b1", "page", "treatment", 6),
    viewed("person 99", "page", "gone", 6),
    viewed("person 98", "pages", "control", 6),
    viewed("person 97", "page", "control", 4),
  ]);
  await refresh(database);
  const found = await health("page");
  expect(found).toMatchObject({ people: [19, 10], expected: [14.5, 14.5], multiple: 1, not_counted: 1 });
  // Chi-squared of 19 and 10 against halves, one degree of freedom: 2.7931.
  expect(found.srm_p).toBeCloseTo(0.09467, 4);
  expect(found.warnings).toEqual(["1 people saw several variations, and are not counted."]);
  await database.as("insights_analyst", {}, async (db) => {
    expect(await health("page", db as typeof database)).toMatchObject({
      people: [15, 10],
      multiple: 0,
      not_counted: 0,
    });
  });
  await database.query(
    "select track.set_person_set('one', array(select person_id from track.identity where external_id = 'person 5'))",
  );
  await database.as("insights_analyst", {}, async (db) => {
    const one = "select to_jsonb(health) from experiment.health('page', among => 'one') as health";
    expect(await db.value(one)).toMatchObject({
      people: [0, 0],
      first_day: null,
      last_day: null,
      expected: null,
      srm_p: null,
    });
    // Nor do the notes of the results have exact numbers.
    expect(await db.rows("select note from experiment.results('page') where note like '%several%'")).toEqual([]);
  });
  expect(await database.rejects("select experiment.health('pag')")).toMatchObject({ code: "CF002" });
});

test("a mismatch is a warning in the results, and the weights are those of the time of the exposure", async () => {
  await start(database, { key: "broken", goals: ["submits"], population: "visitors" }, 5);
  await send(database, [
    ...Array.from({ length: 80 }, (_, i) => viewed(`visitor ${i}`, "broken", i < 60 ? "control" : "treatment", 6.5)),
    ...Array.from({ length: 80 }, (_, i) => viewed(`late ${i}`, "broken", i < 30 ? "control" : "treatment", 7.6)),
    ...Array.from({ length: 50 }, (_, i) => viewed(`later ${i}`, "broken", i < 10 ? "control" : "treatment", 8.5)),
  ]);
  await database.query(
    `insert into experiment.weighting (experiment_id, since, weights)
     select experiment_id, $1, '{0.2,0.8}' from experiment.experiment where experiment_key = 'broken'`,
    [at(7.5)],
  );
  await refresh(database);
  const found = await health("broken");
  expect(found.people).toEqual([100, 110]);
  // 80 people by halves, and 130 by one fifth, 80 of them on the day of the change.
  expect(found.expected).toEqual([expect.closeTo(66, 9), expect.closeTo(144, 9)]);
  expect(found.srm_p).toBeLessThan(0.001);
  expect(found.srm_p).toBeCloseTo(
    await database.value<number>("select experiment.srm('{{60,20},{40,90}}', '{{0.5,0.5},{0.2,0.8}}')"),
    12,
  );
  // Of some people, by the time of their exposure too.
  await database.query(`
    select track.set_person_set('later', array(
      select person_id from track.identity where external_id ~ '^(late|later) .$'))`);
  const later = "select to_jsonb(health) from experiment.health('broken', among => 'later') as health";
  expect(await database.value(later)).toMatchObject({
    people: [20, 0],
    expected: [4, 16],
    srm_p: expect.closeTo(await database.value<number>("select experiment.srm('{20,0}', '{0.2,0.8}')"), 15),
  });
  expect(found.is_mismatched).toBe(true);
  expect(found.warnings[0]).toMatch(/Sample ratio mismatch/);
  expect(found.warnings[1]).toMatch(/"visitors"/);
  const notes = await database.rows<{ note: string }>("select note from experiment.results('broken')");
  expect(notes.every(({ note }) => note.includes("Sample ratio mismatch"))).toBe(true);
  expect(
    await database.rows(
      "select variation, probability, count(*)::int from experiment.exposure join experiment.experiment using (experiment_id) where experiment_key = 'broken' group by 1, 2 order by 1, 2",
    ),
  ).toEqual([
    { variation: 0, probability: 0.2, count: 40 },
    { variation: 0, probability: 0.5, count: 60 },
    { variation: 1, probability: 0.5, count: 20 },
    { variation: 1, probability: 0.8, count: 90 },
  ]);
});

test("events that retention has deleted since the start are a warning", async () => {
  await database.as("postgres", {}, async (db) => {
    const warnings = () => db.value("select (experiment.health('page')).warnings");
    const before = await warnings();
    await db.query("update track.setting set oldest_event = $1", [at(1)]);
    expect(await warnings()).toEqual(before);
    await db.query("update track.setting set oldest_event = $1", [at(9)]);
    const warning =
      "Events before 2026-01-10 were deleted by a rule of retention: exposures and outcomes since the start are missing.";
    expect(await warnings()).toEqual([...(before as string[]), warning]);
    await db.query("set local role insights_analyst");
    expect(await warnings()).toContain(warning);
    expect(await db.rows("select from experiment.results('page') where note not like '%retention%'")).toEqual([]);
  });
});
