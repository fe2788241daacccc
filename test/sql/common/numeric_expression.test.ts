import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query(`
  create table lab.house (small smallint, whole int, big bigint, short real, long float8, exact numeric, sold boolean, name text, at date);
  insert into lab.house values (1, 2, 3, 0.5, 0.25, 1.5, true, 'x', '2026-01-01')`);

const numeric = (expression: string): Promise<string> =>
  database.value("select common.numeric_expression($1, 'lab.house', 'label')", [expression]);

test.each([
  ["small", 1],
  ["whole", 2],
  ["big", 3],
  ["short", 0.5],
  ["long", 0.25],
  ["exact", 1.5],
  ["sold", 1],
  ["not sold", 0],
  // In brackets, whatever it is put beside.
  ["whole + big", 5],
])("%s is a number", async (expression, value) => {
  const sql = await numeric(expression);
  expect(await database.value(`select 10 * ${sql} from lab.house`)).toBe(10 * value);
  expect(await database.value(`select pg_typeof(${sql})::text from lab.house`)).toBe("double precision");
});

test.each([
  ["name", "CF001"],
  ["at", "CF001"],
  ["array[1]", "CF001"],
  ["wholly", "CF002"],
])("%s is refused", async (expression, code) => {
  const error = await database.rejects("select common.numeric_expression($1, 'lab.house', 'label')", [expression]);
  expect(error).toMatchObject({ code, message: expect.stringMatching(/^label: /) as string });
  expect(error.hint).toBeTruthy();
});
