import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { type Arm, begin, decision, defineMetrics, expose } from "./outcomes.ts";

const database = await testDatabase();

beforeAll(() => defineMetrics(database));

const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
/** The verdict about people with these outcomes. */
const verdict = (arms: readonly Arm[], definition: Record<string, unknown> = {}, daysAgo = 10) =>
  world(async (db) => {
    await begin(db, { key: "exp", ...definition }, daysAgo);
    await expose(db, "exp", arms, Math.min(5, daysAgo - 0.1));
    return await decision(db, "exp");
  });

const better: Arm[] = [
  { people: 400, enrolled: 80 },
  { people: 400, enrolled: 200 },
];
const same: Arm[] = [
  { people: 400, enrolled: 80 },
  { people: 400, enrolled: 82 },
];
const worse: Arm[] = [
  { people: 400, enrolled: 200 },
  { people: 400, enrolled: 80 },
];
const harmful: Arm[] = [
  { people: 400, enrolled: 80, complained: 20 },
  { people: 400, enrolled: 200, complained: 150 },
];

describe("the rule of decision", () => {
  test("a draft has no results", () =>
    world(async (db) => {
      await db.query("select experiment.define_experiment($1)", [
        JSON.stringify({ key: "exp", variations: [{ key: "control" }, { key: "new" }], goals: ["enrolled"] }),
      ]);
      expect(await decision(db, "exp")).toMatchObject({ state: "draft", verdict: "draft", people: null, days: null });
    }));

  test("a better goal is shipped, with its numbers in the reason", async () => {
    const found = await verdict(better);
    expect(found).toMatchObject({ state: "running", verdict: "ship", variation: "new", people: 800, warnings: [] });
    expect(found.days).toBeCloseTo(10, 2);
    // 20 % and 50 %: 150 % more.
    expect(found.reason).toMatch(
      /^The goal "enrolled" is better in "new": \+150\.0 % \(\+\d+\.\d to \+\d+\.\d %, p = /,
    );
  });

  test("before the minimum duration nothing is decided but harm", async () => {
    expect(await verdict(better, {}, 6)).toMatchObject({ verdict: "running", variation: null });
    expect((await verdict(better, {}, 6)).reason).toMatch(/^The minimum duration ends on \d{4}-\d\d-\d\d\.$/);
    const found = await verdict(harmful, {}, 6);
    expect(found).toMatchObject({ verdict: "harm", variation: "new" });
    expect(found.reason).toContain('The guardrail "complained" is worse than accepted in "new"');
  });

  test("a guardrail that is worse stops a goal that is better, whatever the test of the plan", async () => {
    for (const chosen of ["welch", "sequential", "bayesian"]) {
      expect(await verdict(harmful, { test: chosen })).toMatchObject({ verdict: "harm", variation: "new" });
    }
    // With a margin, the results of a sequential plan are those of the search for harm; of another plan, they are not.
    for (const chosen of ["welch", "sequential"]) {
      const found = await verdict(harmful, { test: chosen, guardrails: [{ metric: "complained", margin: 0.5 }] });
      expect(found).toMatchObject({ verdict: "harm", variation: "new" });
    }
    // It may become worse by the margin, here by all.
    const twice = [
      { people: 400, enrolled: 80, complained: 100 },
      { people: 400, enrolled: 200, complained: 200 },
    ];
    expect(await verdict(twice)).toMatchObject({ verdict: "harm", variation: "new" });
    expect(await verdict(twice, { guardrails: [{ metric: "complained", margin: 1 }] })).toMatchObject({
      verdict: "running",
    });
  });

  test("a guardrail with a margin must be shown to be safe before a variation is shipped", async () => {
    const arms = [
      { people: 400, enrolled: 80, complained: 4 },
      { people: 400, enrolled: 200, complained: 5 },
    ];
    const guardrails = [{ metric: "complained", margin: 0.05 }];
    expect(await verdict(arms, { guardrails })).toMatchObject({ verdict: "running", variation: "new" });
    expect((await verdict(arms, { guardrails })).reason).toContain(
      'But it is not shown that it keeps within the margin of "complained".',
    );
    expect(await verdict(arms, { guardrails, maximum_duration: "9 days" })).toMatchObject({ verdict: "no_decision" });
    expect(await verdict(arms)).toMatchObject({ verdict: "ship" });
  });

  test("a goal that is worse in all variations is harm", async () => {
    const found = await verdict(worse);
    expect(found).toMatchObject({ verdict: "harm", variation: null });
    expect(found.reason).toMatch(/^The goal "enrolled" is worse than in the control: "new" -60\.0 %/);
  });

  test("without a difference it runs until the end of the plan, and ends without a decision", async () => {
    expect(await verdict(same)).toMatchObject({ verdict: "running", variation: null });
    expect((await verdict(same)).reason).toMatch(
      /^No difference of the goal "enrolled" .* has been shown yet\. new: \+2\.5 %/,
    );
    expect(await verdict(same, { maximum_duration: "9 days" })).toMatchObject({ verdict: "no_decision" });
    expect(await verdict(same, { maximum_duration: "11 days" })).toMatchObject({ verdict: "running" });
    expect(await verdict(same, { planned_people: 800 })).toMatchObject({ verdict: "no_decision" });
    expect(await verdict(same, { planned_people: 801 })).toMatchObject({ verdict: "running" });
  });

  test("the test welch is made once, at the end of the plan", async () => {
    expect(await verdict(better, { test: "welch" })).toMatchObject({ verdict: "running" });
    expect(await verdict(worse, { test: "welch" })).toMatchObject({ verdict: "running" });
    expect(await verdict(better, { test: "welch", planned_people: 800 })).toMatchObject({ verdict: "ship" });
    expect(await verdict(same, { test: "welch", maximum_duration: "9 days" })).toMatchObject({
      verdict: "no_decision",
    });
  });

  test("the test bayesian too, because its level does not hold when it is read on every day", async () => {
    expect(await verdict(better, { test: "bayesian" })).toMatchObject({ verdict: "running" });
    const found = await verdict(better, { test: "bayesian", planned_people: 800 });
    expect(found).toMatchObject({ verdict: "ship" });
    expect(found.reason).toContain("chance to win 100.0 %");
    // A chance to win of 96 %: the interval of 95 % has 0 in it.
    const likely = [
      { people: 400, enrolled: 80 },
      { people: 400, enrolled: 104 },
    ];
    const close = await verdict(likely, { test: "bayesian", planned_people: 800 });
    expect(close).toMatchObject({ verdict: "no_decision" });
    expect(close.reason).toMatch(/\(-.* to \+.* %, chance to win 9[56]\.\d %\)/);
  });

  test("several variations share the level of the goal", async () => {
    const arms = [
      { people: 400, enrolled: 80 },
      { people: 400, enrolled: 110 },
    ];
    const plan = { test: "welch", planned_people: 800 };
    expect(await verdict(arms, plan)).toMatchObject({ verdict: "ship" });
    const variations = [{ key: "control" }, { key: "new" }, { key: "newest" }];
    expect(await verdict([...arms, { people: 400, enrolled: 81 }], { ...plan, variations })).toMatchObject({
      verdict: "no_decision",
    });
  });

  test("several guardrails share the level of harm, and a rare one that becomes frequent is harm", async () => {
    const arms = [
      { people: 400, enrolled: 80, complained: 4 },
      { people: 400, enrolled: 80, complained: 20 },
    ];
    const found = await verdict(arms, {}, 3);
    expect(found).toMatchObject({ verdict: "harm", variation: "new" });
    expect(found.reason).toMatch(/: \+400\.0 % \(\+\d+\.\d to \+\d+\.\d %\)\.$/);
    // With a margin too, although the quotient of both is very uncertain where the control has few outcomes.
    const guardrails = [{ metric: "complained", margin: 0.5 }];
    expect(await verdict(arms, { guardrails }, 3)).toMatchObject({ verdict: "running" });
    const frequent = [
      { people: 400, enrolled: 80, complained: 2 },
      { people: 400, enrolled: 80, complained: 60 },
    ];
    expect(await verdict(frequent, { guardrails }, 3)).toMatchObject({ verdict: "harm" });
    const none = await verdict([{ people: 400, enrolled: 80 }, frequent[1] as Arm], { guardrails }, 3);
    expect(none).toMatchObject({ verdict: "harm", variation: "new" });
    expect(none.reason).toMatch(/: 0\.1500, and 0 in the control\.$/);
    expect(await verdict(arms, { guardrails: ["complained", "points"] }, 3)).toMatchObject({
      verdict: "running",
    });
  });

  test("people who are not distributed by the weights make it invalid, also when the goal is better", async () => {
    const found = await verdict([
      { people: 500, enrolled: 100 },
      { people: 300, enrolled: 200 },
    ]);
    expect(found).toMatchObject({ verdict: "invalid", variation: null });
    expect(found.reason).toContain("People are not distributed by the weights");
    expect(found.warnings.join()).toContain("Sample ratio mismatch");
  });

  test("of several variations the one with the largest effect is shipped, also of a goal to be lowered", async () => {
    const variations = [{ key: "control" }, { key: "new" }, { key: "newest" }];
    const third = [...better, { people: 400, enrolled: 250 }];
    expect(await verdict(third, { variations, correction: "holm" })).toMatchObject({
      verdict: "ship",
      variation: "newest",
    });
    // One that is worse does not stop another one that is better.
    const mixed = [
      { people: 400, enrolled: 200 },
      { people: 400, enrolled: 80 },
      { people: 400, enrolled: 350 },
    ];
    expect(await verdict(mixed, { variations })).toMatchObject({ verdict: "ship", variation: "newest" });
    const complaints = [
      { people: 400, enrolled: 1, complained: 200 },
      { people: 400, enrolled: 1, complained: 20 },
    ];
    const found = await verdict(complaints, { goals: ["complained"], guardrails: ["enrolled"] });
    expect(found).toMatchObject({ verdict: "ship", variation: "new" });
    expect(found.reason).toContain("-90.0 %");
  });

  test("one arm without people, and none at all, give neither a decision nor an error", async () => {
    expect(
      await verdict([
        { people: 3, enrolled: 1 },
        { people: 0, enrolled: 0 },
      ]),
    ).toMatchObject({ verdict: "running", people: 3 });
    expect(await verdict([])).toMatchObject({ verdict: "running", people: 0 });
  });

  test("after a stop it states what the data show, at the time of the stop", () =>
    world(async (db) => {
      await begin(db, { key: "exp" });
      await expose(db, "exp", same);
      await db.query("select experiment.stop('exp', 'No time')");
      expect(await decision(db, "exp")).toMatchObject({ state: "stopped", verdict: "no_decision" });
      await begin(db, { key: "other" });
      await expose(db, "other", better);
      await db.query("select experiment.ship('other', 'new')");
      expect(await decision(db, "other")).toMatchObject({ state: "shipped", verdict: "ship", variation: "new" });
    }));

  test("a variation that cannot be served as planned is a warning", () =>
    world(async (db) => {
      await db.query("insert into track.item (external_id, kind) values ('course-1', 'course')");
      await begin(db, {
        key: "exp",
        placement: "recommend.course",
        variations: [
          { key: "control", value: {} },
          { key: "new", value: {} },
        ],
      });
      await db.query("update experiment.variation set value = '{\"model\": 7}' where variation_key = 'new'");
      expect((await decision(db, "exp")).warnings).toEqual([
        'Variation "new" cannot be served as planned: recommend.course has no version 7.',
      ]);
    }));
});

test("an unknown experiment is refused with the nearest one", () =>
  world(async (db) => {
    await begin(db, { key: "lists" });
    const error = await db.rejects("select experiment.decision('list')");
    expect([error.code, error.hint]).toEqual(["CF002", expect.stringContaining('"lists"')]);
  }));

test("is for analysts, admins and workers", async () => {
  await begin(database, { key: "roles" });
  expect(await rolesThatMay(database, "select experiment.decision('roles')")).toEqual(["analyst", "admin", "worker"]);
});
