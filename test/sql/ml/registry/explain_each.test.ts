import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houses, inputs, registry, small } from "./registry.ts";

const database = await lab();
const { imported, train } = registry(database);
beforeAll(async () => {
  await houses(database);
  await train("house.price", "regression", "price", `, ${inputs}, ${small}`);
});

const rows = "array(select house from lab.house where id <= 5 order by id desc)";

test("explains each row of the array as ml.explain does, by its place", async () => {
  const explained = await database.rows<{ row_no: number; feature: string; contribution: number }>(
    `select row_no, feature, contribution from ml.explain_each('house.price', ${rows}) order by row_no, feature`,
  );
  const alone = await database.rows<{ row_no: number; feature: string; contribution: number }>(
    `select 6 - house.id as row_no, feature, contribution
     from lab.house cross join lateral ml.explain('house.price', to_jsonb(house))
     where house.id <= 5 order by 1, 2`,
  );
  expect(explained).toHaveLength(25);
  expect(explained).toEqual(alone.map((row) => ({ ...row, contribution: expect.closeTo(row.contribution, 12) })));
});

test("sums to what ml.predict_each answers", async () => {
  const sums = await database.value<number[]>(
    `select array_agg(total order by row_no)
     from (select row_no, sum(contribution) as total from ml.explain_each('house.price', ${rows}) group by row_no) as summed`,
  );
  const answers = await database.value<number[]>(`select ml.predict_each('house.price', ${rows})`);
  expect(sums).toEqual(answers.map((answer) => expect.closeTo(answer, 9)));
});

test.each([
  ["an unknown project", `'house.prize', ${rows}`, "CF002"],
  ["an unknown version", `'house.price', ${rows}, 7`, "CF002"],
  ["a list of numbers", "'house.price', array[1, 2]", "CF001"],
  ["rows without a feature", "'house.price', array(select narrow from lab.narrow)", "CF002"],
  ["a model that has no explanation", `'house.score', ${rows}`, "CF001"],
])("%s is refused", async (_, parameters, code) => {
  await database.query("create or replace view lab.narrow as select size, rooms, area from lab.house where id <= 3");
  await imported("house.score", "scores", { keys: ["area"], scores: [{ area: "north", score: 1 }] });
  expect(await database.rejects(`select * from ml.explain_each(${parameters})`)).toMatchObject({ code });
});
