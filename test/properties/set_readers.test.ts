import fc from "fast-check";
import { expect, test } from "vitest";
import { at, message, named, send, start, viewed } from "../sql/experiment/experiments.ts";
import { ingest, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * Sets of people that are read by other sets and by experiments: arms by a cohort, the cohort by another one and as the
 * population of an experiment, a list as its stratum. After any history, with refreshes of a few people between its
 * steps and rules that change, each set has the people that its definition gives, and each exposure is that of a
 * computation from scratch: no consumer has missed that a person joined or left a set that it reads.
 */
const database = await testDatabase();
await send(database, [{ person: "zoe", event: "Task Submitted", day: 1 }]);
await database.query("select experiment.define_metric('submits', 'count', '{Task Submitted}')");
await start(database, { key: "first", goals: ["submits"] }, 5);
await database.query("select track.set_person_set('listed_people', '{}', 'Listed.')");
await database.query(`select analytics.define_cohort('tried', '{"set": "arm.first.treatment"}')`);
await database.query(
  `select analytics.define_cohort('both', '{"any": [{"set": "cohort.tried"}, {"set": "listed_people"}]}')`,
);
await start(
  database,
  { key: "second", goals: ["submits"], population: "cohort.tried", strata: "set.listed_people" },
  5,
);
await start(database, { key: "third", goals: ["submits"], population: "cohort.both" }, 5);

const name = fc.constantFrom("ada", "ben", "eve", "b1", "b2");
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      what: fc.constant("view" as const),
      person: name,
      experiment: fc.constantFrom("first", "first", "second", "third"),
      variation: fc.constantFrom("control", "treatment", "treatment"),
      day: fc.integer({ min: 6, max: 9 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constantFrom("list" as const, "unlist" as const), person: name }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constantFrom("link" as const, "unlink" as const), person: name, other: name }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom("exclude" as const, "include" as const), person: name }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom("restrict" as const, "lift" as const), person: name }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("erase" as const), person: name }) },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("define" as const),
      set: fc.constantFrom("arm.first.control", "arm.first.treatment", "listed_people"),
    }),
  },
  { weight: 3, arbitrary: fc.record({ what: fc.constantFrom("refresh" as const, "refresh some" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function take(db: Queries, one: Step): Promise<void> {
  const attempt = async (sql: string, values: unknown[]): Promise<void> => {
    await db.query("savepoint attempt");
    try {
      await db.query(sql, values);
    } catch (error) {
      expect((error as { code?: string }).code).toMatch(/^CF00/);
      await db.query("rollback to attempt");
    }
  };
  const people = "array(select distinct person_id from track.identity where external_id = $1 and kind <> 'none')";
  const calls = {
    link: "track.link_identities($1, $2)",
    unlink: "track.unlink_identities($1, $2)",
    exclude: "track.exclude_person($1, 'test')",
    include: "track.include_person($1)",
    restrict: "privacy.restrict_person($1, 'request')",
    lift: "privacy.lift_restriction($1)",
    erase: "privacy.erase_person($1)",
    list: `track.add_to_person_set('listed_people', ${people})`,
    unlist: `track.remove_from_person_set('listed_people', ${people})`,
  };
  switch (one.what) {
    case "view":
      await ingest(db, [message(viewed(one.person, one.experiment, one.variation, one.day))]);
      break;
    case "define":
      await attempt("select analytics.define_cohort('tried', $1)", [JSON.stringify({ set: one.set })]);
      break;
    case "refresh some":
      await db.query("select track.refresh(1)");
      break;
    case "refresh":
      await refresh(db, 2);
      break;
    default:
      await attempt(`select ${calls[one.what]}`, "other" in one ? [one.person, one.other] : [one.person]);
  }
}

const stored = "select name, member from track.person_set cross join lateral track.person_set_members(name) as member";
const defined = `
  select name, member
  from track.person_set
  cross join lateral track.members_among(name, array(select person_id from track.person)) as member`;

test("no set and no experiment misses that a person joined or left a set that it reads", {
  timeout: 900_000,
}, async () => {
  const seen = { cohort: 0, counted: 0, not: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
      await database.as("postgres", {}, async (db) => {
        for (const person of ["ada", "ben", "eve", "b1", "b2"]) {
          await ingest(db, [
            { type: "track", messageId: person, ...named(person), event: "Task Submitted", timestamp: at(2) },
          ]);
        }
        for (const one of steps) await take(db, one);
        await refresh(db, 2);
        expect(await db.rows(`(${stored}) except (${defined})`)).toEqual([]);
        expect(await db.rows(`(${defined}) except (${stored})`)).toEqual([]);
        for (const key of ["first", "second", "third"]) {
          expect(await db.rows("select wrong_people, wrong_sums from experiment.check_exposures($1)", [key])).toEqual([
            { wrong_people: 0, wrong_sums: 0 },
          ]);
        }
        seen.cohort += await db.value<number>("select track.person_set_size('cohort.both')::int");
        seen.counted += await db.value<number>(
          "select count(*)::int from experiment.exposure join experiment.experiment using (experiment_id) where is_counted and population like 'cohort.%'",
        );
        seen.not += await db.value<number>(
          "select count(*)::int from experiment.exposure join experiment.experiment using (experiment_id) where not is_counted and population like 'cohort.%'",
        );
      });
    }),
    { numRuns: runs(60, 10, database.native) },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(0);
});
