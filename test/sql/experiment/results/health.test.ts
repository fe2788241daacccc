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

test("opposite errors of two periods are a mismatch, without reading the people", async () => {
  await start(database, { key: "turned", goals: ["submits"], population: "visitors" }, 5);
  await send(database, [
    ...Array.from({ length: 100 }, (_, i) => viewed(`first ${i}`, "turned", i < 70 ? "control" : "treatment", 6.5)),
    ...Array.from({ length: 100 }, (_, i) => viewed(`second ${i}`, "turned", i < 20 ? "control" : "treatment", 7.6)),
  ]);
  await database.query(
    `insert into experiment.weighting (experiment_id, since, weights)
     select experiment_id, $1, '{0.4,0.6}' from experiment.experiment where experiment_key = 'turned'`,
    [at(7.5)],
  );
  await refresh(database);
  await database.as("insights_admin", {}, async (db) => {
    const read =
      "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int from pg_stat_xact_all_tables where relname = 'exposure'";
    const before = await db.value<number>(read);
    const found = await db.value<Health>("select to_jsonb(health) from experiment.health('turned') as health");
    expect(await db.value<number>(read)).toBe(before);
    // Added up, the numbers are exactly the expected ones.
    expect(found).toMatchObject({ people: [90, 110], expected: [90, 110], is_mismatched: true });
    expect(found.srm_p).toBeCloseTo(
      await db.value<number>("select experiment.srm('{{70,30},{20,80}}', '{{0.5,0.5},{0.4,0.6}}')"),
      12,
    );
  });
});

test("people who were counted before a change of the weights are counted again", async () => {
  await database.as("postgres", {}, async (db) => {
    await start(db, { key: "ahead", goals: ["submits"], population: "visitors" }, 5);
    await send(db, [
      ...Array.from({ length: 30 }, (_, i) => viewed(`early ${i}`, "ahead", i % 2, 6)),
      ...Array.from({ length: 20 }, (_, i) => viewed(`ahead ${i}`, "ahead", i % 4 === 0 ? 0 : 1, 7)),
    ]);
    await refresh(db);
    const periods = () =>
      db.rows(
        `select since, variation, people::int from experiment.period_sum join experiment.experiment using (experiment_id)
         where experiment_key = 'ahead' order by since, variation`,
      );
    const [since, changed] = [new Date(at(5)), new Date(at(6.5))];
    expect(await periods()).toEqual([
      { since, variation: 0, people: 20 },
      { since, variation: 1, people: 30 },
    ]);
    // As by the clock of a client that is ahead: the exposure is later than the change, the message was earlier.
    await db.query(
      `with changed as (
         insert into experiment.weighting (experiment_id, since, weights)
         select experiment_id, $1, '{0.25,0.75}' from experiment.experiment where experiment_key = 'ahead'
         returning *
       )
       select experiment._count_periods(experiment_id, since) from changed`,
      [at(6.5)],
    );
    expect(await periods()).toEqual([
      { since, variation: 0, people: 15 },
      { since, variation: 1, people: 15 },
      { since: changed, variation: 0, people: 5 },
      { since: changed, variation: 1, people: 15 },
    ]);
    expect(await db.value("select (experiment.health('ahead')).expected")).toEqual([20, 30]);
    // They leave the numbers again with their erasure.
    await db.query("select privacy.erase_person('ahead 0'), privacy.erase_person('early 1')");
    await refresh(db);
    expect((await periods()).reduce((sum, row) => sum + Number(row["people"]), 0)).toBe(48);
    expect(await db.value("select (experiment.check_exposures('ahead')).wrong_sums")).toBe(0);
    // Numbers that were changed directly, are too small for an erasure, or are missing: found and repaired.
    const check = () => db.value<number>("select (experiment.check_exposures('ahead')).wrong_sums");
    await db.query("update experiment.period_sum set people = 1 where people > 10");
    await db.query("delete from experiment.period_sum where people < 10 and people > 1");
    await db.query(
      "select privacy.erase_person('early 0'), privacy.erase_person('early 2'), privacy.erase_person('ahead 4')",
    );
    await refresh(db);
    expect(await check()).toBe(4);
    expect((await periods()).reduce((sum, row) => sum + Number(row["people"]), 0)).toBe(45);
    expect(await check()).toBe(0);
  });
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
