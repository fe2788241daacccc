import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makeWorld } from "../../support/world.ts";

const database = await testDatabase();
await makeWorld(database);
await database.query("update recommend.setting set fewest_test_people = 1");

test("functions that write refuse a read-only transaction", async () => {
  const id = await database.value("select evaluation_id from recommend.start_evaluation('{popularity}')");
  for (const [call, what] of [
    ["select count(*) from recommend.evaluate()", "evaluate models"],
    ["select recommend.start_evaluation()", "evaluate models"],
    [`select recommend.continue_evaluation(${id})`, "evaluate models"],
    ["select count(*) from recommend.search()", "search parameters"],
    ["select recommend.start_search()", "search parameters"],
    ["select recommend.train()", "train a model"],
    ["select recommend.train_step()", "train a model"],
    ["select count(*) from recommend.serve_items('{}')", "record what is served"],
    ["select recommend.set_rule('one', 'exclude', items => '{course-drama}')", "set a rule"],
    ["select recommend.drop_rule('availability')", "drop a rule"],
    ["select recommend.person_feedback('ada', 'like', 'course-drama')", "send feedback"],
  ] as const) {
    await database.as("insights_admin", {}, async (db) => {
      await db.query("set transaction read only");
      expect(await db.rejects(call), call).toMatchObject({
        code: "25006",
        message: `cannot ${what} in a read-only transaction`,
        hint: expect.stringContaining("may write"),
      });
    });
  }
  await database.as("insights_admin", {}, async (db) => {
    await db.query("set transaction read only");
    expect(await db.rejects("select count(*) from recommend.serve_person('ada')")).toMatchObject({
      code: "CF005",
      message: expect.stringContaining("logs what it reads, and the transaction is read-only"),
    });
  });
});

test("temporary tables of the session are neither read nor dropped", async () => {
  for (const table of ["coded", "coded_item", "trained_part", "owned", "entry", "all_row", "held_row", "train_row"]) {
    await database.as("insights_admin", {}, async (db) => {
      await db.query(`create temporary table ${table} as select 4711 as mine`);
      for (const call of ["recommend.train()", "recommend.evaluate('{popularity}')", "recommend.search(trials => 1)"]) {
        expect(await db.rejects(`select * from ${call}`), `${table}, ${call}`).toMatchObject({
          code: "CF001",
          message: `this session has a temporary table "${table}"`,
        });
      }
      expect(await db.value(`select mine from ${table}`)).toBe(4711);
    });
  }
  // Other names, also those that resemble them, do not matter.
  await database.as("insights_admin", {}, async (db) => {
    await db.query("create temporary table codedxitem as select 4711 as mine");
    await db.query("create temporary table courses as select 4711 as mine");
    expect(await db.rows("select * from recommend.evaluate('{popularity}')")).not.toEqual([]);
    expect(await db.value("select version from recommend.train()")).toBe(1);
    expect(await db.value("select count(*)::int from courses")).toBe(1);
  });
});
