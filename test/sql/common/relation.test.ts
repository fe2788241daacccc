import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query(`
  create table lab.house (id int);
  create table lab."Odd; ""name""" (id int);
  create view lab.view as select * from lab.house;
  create materialized view lab.stored as select * from lab.house;
  create table lab.parts (id int) partition by hash (id);
  create index house_id on lab.house (id);
  create sequence lab.counter`);

test.each(["lab.house", "LAB.House", 'lab."house"', 'lab."Odd; ""name"""', "lab.view", "lab.stored", "lab.parts"])(
  "%s is a relation with rows",
  async (name) => {
    expect(await database.value("select common.relation($1) = $1::regclass", [name])).toBe(true);
  },
);

test("a name means what it means to the caller", async () => {
  await database.as("insights_worker", {}, async (db) => {
    await db.query("create temporary table house (mine int)");
    await db.query("set local search_path to pg_temp");
    expect(await db.value("select common.columns(common.relation('house'))")).toEqual(["mine"]);
  });
});

test.each([
  [null, "CF001", /schema|table/],
  ["  ", "CF001", /table/],
  ["lab.house; drop table lab.house", "CF001", /quotes/],
  ["(select 1)", "CF001", /quotes/],
  ['lab."house', "CF001", /quotes/],
  ["lab.house_id", "CF001", /rows/],
  ["lab.counter", "CF001", /rows/],
  ["lab.hose", "CF002", /"lab.house"/],
  ["elsewhere.qqq", "CF002", /schema/],
])("%s is refused", async (name, code, hint) => {
  const error = await database.rejects("select common.relation($1)", [name]);
  expect(error).toMatchObject({ code });
  expect(error.hint).toMatch(hint);
});

test("what the caller may not read is refused, and a long name is cut", async () => {
  await database.query("grant usage on schema lab to insights_analyst");
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects("select common.relation('lab.house')")).toMatchObject({ code: "CF005" });
  });
  const error = await database.rejects("select common.relation('lab.' || repeat('x', 5000))");
  expect(error.message.length).toBeLessThan(200);
});
