import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { makeEnded } from "../ended.ts";
import { at } from "../experiments.ts";

const database = await testDatabase();
const incomplete = "select incomplete_sets from experiment.incomplete_sets()";

beforeAll(() => makeEnded(database));

const readers = {
  among: "select * from analytics.retention('Course Viewed', among => 'cohort.nested & counted')",
  breakdown: "select * from analytics.retention('Course Viewed', breakdown => 'set.cohort.live')",
  people: "select * from analytics.cohort_people('live')",
  definition: `select analytics.define_cohort('more', '{"not": {"set": "arm.new_page.control"}}')`,
  nested: `select analytics.define_cohort('more', '{"not": {"set": "cohort.nested"}}')`,
};
const factors = (db: Queries): Promise<string[]> =>
  db
    .rows<{ factor: string }>(
      `select factor
       from analytics.funnel_correlation(
         '[{"event": "Course Viewed"}, {"event": "Course Finished"}]', $1, $2, factors => 'set'
       )
       order by factor`,
      [at(0), at(30)],
    )
    .then((rows) => rows.map((row) => row.factor));

test("names the variations whose exposures were deleted", async () => {
  expect(await database.rows(incomplete)).toEqual([]);
  await database.as("postgres", {}, async (db) => {
    await db.query("update track.setting set oldest_event = $1", [at(7)]);
    // The other experiment still runs: its people are those who are left.
    expect(await db.rows(incomplete)).toEqual([
      { incomplete_sets: "arm.new_page.control" },
      { incomplete_sets: "arm.new_page.treatment" },
    ]);
  });
});

test("cohorts, correlations and breakdowns follow the rule of among", async () => {
  await database.as("postgres", {}, async (db) => {
    for (const sql of Object.values(readers)) await db.query(sql);
    await db.query("select analytics.drop_cohort('more')");
    const before = await factors(db);
    expect(before).toEqual(
      expect.arrayContaining(["arm.new_page.treatment", "arm.other.treatment", "cohort.live", "cohort.fixed"]),
    );
    await db.query("update track.setting set oldest_event = $1", [at(7)]);
    await db.query("savepoint deleted");
    for (const [name, sql] of Object.entries(readers)) {
      expect(await db.rejects(sql), name).toMatchObject({
        code: "CF010",
        message: expect.stringMatching(/ deleted by a rule of retention$/),
      });
      await db.query("rollback to deleted");
    }
    expect(await db.rejects("select * from analytics.cohort_people('live')")).toMatchObject({
      message: '"cohort.live" reads the set "arm.new_page.treatment", whose people were deleted by a rule of retention',
      hint: "Define it without this set. A cohort with is_live false keeps its people.",
    });
    await db.query("rollback to deleted");
    expect(await factors(db)).toEqual(before.filter((name) => !/^arm\.new_page\.|^cohort\.(live|nested)$/.test(name)));
    expect(await db.rows("select name, person_count::int from analytics.cohorts() where name like 'cohort.%'")).toEqual(
      [
        { name: "cohort.fixed", person_count: 6 },
        { name: "cohort.live", person_count: null },
        { name: "cohort.nested", person_count: null },
        { name: "cohort.unrelated", person_count: 6 },
      ],
    );
    await db.query("select * from analytics.retention('Course Viewed', among => 'cohort.fixed & cohort.unrelated')");
  });
});
