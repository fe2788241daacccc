import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

/** A model of each kind that has features of both types. */
const projects = ["lab.linear", "lab.trees", "lab.calibrated", "lab.dump"];

beforeAll(async () => {
  await database.query(`
    create schema lab;
    create table lab.house as
    select
      id,
      1 + (hashint8extended(id, 1) & 1023) / 128.0::float8 as size,
      case when id % 7 <> 0 then (hashint8extended(id, 2) & 7)::int end as rooms,
      (array['north', 'south', null])[1 + (hashint8extended(id, 3) & 1023) % 3] as area,
      hashint8extended(id, 4) & 3 = 0 as sold,
      id::text as ordinality, id as row_no
    from generate_series(1, 300) as id;
    alter table lab.house add gone int;
    alter table lab.house drop gone;
    alter table lab.house add price float8;
    update lab.house set price = 10 + 3 * size - coalesce(rooms, 3) + case area when 'north' then 4 else 0 end;
    select ml.train('lab.trees', 'regression', 'lab.house', 'id', 'price', features => 'size, rooms, area',
      parameters => '{"num_trees": 8, "max_depth": 3}');
    select ml.train('lab.calibrated', 'classification', 'lab.house', 'id', 'sold', features => 'size, rooms, area',
      parameters => '{"num_trees": 8, "max_depth": 3}');
    select ml.import_model('lab.linear', 'regression', 'linear',
      '{"intercept": 1, "coefficients": {"size": 2, "area": {"north": 3, "south": -1}}, "means": {"size": 4}}');
    select ml.deploy('lab.linear', 1);
    select ml.import_model('lab.dump', 'regression', 'xgboost',
      '{"trees": [{"nodeid": 0, "split": "size", "split_condition": 4.1, "yes": 1, "no": 2, "missing": 1, "cover": 9, "children": [
        {"nodeid": 1, "leaf": 1, "cover": 4}, {"nodeid": 2, "leaf": 2, "cover": 5}]}]}');
    select ml.deploy('lab.dump', 1)`);
});

const answers = (project: string, condition = "true", type = "lab.house") =>
  database.value<number[]>(
    `select ml.predict_each($1, array(select house::${type} from lab.house where ${condition} order by id))`,
    [project],
  );

describe.each(projects)("%s", (project) => {
  test("answers each row as ml.predict_table answers the table", async () => {
    const output = project.replace("lab.", "lab.out_");
    await database.query(`select ml.predict_table('${project}', 'lab.house', '${output}', 'id')`);
    const table = await database.rows<{ prediction: number }>(`select prediction from ${output} order by id`);
    expect(await answers(project)).toEqual(table.map(({ prediction }) => prediction));
  });

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

test("of no rows there are no answers; of a row that is null there is one", async () => {
  expect(await answers("lab.linear", "false")).toEqual([]);
  expect(await database.rows("select from ml.explain_each('lab.linear', array[]::lab.house[])")).toEqual([]);
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
    for (const call of ["predict_each", "explain_each"]) {
      const error = await db.rejects(`select ml.${call}(${values})`);
      expect(error).toMatchObject({ code });
      if (values.includes("linear', array[row('north', 1)::lab.district]") && !values.includes("99"))
        expect(error.hint).toBe('Is it "sise"?');
    }
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
