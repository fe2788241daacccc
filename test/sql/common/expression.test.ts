import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query('create table lab.word ("order" int, "User" int, plain int, "1" int, "a, b" int, "user" int)');

test.each([
  ["order", '"order"'],
  [" order ", '"order"'],
  ["User", '"User"'],
  ["user", '"user"'],
  ["plain", "plain"],
  ["a, b", '"a, b"'],
  ['"order"', '"order"'],
  ["order + 1", "order + 1"],
  ["1", "1"],
  ["array[1, order, plain]", 'array[1, "order", plain]'],
  ["ARRAY[ user ]", 'array["user"]'],
  ["array[order] || array[user]", "array[order] || array[user]"],
  ["array[1, order * 2]", "array[1, order * 2]"],
])("%s is read as %s", async (expression, read) => {
  expect(await database.value("select common.expression($1, 'lab.word')", [expression])).toBe(read);
});
