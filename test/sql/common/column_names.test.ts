import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query('create table lab.house (price int, "Odd, name" int, size int)');

const columns = "select common.column_names('lab.house', $1, 'features')";

test.each([
  ["price", ["price"]],
  ['size, "Odd, name",PRICE', ["size", '"Odd, name"', "price"]],
  ["", []],
  ["  ", []],
  [null, []],
])("%s are columns, in the order given", async (names, quoted) => {
  expect(await database.value(columns, [names])).toEqual(quoted);
});

test.each([
  ["price, sise", "CF002"],
  ["price,,size", "CF001"],
  ["price; drop table lab.house", "CF001"],
])("%s are not", async (names, code) => {
  expect(await database.rejects(columns, [names])).toMatchObject({ code });
});
