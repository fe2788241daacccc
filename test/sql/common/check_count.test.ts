import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

const check = "select common.check_count('top', $1, 1, 1000)";

test.each([1, 500, 1000])("%i is in its range", async (value) => {
  expect((await database.query(check, [value])).rowCount).toBe(1);
});

test.each([0, 1001, -1, "9223372036854775807"])("%s does not", async (value) => {
  const error = await database.rejects(check, [value]);
  expect(error).toMatchObject({ code: "CF001", message: `top is ${value}` });
  expect(error.hint).toMatch(/1 .*1000/);
});

test("nor does null", async () => {
  expect(await database.rejects(check, [null])).toMatchObject({ code: "CF001", message: "top is null" });
});

test("a long name is cut", async () => {
  const { message } = await database.rejects("select common.check_count(repeat('x', 5000), 0, 1, 2)");
  expect(message.length).toBeLessThan(120);
});
