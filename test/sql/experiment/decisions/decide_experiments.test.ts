import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { type Arm, begin, type Decision, defineMetrics, expose } from "./outcomes.ts";

const database = await testDatabase();

beforeAll(() => defineMetrics(database));

const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
/** As the worker does. */
const decide = async (db: Queries): Promise<Decision[]> => {
  await db.query("set local role insights_worker");
  const decided = await db.rows<Decision>("select * from experiment.decide_experiments()");
  await db.query("reset role");
  return decided;
};
const states = (db: Queries) =>
  db
    .rows<{ key: string; state: string }>("select experiment_key as key, state from experiment.experiment order by 1")
    .then((rows) => Object.fromEntries(rows.map(({ key, state }) => [key, state])));

const better: Arm[] = [
  { people: 400, enrolled: 80 },
  { people: 400, enrolled: 200 },
];
const same: Arm[] = [
  { people: 400, enrolled: 80 },
  { people: 400, enrolled: 82 },
];
const harmful: Arm[] = [
  { people: 400, enrolled: 80, complained: 20 },
  { people: 400, enrolled: 200, complained: 150 },
];

describe("experiment.decide_experiments", () => {
  test("harm stops every experiment; the others are ended only when they are decided automatically", () =>
    world(async (db) => {
      for (const [key, arms, automatic] of [
        ["harm-1", harmful, false],
        ["harm-2", harmful, true],
        ["ship-1", better, false],
        ["ship-2", better, true],
        ["end-1", same, false],
        ["end-2", same, true],
      ] as const) {
        await begin(db, { key, is_decided_automatically: automatic, maximum_duration: "9 days" });
        await expose(db, key, arms);
      }
      await begin(db, { key: "recent", is_decided_automatically: true }, 1);
      const decided = await decide(db);
      expect(
        decided.map(({ experiment, verdict, variation, state }) => [experiment, verdict, variation, state]),
      ).toEqual([
        ["harm-1", "harm", "new", "stopped"],
        ["harm-2", "harm", "new", "stopped"],
        ["ship-2", "ship", "new", "shipped"],
        ["end-2", "no_decision", null, "stopped"],
      ]);
      expect(await states(db)).toEqual({
        "harm-1": "stopped",
        "harm-2": "stopped",
        "ship-1": "running",
        "ship-2": "shipped",
        "end-1": "running",
        "end-2": "stopped",
        recent: "running",
      });
      expect(
        await db.rows(
          `select key, action, after ->> 'verdict' as verdict, after ->> 'reason' as reason
           from experiment.change where action in ('decided', 'stopped', 'shipped') and key in ('harm-1', 'ship-2')
           order by key, changed_at`,
        ),
      ).toEqual([
        { key: "harm-1", action: "decided", verdict: "harm", reason: expect.stringContaining('"complained" is worse') },
        { key: "harm-1", action: "stopped", verdict: null, reason: expect.stringContaining('"complained" is worse') },
        { key: "ship-2", action: "decided", verdict: "ship", reason: expect.stringContaining("is better") },
        { key: "ship-2", action: "shipped", verdict: null, reason: null },
      ]);
      // Once: what is ended is not decided again.
      expect(await decide(db)).toEqual([]);
    }));

  test("an invalid experiment is left as it is", () =>
    world(async (db) => {
      await begin(db, { key: "exp", is_decided_automatically: true, maximum_duration: "9 days" });
      await expose(db, "exp", [
        { people: 500, enrolled: 100 },
        { people: 300, enrolled: 200 },
      ]);
      expect(await decide(db)).toEqual([]);
      expect(await states(db)).toEqual({ exp: "running" });
    }));

  test("one that cannot be shipped does not keep the others from being decided", () =>
    world(async (db) => {
      await db.query("insert into track.item (external_id, kind) values ('course-1', 'course')");
      await begin(db, {
        key: "lists",
        placement: "recommend.course",
        variations: [
          { key: "control", value: {} },
          { key: "new", value: {} },
        ],
        is_decided_automatically: true,
      });
      await expose(db, "lists", better);
      // As if the version had been marked since.
      await db.query("update experiment.variation set value = '{\"model\": 7}' where variation_key = 'new'");
      await begin(db, { key: "other" });
      await expose(db, "other", harmful);
      const decided = await decide(db);
      expect(decided.map(({ experiment, verdict, state }) => [experiment, verdict, state])).toEqual([
        ["lists", "error", "running"],
        ["other", "harm", "stopped"],
      ]);
      expect(decided[0]?.reason).toMatch(/is better in "new".* But it could not be shipped: .*has no version 7\.$/);
      expect(await db.value("select count(*)::int from experiment.change where action in ('decided', 'stopped')")).toBe(
        2,
      );
    }));

  test("results that arrive late change the decision until it is made, and not afterwards", () =>
    world(async (db) => {
      await begin(db, { key: "exp", is_decided_automatically: true });
      await expose(db, "exp", same);
      expect(await decide(db)).toEqual([]);
      await expose(db, "exp", [
        { people: 400, enrolled: 80 },
        { people: 400, enrolled: 300 },
      ]);
      expect((await decide(db)).map(({ verdict }) => verdict)).toEqual(["ship"]);
    }));

  test.skipIf(!database.native)("two workers at once decide once (needs parallel sessions)", async () => {
    await begin(database, { key: "parallel", is_decided_automatically: true });
    await expose(database, "parallel", better);
    const decided = await Promise.all(
      [1, 2, 3].map(() => database.rows<Decision>("select * from experiment.decide_experiments()")),
    );
    expect(decided.flat().map(({ verdict, state }) => [verdict, state])).toEqual([["ship", "shipped"]]);
    expect(
      await database.value(
        "select count(*)::int from experiment.change where key = 'parallel' and action in ('decided', 'shipped')",
      ),
    ).toBe(2);
  });

  test("is for admins and workers", async () => {
    expect(await rolesThatMay(database, "select experiment.decide_experiments()")).toEqual(["admin", "worker"]);
  });
});
