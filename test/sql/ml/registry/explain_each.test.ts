import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houseModels, makeHouseModels } from "./house-models.ts";

const database = await lab();
beforeAll(() => makeHouseModels(database));

describe.each(houseModels)("%s", (project) => {
  test("moves each row as ml.explain moves it", async () => {
    const rows = await database.rows<{ row_no: number; feature: string; feature_value: string; contribution: number }>(
      `select * from ml.explain_each($1, array(select house from lab.house where id between 100 and 110 order by id))`,
      [project],
    );
    expect(new Set(rows.map(({ row_no }) => row_no)).size).toBe(11);
    for (const [index, id] of [100, 105, 110].entries()) {
      const alone = await database.rows<{ feature: string; contribution: number }>(
        `select explained.* from lab.house, ml.explain($1, to_jsonb(house)) as explained where id = $2`,
        [project, id],
      );
      const key = (row: { feature: string }): string => row.feature;
      const among = rows.filter(({ row_no }) => row_no === 1 + 5 * index);
      expect(among.map(key).sort()).toEqual(alone.map(key).sort());
      for (const { feature, contribution } of alone)
        expect(among.find((row) => row.feature === feature)?.contribution).toBeCloseTo(contribution, 10);
    }
  });
});

test("of no rows there are none", async () => {
  expect(await database.rows("select from ml.explain_each('lab.linear', array[]::lab.house[])")).toEqual([]);
});

test("of a table of scores, which is not a sum of its features, there are none", async () => {
  await database.query(`select ml.import_model('lab.known', 'regression', 'scores',
    '{"keys": ["area", "rooms"], "scores": [{"area": "north", "rooms": "3", "score": 0.7}], "default": 0}')`);
  const rows = "array(select house from lab.house where id < 50)";
  expect(await database.value(`select 0.7 = any (ml.predict_each('lab.known', ${rows}))`)).toBe(true);
  expect(await database.rejects(`select ml.explain_each('lab.known', ${rows})`)).toMatchObject({
    code: "CF001",
    hint: "Linear models and trees can be explained.",
  });
});

test.each([
  ["'lab.linear', array[1, 2]", "CF001"],
  ["'lab.linear', array['a', 'b']::text[]", "CF001"],
  ["'lab.linear', array[row('north', 1)::lab.district]", "CF002"],
  ["'lab.linaer', array[row('north', 1)::lab.district]", "CF002"],
  ["'lab.linear', array[row('north', 1)::lab.district], 99", "CF002"],
  ["'lab.none', array[row('north', 1)::lab.district]", "CF006"],
])("refuses (%s) with %s", async (values, code) => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`create type lab.district as (area text, sise float8);
      select ml.register_model('lab.none', 'regression', 'own', '{"kind": "linear", "link": "identity", "intercept": 7, "features": []}')`);
    const error = await db.rejects(`select ml.explain_each(${values})`);
    expect(error).toMatchObject({ code });
    if (values.includes("linear', array[row('north', 1)::lab.district]") && !values.includes("99"))
      expect(error.hint).toBe('Is it "sise"?');
  });
});
