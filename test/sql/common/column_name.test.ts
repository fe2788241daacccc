import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query('create table lab.house (price int, "Odd; name" int, "select" int, "Price of ""it""" int)');

const column = "select common.column_name('lab.house', $1, 'label')";

test.each([
  ["price", "price"],
  ["PRICE", "price"],
  ['"price"', "price"],
  ["Odd; name", '"Odd; name"'],
  ['"Odd; name"', '"Odd; name"'],
  ["select", '"select"'],
  ['Price of "it"', '"Price of ""it"""'],
])("%s is a column, as it is stored or as it is written", async (name, quoted) => {
  expect(await database.value(column, [name])).toBe(quoted);
});

test.each([
  ["prize", /"price"/],
  ["qqq", /price, Odd; name/],
  ["price; drop table lab.house", /./],
  ["ctid", /./],
  [null, /price, Odd; name/],
])("%s is refused", async (name, hint) => {
  const error = await database.rejects(column, [name]);
  expect(error).toMatchObject({ code: "CF002", message: expect.stringMatching(/^label: /) as string });
  expect(error.hint).toMatch(hint);
});
