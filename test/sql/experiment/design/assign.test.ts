import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

type Result = { inExperiment: boolean; variationId: number; key: string; value: unknown; hashAttribute: string };

/* FNV-1a by its definition, and the ranges of GrowthBook's documentation. */
function fnv(text: string): number {
  let hash = 0x811c9dc5;
  for (const unit of text.split("")) hash = Math.imul(hash ^ unit.charCodeAt(0), 0x01000193) >>> 0;
  return hash;
}
const bucket = (seed: string, id: string): number => (fnv(String(fnv(seed + id))) % 10_000) / 10_000;

test("assigns by hash, weights and coverage", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { weights: [0.25, 0.75], coverage: 0.8 });
    await db.query("select experiment.start('new-player')");
    const people = await db.rows<{ id: string; result: Result }>(
      `select 'person-' || number as id, experiment.assign('person-' || number, 'new-player') as result
       from generate_series(1, 300) as number`,
    );
    for (const { id, result } of people) {
      const n = bucket("new-player", id);
      const variation = n < 0.2 ? 0 : n >= 0.25 && n < 0.25 + 0.6 ? 1 : -1;
      expect([result.inExperiment, result.variationId], id).toEqual([variation >= 0, Math.max(variation, 0)]);
    }
    expect(new Set(people.map(({ result }) => `${result.inExperiment} ${result.key}`)).size).toBe(3);
  });
});

test("a person takes part by her traits and by the attributes of the request, which cannot replace her own", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { condition: { plan: "pro", deviceType: "phone" } });
    await db.query("select experiment.start('new-player')");
    const takesPart = async (person: string, attributes: object | null) =>
      (await db.value<Result>("select experiment.assign($1, 'new-player', $2)", [person, JSON.stringify(attributes)]))
        .inExperiment;
    expect(await takesPart("ada", { deviceType: "phone" })).toBe(true);
    expect(await takesPart("ada", { deviceType: "phone", plan: "free", id: "x" })).toBe(true);
    expect(await takesPart("ada", null).catch(() => false)).toBe(false);
  });
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { condition: { plan: "pro", deviceType: "phone" } });
    await db.query("select experiment.start('new-player')");
    const bob = await db.value<Result>(
      `select experiment.assign('bob', 'new-player', '{"deviceType": "phone", "plan": "pro"}')`,
    );
    expect(bob.inExperiment).toBe(false);
  });
});

test("no person is in an experiment that is not running, and all have the variation that was shipped", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    const of = () => db.value<Result>("select experiment.assign('ada', 'new-player')");
    expect(await of()).toMatchObject({ inExperiment: false, key: "control", value: false });
    await db.query("select experiment.start('new-player')");
    const running = await of();
    expect(running.inExperiment).toBe(true);
    await db.query("select experiment.stop('new-player', 'Enough.')");
    expect(await of()).toMatchObject({ inExperiment: false, key: "control", value: false });
    await db.query("select experiment.ship('new-player', 'new')");
    expect(await of()).toMatchObject({ inExperiment: false, variationId: 1, key: "new", value: true });
  });
});

test("in a sticky experiment a person keeps the variation of the first exposure", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { is_sticky: true, fallback_attribute: "anonymousId", key: "sticky" });
    await define(db, { key: "loose", seed: "sticky-2", feature: undefined });
    await db.query("select experiment.start('sticky'), experiment.start('loose')");
    const first = await db.value<Result>("select experiment.assign('ada', 'sticky')");
    await db.query("reset role");
    await db.query(
      `insert into experiment.exposure (person_id, experiment_id, variation, exposed_at, exposed_on, is_counted)
       select track.find_person('ada'), experiment_id, case experiment_key when 'sticky' then $1 else 1 end, now(), current_date, true
       from experiment.experiment`,
      [first.variationId],
    );
    await db.query("set local role insights_admin");
    const other = first.variationId === 0 ? "{0.001,0.999}" : "{0.999,0.001}";
    await db.query("select experiment.change_weights('sticky', $1), experiment.change_weights('loose', '{1,0}')", [
      other,
    ]);
    expect(await db.value("select experiment.assign('ada', 'sticky')")).toMatchObject({
      inExperiment: true,
      variationId: first.variationId,
      stickyBucketUsed: true,
    });
    expect(await db.value("select experiment.assign('ada', 'loose')")).toMatchObject({
      variationId: 0,
      stickyBucketUsed: false,
    });
    // A browser without a userId is assigned by its own name.
    expect(await db.value("select experiment.assign('browser-1', 'sticky')")).toMatchObject({
      hashAttribute: "anonymousId",
      hashValue: "browser-1",
    });
  });
});

test("an experiment by browser takes those who are named by a browser", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { hash_attribute: "anonymousId" });
    await db.query("select experiment.start('new-player')");
    expect(await db.value("select experiment.assign('ada', 'new-player')")).toMatchObject({ inExperiment: false });
    expect(await db.value("select experiment.assign('browser-1', 'new-player')")).toMatchObject({ inExperiment: true });
  });
});

test.each([
  ["'ada', 'x'", "CF002", "experiment"],
  ["'ada', null", "CF002", '"null"'],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.assign(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test.each([
  ["''", "null", "CF001"],
  ["null", "null", "CF001"],
  ["'ada'", "'[]'", "CF001"],
  ["'ada'", "'1'", "CF001"],
  ["'ada'", "jsonb_build_object('x', repeat('x', 20000))", "CF008"],
])("refuses the person %s with %s", async (person, attributes, code) => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    expect((await db.rejects(`select experiment.assign(${person}, 'new-player', ${attributes})`)).code).toBe(code);
  });
});

test("only administrators and workers assign any person", async () => {
  expect(await rolesThatMay(database, "select experiment.assign('ada', 'x')")).toEqual(["admin", "worker"]);
});
