import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houses, inputs, registry, small } from "./registry.ts";

const database = await lab();
const { constant, train } = registry(database);
beforeAll(async () => {
  await houses(database);
  await train("house.price", "regression", "price", `, ${inputs}, ${small}`);
});

const rows = "array(select house from lab.house where id <= 30 order by id desc)";

test("answers for each row, in the order of the array, what ml.predict does", async () => {
  expect(await database.value(`select ml.predict_each('house.price', ${rows})`)).toEqual(
    (
      await database.rows<{ answer: number }>(
        `select ml.predict('house.price', to_jsonb(house)) as answer from lab.house where id <= 30 order by id desc`,
      )
    ).map(({ answer }) => expect.closeTo(answer, 12)),
  );
});

test("takes rows of a composite type, and none at all", async () => {
  await database.query('create type lab.input as ("Odd; name" float8, area text, rooms int, size float8, more text)');
  expect(
    await database.value(`select ml.predict_each('house.price', array[(0.5, 'north', null, 4, 'x')::lab.input])`),
  ).toEqual([
    await database.value(
      `select ml.predict('house.price', '{"Odd; name": 0.5, "area": "north", "rooms": null, "size": 4}')`,
    ),
  ]);
  expect(await database.value("select ml.predict_each('house.price', '{}'::lab.house[])")).toEqual([]);
});

test("asks the version that is named, also one without features", async () => {
  await constant("house.fixed", 5);
  await constant("house.fixed", 6);
  await database.query("select ml.deploy('house.fixed', 2)");
  const two = "array(select house from lab.house where id <= 2)";
  expect(await database.value(`select ml.predict_each('house.fixed', ${two})`)).toEqual([6, 6]);
  expect(await database.value(`select ml.predict_each('house.fixed', ${two}, 1)`)).toEqual([5, 5]);
});

test.each([
  ["an unknown project", `'house.prize', ${rows}`, "CF002"],
  ["an unknown version", `'house.price', ${rows}, 7`, "CF002"],
  ["a list of numbers", "'house.price', array[1, 2]", "CF001"],
  ["rows without a feature", "'house.price', array(select narrow from lab.narrow)", "CF002"],
  ["a project whose versions were never deployed", `'house.shelf', ${rows}`, "CF006"],
])("%s is refused", async (_, parameters, code) => {
  await database.query("create or replace view lab.narrow as select size, rooms, area from lab.house where id <= 3");
  await constant("house.shelf", 1);
  expect(await database.rejects(`select ml.predict_each(${parameters})`)).toMatchObject({ code });
});
