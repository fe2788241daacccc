import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("gives the variation to all clients, after the rules of the feature", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(
      `select experiment.define_feature('player', 'X.', rules => '[{"condition": {"plan": "free"}, "force": false}]')`,
    );
    await define(db);
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.ship('new-player', 'new')");
    expect(
      await db.rows("select state, shipped_variation, stopped_at is not null as has_ended from experiment.experiment"),
    ).toEqual([{ state: "shipped", shipped_variation: 1, has_ended: true }]);
    expect(await db.value("select experiment.features() -> 'features' -> 'player' -> 'rules'")).toEqual([
      { condition: { plan: "free" }, force: false },
      { id: "new-player", force: true },
    ]);
    expect(await db.value("select after from experiment.history('new-player') where action = 'shipped'")).toEqual({
      state: "shipped",
      variation: "new",
    });
    const error = await db.rejects("select experiment.ship('new-player', 'control')");
    expect([error.code, error.message]).toEqual(["CF003", 'the experiment "new-player" is shipped']);
  });
});

test("of several experiments on a feature, the one that was shipped last applies", async () => {
  await database.as("insights_admin", {}, async (db) => {
    for (const key of ["one", "two"]) {
      await define(db, { key });
      await db.query("select experiment.start($1)", [key]);
      await db.query("select experiment.stop($1, 'Enough.')", [key]);
    }
    await db.query("select experiment.ship('two', 'new')");
    await db.query("select experiment.ship('one', 'control')");
    expect(await db.value("select experiment.features() -> 'features' -> 'player' -> 'rules'")).toEqual([
      { id: "one", force: false },
    ]);
  });
});

test("people who are held out keep the control until the holdout ends", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { holdout: "none-2026" });
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.ship('new-player', 'new')");
    expect(await db.value("select experiment.features() -> 'features' -> 'player' -> 'rules'")).toEqual([
      {
        id: "holdout.none-2026",
        force: false,
        filters: [{ attribute: "id", seed: "holdout.none-2026", hashVersion: 2, ranges: [[0, 0.2]] }],
      },
      { id: "new-player", force: true },
    ]);
    await db.query("select experiment.end_holdout('none-2026')");
    expect(await db.value("select experiment.features() -> 'features' -> 'player' -> 'rules'")).toEqual([
      { id: "new-player", force: true },
    ]);
  });
});

test("of a placement, its schema makes the value permanent, or the whole call fails", async () => {
  await database.query(`
    create schema place;
    create table place.value (placement text, value jsonb);
    create function place.ship(placement text, value jsonb) returns void language plpgsql as $$
    begin
      if value = '"b"' then perform common.refuse('CF003', 'b cannot be deployed'); end if;
      insert into place.value values (placement, value);
    end $$;
    grant usage on schema place to insights_owner;
    grant all on place.value to insights_owner;
    insert into experiment.handler (room, ship_function, description) values ('place', 'place.ship', 'A test.')`);
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { feature: undefined, placement: "place.button", variations: [{ key: "a" }, { key: "b" }] });
    await db.query("select experiment.start('new-player')");
    await db.query("savepoint before");
    expect((await db.rejects("select experiment.ship('new-player', 'b')")).message).toBe("b cannot be deployed");
    await db.query("rollback to before");
    await db.query("select experiment.ship('new-player', 'a')");
    await db.query("reset role");
    expect(await db.rows("select * from place.value")).toEqual([{ placement: "place.button", value: "a" }]);
    await db.query("set local role insights_admin");
    const error = await db.rejects("select experiment.stop('new-player', 'Back.')");
    expect([error.code, error.hint]).toEqual(["CF003", "Change it there."]);
  });
});

test("refuses a draft and an unknown variation", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await db.query("savepoint before");
    expect((await db.rejects("select experiment.ship('new-player', 'new')")).message).toBe(
      'the experiment "new-player" is draft',
    );
    await db.query("rollback to before");
    await db.query("select experiment.start('new-player')");
    const error = await db.rejects("select experiment.ship('new-player', 'newer')");
    expect([error.code, error.hint]).toEqual(["CF002", 'Did you mean "new"?']);
  });
});

test.each([
  ["'new-plaier', 'x'", "CF002", "experiment"],
  ["null, null", "CF002", '"null"'],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.ship(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators ship variations", async () => {
  expect(await rolesThatMay(database, "select experiment.ship('x', 'x')")).toEqual(["admin"]);
});
