import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query(
  'create table lab.word (grade int, "Grade" int, hours int, date date, "or""der" int, count int, "ünï" int)',
);

test.each([
  [null, []],
  ["grade", ["grade"]],
  ["GRADE > 5", ["grade"]],
  ['"Grade" > 5', ["Grade"]],
  ["Grade", ["Grade"]],
  ["word.grade + coalesce(hours, 0)", ["grade", "hours"]],
  ["'grade' = 'it''s hours'", []],
  ["hours::date > date '2026-01-01'", ["hours"]],
  ["count(grade)", ["grade"]],
  ["count + 1", ["count"]],
  ['"or""der" * 2', ['or"der']],
  ["ünï - 1", ["ünï"]],
  ["date > now()", ["date"]],
])("%s names %j", async (expression, columns) => {
  expect(await database.value("select common.expression_columns($1, 'lab.word')", [expression])).toEqual(columns);
});
