import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query("create table lab.house (id int, price numeric, sold boolean, name text, at timestamptz)");

const type = "select common.expression_type($1, 'lab.house', 'label')::text";

test.each([
  ["price", "numeric"],
  ["price * 2 > 5", "boolean"],
  ["array[1, id]", "integer[]"],
  ["coalesce(name, 'a, b')", "text"],
  ["now() - at", "interval"],
  // No row is read, so that a division by a column is not executed.
  ["1 / id", "integer"],
])("%s has the type %s", async (expression, expected) => {
  expect(await database.value(type, [expression])).toBe(expected);
});

test.each([
  [null, "CF001"],
  ["  ", "CF001"],
  ["price; drop table lab.house", "CF001"],
  ["price) from lab.house; drop table lab.house --", "CF001"],
  ["price from lab.house", "CF001"],
  ["name + 1", "CF001"],
  ["no_such(price)", "CF001"],
  // Not a value of one row.
  ["generate_series(1, id)", "CF001"],
  ["sum(price)", "CF001"],
  ["array[]", "CF001"],
  ["1 / 0", "CF001"],
  ["'many'::int", "CF001"],
  ["price::no_such", "CF001"],
  ["prise", "CF002"],
])("%s is refused", async (expression, code) => {
  const error = await database.rejects(type, [expression]);
  expect(error).toMatchObject({ code });
  expect(error.hint).toBeTruthy();
  expect(await database.value("select to_regclass('lab.house')")).not.toBeNull();
});

test("the nearest column is named, and what may not be read is refused", async () => {
  expect((await database.rejects(type, ["prise + 1"])).hint).toContain('"price"');
  await database.query("grant usage on schema lab to insights_analyst");
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects(type, ["price"])).toMatchObject({ code: "CF005" });
  });
});

test("a name of a column is taken before an expression, and the hint mentions quotes", async () => {
  await database.query('create table lab.words ("order" int, "user" text, "select" numeric)');
  expect(await database.value("select common.expression_type('order', 'lab.words', 'label')::text")).toBe("integer");
  expect(await database.value("select common.expression_type('user', 'lab.words', 'label')::text")).toBe("text");
  expect(await database.rejects("select common.expression_type('order + 1', 'lab.words', 'label')")).toMatchObject({
    code: "CF001",
    hint: expect.stringContaining('in double quotes: "order"'),
  });
});

test("a domain counts as the type that it is over", async () => {
  await database.query(
    "create domain lab.grade as float8; create table lab.graded (grade lab.grade, grades lab.grade[])",
  );
  expect(await database.value("select common.expression_type('grade', 'lab.graded', 'label')::text")).toBe(
    "double precision",
  );
  expect(await database.value("select common.expression_type('grades', 'lab.graded', 'label')::text")).toBe(
    "double precision[]",
  );
});
