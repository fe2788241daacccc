import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("changes weights or coverage from now on, and keeps the former ones", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.change_weights('new-player', '{0.1,0.9}')");
    await db.query("select experiment.change_weights('new-player', coverage => 0.5)");
    await db.query("select experiment.change_weights('new-player', '{1,0}', 1)");
    expect(await db.rows("select weights, coverage from experiment.weighting order by since")).toEqual([
      { weights: [0.5, 0.5], coverage: 1 },
      { weights: [0.1, 0.9], coverage: 1 },
      { weights: [0.1, 0.9], coverage: 0.5 },
      { weights: [1, 0], coverage: 1 },
    ]);
    expect(
      await db.rows(`select before -> 'weights' as before, after -> 'weights' as after
        from experiment.history('new-player') where action = 'weights changed' order by changed_at limit 1`),
    ).toEqual([{ before: [0.5, 0.5], after: [0.1, 0.9] }]);
    expect(await db.value("select experiment.features() #> '{features,player,rules,0,weights}'")).toEqual([1, 0]);
  });
});

const invalid: [call: string, code: string, message: string][] = [
  ["null, null", "CF001", "neither weights nor coverage"],
  ["'{0.5,0.6}'", "CF001", "add up to 1.1"],
  ["'{1}'", "CF001", "1 weights for 2 variations"],
  ["'{0.5,0.25,0.25}'", "CF001", "3 weights for 2 variations"],
  ["'{{0.5,0.5}}'", "CF001", "2 weights for 2 variations"],
  ["'[0:1]={0.5,0.5}'", "CF001", "2 weights for 2 variations"],
  ["'{0.5,null}'", "CF001", "the weights are"],
  ["'{0.5,NaN}'", "CF001", "the weights are"],
  ["'{1.5,-0.5}'", "CF001", "the weights are"],
  ["'{0,1}'", "CF001", "the weight of the control is 0"],
  ["'{}'", "CF001", "0 weights for 2 variations"],
  ["null, 0", "CF001", "coverage is 0"],
  ["null, 2", "CF001", "coverage is 2"],
  ["null, 'NaN'", "CF001", "coverage is NaN"],
];
test.each(invalid)("refuses %s", async (call, code, message) => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await db.query("select experiment.start('new-player')");
    const error = await db.rejects(`select experiment.change_weights('new-player', ${call})`);
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
  });
});

test("refuses a draft, one that has ended, and the weights of a bandit", async () => {
  await database.as("insights_admin", {}, async (db) => {
    const refused = async () => {
      await db.query("savepoint before");
      const error = await db.rejects("select experiment.change_weights('new-player', '{0.5,0.5}')");
      await db.query("rollback to before");
      return `${error.code} ${error.message}`;
    };
    await define(db, { bandit: "thompson" });
    expect(await refused()).toBe('CF003 the experiment "new-player" is draft');
    await db.query("select experiment.start('new-player')");
    expect(await refused()).toBe('CF003 the weights of the bandit "new-player" follow its results');
    await db.query("select experiment.stop('new-player', 'Enough.')");
    expect(await refused()).toBe('CF003 the experiment "new-player" is stopped');
  });
});

test("an unknown experiment is refused", async () => {
  expect((await database.rejects("select experiment.change_weights('x', '{1,0}')")).code).toBe("CF002");
});

test("only administrators change weights", async () => {
  expect(await rolesThatMay(database, "select experiment.change_weights('x', '{1,0}')")).toEqual(["admin"]);
});
