import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query("create table lab.taken (id int); create table lab.fresh_summary (id int)");

test.each([
  ["lab.made", "lab.made"],
  ["LAB.Made", "lab.made"],
  ['lab."Odd; name"', 'lab."Odd; name"'],
  ["made", "public.made"],
])("%s names a table to be created", async (name, expected) => {
  expect(await database.value("select common.output_table($1)", [name])).toBe(expected);
});

test.each([
  [null, "{}", "CF001"],
  ["", "{}", "CF001"],
  ["a.b.c", "{}", "CF001"],
  ["lab.made; drop table lab.taken", "{}", "CF001"],
  [`lab.${"x".repeat(64)}`, "{}", "CF001"],
  [`lab.${"x".repeat(60)}`, "{_summary}", "CF001"],
  ["nowhere.made", "{}", "CF002"],
  ["lab.taken", "{}", "CF003"],
  ["lab.fresh", "{_summary}", "CF003"],
])("%s with %s is refused", async (name, suffixes, code) => {
  const error = await database.rejects("select common.output_table($1, $2::text[])", [name, suffixes]);
  expect(error).toMatchObject({ code });
  expect(error.hint).toBeTruthy();
});

test("an unused companion name is accepted", async () => {
  expect(await database.value("select common.output_table('lab.fresh', '{_dictionary}')")).toBe("lab.fresh");
});

test("a schema where the caller may not create is refused", async () => {
  await database.query("grant usage on schema lab to insights_worker");
  await database.as("insights_worker", {}, async (db) => {
    expect(await db.rejects("select common.output_table('lab.made')")).toMatchObject({ code: "CF005" });
  });
});

test.runIf(database.native)("one name is given to one session at a time", async () => {
  const one = await database.pool.connect();
  try {
    await one.query("begin");
    await one.query("select common.output_table('lab.race', '{_summary}')");
    expect(await database.rejects("select common.output_table('lab.race')")).toMatchObject({
      code: "CF003",
      message: 'the output table "race" is being written by another session',
    });
    expect(await database.rejects("select common.output_table('lab.race_summary')")).toMatchObject({ code: "CF003" });
    await one.query("rollback");
    expect(await database.value("select common.output_table('lab.race')")).toBe("lab.race");
  } finally {
    one.release();
  }
});

test("a transaction that only reads is refused", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("set transaction read only");
    expect(await db.rejects("select common.output_table('lab.unread')")).toMatchObject({ code: "CF005" });
  });
});
