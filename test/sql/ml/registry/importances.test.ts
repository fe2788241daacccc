import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houses, inputs, registry, small } from "./registry.ts";
import { published } from "./xgboost.ts";

const database = await lab();
const { constant, imported, train } = registry(database);

interface Importance {
  feature: string;
  importance: number;
  share: number;
}

const importances = (project: string, version: number | null = null) =>
  database.rows<Importance>("select * from ml.importances($1, $2)", [project, version]);

beforeAll(() => houses(database));

interface Node {
  split?: string;
  gain?: number;
  children?: Node[];
}

test.each(published.map((model, i) => [model.name, model, `gain.m${i}`] as const))(
  "the total gain of XGBoost's %s",
  async (_, model, project) => {
    await imported(
      project,
      "xgboost",
      model.document,
      model.document.objective.startsWith("binary") ? "classification" : "regression",
    );
    const totals = new Map<string, number>();
    const add = ({ split, gain, children = [] }: Node): void => {
      if (split !== undefined && gain !== undefined) totals.set(split, (totals.get(split) ?? 0) + gain);
      children.forEach(add);
    };
    (model.document.trees as Node[]).forEach(add);
    const sum = [...totals.values()].reduce((one, other) => one + other, 0);
    const found = await importances(project);
    expect(found.map(({ feature }) => feature).toSorted()).toEqual([...totals.keys()].toSorted());
    for (const { feature, importance, share } of found) {
      expect(importance).toBeCloseTo(totals.get(feature) ?? Number.NaN, 6);
      expect(share).toBeCloseTo((totals.get(feature) ?? Number.NaN) / sum, 10);
    }
    expect(found.map((row) => row.importance)).toEqual(found.map((row) => row.importance).toSorted((a, b) => b - a));
  },
);

test("the gains of a boosted model add up to those of its nodes, and their shares to 1", async () => {
  await train("house.boosted", "regression", "price", `, ${inputs}, ${small}, holdout => 'id % 4 = 0'`);
  const found = await importances("house.boosted");
  expect(found.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 10);
  expect(
    await database.value<number>(
      `select sum(gain) from ml.tree_node join ml.model using (model_id) join ml.project using (project_id)
       where project.name = 'house.boosted'`,
    ),
  ).toBeCloseTo(
    found.reduce((sum, { importance }) => sum + importance, 0),
    6,
  );
  expect(found[0]?.feature).toBe("size");
});

test("a linear model has the deviations of what its features add to the score of the rows of the training", async () => {
  await train(
    "house.linear",
    "regression",
    "price",
    `, features => 'size, area', algorithm => 'elastic_net', holdout => 'id % 4 = 0'`,
  );
  const document = await database.value<{ features: Record<string, unknown>[] }>(
    "select coefficients from ml.model join ml.project using (project_id) where project.name = 'house.linear'",
  );
  const [size, area] = document.features as [{ coefficient: number }, { categories: string[]; coefficients: number[] }];
  const [expected] = await database.rows<{ size: number; area: number }>(
    `select stddev_pop($1 * size) as size,
       stddev_pop(coalesce(($3::float8[])[array_position($2::text[], area)], 0)) as area
     from lab.house where id % 4 <> 0`,
    [size.coefficient, area.categories, area.coefficients],
  );
  const found = await importances("house.linear");
  expect(found.map(({ feature }) => feature).toSorted()).toEqual(["area", "size"]);
  for (const { feature, importance } of found)
    expect(importance).toBeCloseTo(expected?.[feature as "size" | "area"] ?? Number.NaN, 8);
  expect(Math.min(...found.map(({ importance }) => importance))).toBeGreaterThan(0);
});

test("a linear model of several classes has them too", async () => {
  await database.query(
    "create table lab.kind as select id, id % 3 as kind, (id % 3) * 2 + id % 5 as near, id % 7 as far from lab.house",
  );
  await database.rows(
    "select * from ml.train('house.kind', 'classification', 'lab.kind', 'id', 'kind', algorithm => 'mlogregr')",
  );
  const [first, second] = await importances("house.kind");
  expect([first?.feature, second?.feature]).toEqual(["near", "far"]);
  expect((first?.share ?? 0) + (second?.share ?? 0)).toBeCloseTo(1, 10);
});

test("models without importances have none, and unknown ones are refused", async () => {
  await constant("house.flat", 2);
  expect(await importances("house.flat", 1)).toEqual([]);
  await database.query(
    `select ml.register_model('house.odd', 'regression', 'external',
       '{"kind": "linear", "link": "identity", "intercept": 1, "features": [
         {"name": "x", "type": "number", "coefficient": 2, "mean": 0, "deviation": "much"}]}')`,
  );
  expect(await importances("house.odd", 1)).toEqual([]);
  await expect(importances("house.none")).rejects.toMatchObject({ code: "CF002" });
  await expect(importances("house.flat", 7)).rejects.toMatchObject({ code: "CF002" });
  await expect(importances("house.kind", 0)).rejects.toMatchObject({ code: "CF002" });
});

test("analysts read them", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rows("select * from ml.importances('house.linear')")).toHaveLength(2);
    expect((await db.rows("select * from ml.importances('house.boosted')")).length).toBeGreaterThan(0);
  });
});
