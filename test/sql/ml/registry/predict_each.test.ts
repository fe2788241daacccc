import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houseModels, makeHouseModels } from "./house-models.ts";

const database = await lab();
beforeAll(() => makeHouseModels(database));

const answers = (project: string, condition = "true", type = "lab.house") =>
  database.value<number[]>(
    `select ml.predict_each($1, array(select house::${type} from lab.house where ${condition} order by id))`,
    [project],
  );

describe.each(houseModels)("%s", (project) => {
  test("answers each row as ml.predict_table answers the table", async () => {
    const output = project.replace("lab.", "lab.out_");
    await database.query(`select ml.predict_table('${project}', 'lab.house', '${output}', 'id')`);
    const table = await database.rows<{ prediction: number }>(`select prediction from ${output} order by id`);
    expect(await answers(project)).toEqual(table.map(({ prediction }) => prediction));
  });
});

test("of no rows there are no answers; of a row that is null there is one", async () => {
  expect(await answers("lab.linear", "false")).toEqual([]);
  const [missing] = await database.value<number[]>("select ml.predict_each('lab.linear', array[null::lab.house])");
  expect(missing).toBe(1 + 2 * 4);
});

test("the version is the deployed one, or the given one", async () => {
  await database.query(
    "select ml.import_model('lab.linear', 'regression', 'linear', '{\"intercept\": 7, \"coefficients\": {}}')",
  );
  expect((await answers("lab.linear", "id = 1")).at(0)).not.toBe(7);
  expect(
    await database.value("select ml.predict_each('lab.linear', array(select house from lab.house where id < 3), 2)"),
  ).toEqual([7, 7]);
});

test("a composite type will do, and a row of the caller's own that has other columns", async () => {
  await database.query("create type lab.place as (area text, size real)");
  expect(
    await database.value(
      "select ml.predict_each('lab.linear', array[row('north', 5)::lab.place, row(null, null)::lab.place])",
    ),
  ).toEqual([1 + 10 + 3, 1 + 8]);
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
    const error = await db.rejects(`select ml.predict_each(${values})`);
    expect(error).toMatchObject({ code });
    if (values.includes("linear', array[row('north', 1)::lab.district]") && !values.includes("99"))
      expect(error.hint).toBe('Is it "sise"?');
  });
});

test("runs as the caller, who needs no right to create a table", async () => {
  await database.query("grant usage on schema lab to insights_analyst; grant select on lab.house to insights_analyst");
  await database.as("insights_analyst", {}, async (db) => {
    await db.query("set transaction read only");
    expect(await db.value("select cardinality(ml.predict_each('lab.trees', array(select house from lab.house)))")).toBe(
      300,
    );
  });
});
