import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test.each([
  ["integer out of range", "integer out of range"],
  ['invalid input syntax for type integer: "ada@example.org"', 'invalid input syntax for type integer: "…"'],
  ['"a" and "b" are not linked', '"…" and "…" are not linked'],
  ['there is no "x', 'there is no "…"'],
  ['""', '"…"'],
  ['a """ b', 'a "…""…"'],
  [`x "${"y".repeat(10_000)}"`, 'x "…"'],
  ["z".repeat(10_000), "z".repeat(100)],
  ["", ""],
  [null, null],
])("%s", async (message, shown) => {
  expect(await database.value("select common.without_values($1)", [message])).toBe(shown);
});

test("for the functions of workers and admins", async () => {
  expect(await rolesThatMay(database, "select common.without_values('x')")).toEqual(["admin", "worker"]);
});
