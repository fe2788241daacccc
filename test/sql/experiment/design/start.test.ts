import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

const values = [
  { key: "control", value: "grey" },
  { key: "red", value: "red" },
];

test("starts a draft: weights apply from then on, and the history holds the plan", async () => {
  await database.as("insights_admin", { "insights.person": "root" }, async (db) => {
    await define(db);
    const plan = await db.value("select experiment.definition('new-player')");
    await db.query("select experiment.start('new-player')");
    expect(
      await db.rows(`
        select state, started_at = weighting.since as is_since, started_at <= clock_timestamp() as is_past, stopped_at
        from experiment.experiment
        join experiment.weighting using (experiment_id)`),
    ).toEqual([{ state: "running", is_since: true, is_past: true, stopped_at: null }]);
    expect(await db.value("select after from experiment.history('new-player') where action = 'started'")).toEqual(plan);
    expect(await db.rows("select name from track.person_set where name like 'arm.%' order by name")).toEqual([
      { name: "arm.new_player.control" },
      { name: "arm.new_player.new" },
    ]);
    const error = await db.rejects("select experiment.start('new-player')");
    expect([error.code, error.message]).toEqual(["CF003", 'the experiment "new-player" is running']);
  });
});

const conflicts: [why: string, fields: Record<string, unknown>, message: string][] = [
  ["without a goal", { key: "second", feature: "colour", variations: values, goals: undefined }, "has no goal"],
  ["on the same feature", { key: "second" }, 'the experiment "new-player" is running on the feature "player"'],
  [
    "on the same feature, in a layer of its own",
    { key: "second", layer: "page" },
    'the experiment "new-player" is running on the feature "player"',
  ],
  [
    "with the same seed",
    { key: "second", feature: "colour", variations: values, seed: "new-player" },
    'the experiment "new-player" is running with the seed "new-player"',
  ],
];
test.each(conflicts)("refuses one %s", async (_why, fields, message) => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await define(db, fields);
    await db.query("select experiment.start('new-player')");
    const error = await db.rejects("select experiment.start('second')");
    expect([error.code, error.message]).toEqual(["CF003", expect.stringContaining(message)]);
  });
});

test("two experiments on one feature run in ranges of one layer, and one after the other", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { layer: "page", layer_until: 0.5 });
    await define(db, { key: "second", layer: "page", layer_from: 0.5 });
    await db.query("select experiment.start('new-player'), experiment.start('second')");
    await db.query("select experiment.stop('second', 'Enough.'), experiment.stop('new-player', 'Enough.')");
    await define(db, { key: "third" });
    await db.query("select experiment.start('third')");
    expect(await db.rows("select experiment_key from experiment.experiment where state = 'running'")).toEqual([
      { experiment_key: "third" },
    ]);
  });
});

test("of the experiments on a placement, one runs at a time, and its schema checks the values", async () => {
  await database.query(`
    create schema place;
    create function place.check_value(placement text, value jsonb) returns void language plpgsql as $$
    begin
      if value ->> 'colour' is null then perform common.refuse('CF001', 'no colour in ' || placement); end if;
    end $$;
    grant usage on schema place to insights_owner;
    insert into experiment.handler (room, check_function, description) values ('place', 'place.check_value', 'A test.')`);
  await database.as("insights_admin", {}, async (db) => {
    const fields = { feature: undefined, placement: "place.button" };
    const error = await (async () => {
      await db.query("savepoint before");
      const raised = await define(db, fields).catch((caught: Error) => caught.message);
      await db.query("rollback to before");
      return raised;
    })();
    expect(error).toBe("no colour in place.button");
    const variations = [
      { key: "control", value: { colour: "grey" } },
      { key: "red", value: { colour: "red" } },
    ];
    await define(db, { ...fields, variations });
    await define(db, { ...fields, variations, key: "second", layer: "page" });
    await db.query("select experiment.start('new-player')");
    const refused = await db.rejects("select experiment.start('second')");
    expect([refused.code, refused.message]).toEqual([
      "CF003",
      'the experiment "new-player" is running on the placement "place.button"',
    ]);
  });
});

test("checks again what has changed since the definition", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { holdout: "none-2026" });
    await db.query("select experiment.end_holdout('none-2026')");
    const error = await db.rejects("select experiment.start('new-player')");
    expect([error.code, error.message]).toEqual(["CF003", 'the holdout "none-2026" has ended']);
  });
});

const races: [why: string, first: Record<string, unknown>, second: Record<string, unknown>][] = [
  ["one feature", {}, {}],
  ["one placement", { feature: undefined, placement: "place.x" }, { feature: undefined, placement: "place.x" }],
  ["one seed", { feature: undefined, seed: "s" }, { feature: undefined, seed: "s" }],
];
test.skipIf(!database.native).each(races)(
  "of two sessions that start experiments with %s at once, one succeeds",
  async (_why, first, second) => {
    const coloured = [
      { key: "a", value: { colour: "a" } },
      { key: "b", value: { colour: "b" } },
    ];
    await database.query("delete from experiment.experiment");
    for (const [key, fields] of [
      ["one", first],
      ["two", second],
    ] as const) {
      await define(database, { key, ...("feature" in fields ? { variations: coloured } : {}), ...fields });
    }
    const started = await Promise.allSettled(
      ["one", "two"].map((key) => database.query("select experiment.start($1)", [key])),
    );
    expect(started.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(await database.value("select count(*)::int from experiment.experiment where state = 'running'")).toBe(1);
    await database.query("delete from experiment.experiment");
  },
);

test.skipIf(!database.native)(
  "of two sessions that define overlapping ranges of a layer at once, one succeeds",
  async () => {
    const defined = await Promise.allSettled([
      define(database, { key: "one", layer: "page", layer_until: 0.5 }),
      define(database, { key: "two", layer: "page", layer_from: 0.4 }),
    ]);
    expect(defined.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    await database.query("delete from experiment.experiment");
  },
);

test.skipIf(!database.native)("a start whose session is ended leaves a draft, and the next one succeeds", async () => {
  await define(database, { key: "third" });
  const client = await database.pool.connect();
  await client.query("begin");
  const { rows } = await client.query("select pg_backend_pid() as id, experiment.start('third')");
  const waiting = database.query("select experiment.start('third')");
  client.on("error", () => {});
  await database.query("select pg_terminate_backend($1)", [rows[0].id]);
  client.release(true);
  await waiting;
  expect(await database.rows("select action from experiment.history('third')")).toEqual([
    { action: "defined" },
    { action: "started" },
  ]);
  await database.query("delete from experiment.experiment");
});

test("is refused in a transaction whose snapshot does not show other starts", async () => {
  const error = await database.rejects("begin isolation level repeatable read; select experiment.start('x'); commit");
  expect([error.code, error.message]).toEqual(["CF003", "the transaction is repeatable read"]);
  await database.query("rollback");
});

test.each([
  ["'new-plaier'", "CF002", "experiment"],
  ["null", "CF002", '"null"'],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.start(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators start experiments", async () => {
  expect(await rolesThatMay(database, "select experiment.start('x')")).toEqual(["admin"]);
});
