import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";
import { features, published } from "./xgboost.ts";

const database = await lab();
const { constant, imported } = registry(database);

describe("XGBoost's dump", () => {
  test.each(published.map((model, i) => [model.name, model, `boost.m${i}`] as const))(
    "of %s is explained with the same Shapley values",
    async (_, model, project) => {
      const task = model.document.objective === "binary:logistic" ? "classification" : "regression";
      await imported(project, "xgboost", model.document, task);
      for (const [i, contributions] of model.contributions.entries()) {
        const explained = await database.rows<{ feature: string; contribution: number }>(
          "select feature, contribution from ml.explain($1, $2)",
          [project, features(model, model.rows[i] ?? [])],
        );
        const ours = new Map(explained.map((row) => [row.feature, row.contribution]));
        for (const [position, name] of [...model.names, "(base)"].entries()) {
          expect(ours.get(name) ?? 0).toBeCloseTo(contributions[position] ?? Number.NaN, 4);
        }
      }
    },
  );
});

describe("coefficients", () => {
  test("linear ones are a sum, with means for what is missing and categories by name", async () => {
    await imported("line.price", "linear", {
      intercept: 10,
      coefficients: { size: 2, country: { at: 1, 'd"e': -1 }, "it's; odd": 0.5 },
      means: { size: 4 },
    });
    expect(
      await database.rows("select feature, contribution from ml.explain('line.price', $1) order by feature", [
        { size: 3, country: "at", "it's; odd": 2 },
      ]),
    ).toEqual([
      { feature: "(base)", contribution: 18 },
      { feature: "country", contribution: 1 },
      { feature: "it's; odd", contribution: 1 },
      { feature: "size", contribution: -2 },
    ]);
  });

  test("a single answer has nothing to explain but itself", async () => {
    await constant("line.flat", 2.5);
    expect(await database.rows("select feature, contribution from ml.explain('line.flat', '{}', 1)")).toEqual([
      { feature: "(base)", contribution: 2.5 },
    ]);
  });
});

describe("embeddings and scores", () => {
  test("scores are looked up by all their keys", async () => {
    await imported("table.score", "scores", {
      keys: ["course", "week"],
      default: 0.5,
      scores: [
        { course: "sql", week: 1, score: 0.25 },
        { course: "sql", week: 2, score: -3 },
      ],
    });
    expect(
      await database.rejects("select ml.explain('table.score', $1)", [{ course: "sql", week: "2" }]),
    ).toMatchObject({ code: "CF001" });
  });

  test("an unknown project, an unknown version, a missing feature", async () => {
    expect(await database.rejects("select ml.explain('line.prize', '{}')")).toMatchObject({ code: "CF002" });
    expect(await database.rejects("select ml.explain('line.price', '{}', 9)")).toMatchObject({ code: "CF002" });
    expect(await database.rejects("select ml.explain('line.price', '{\"size\": 3}')")).toMatchObject({ code: "CF001" });
    await constant("line.shelf", 1);
    expect(await database.rejects("select ml.explain('line.shelf', '{}')")).toMatchObject({ code: "CF006" });
  });
});

test("a model without features is its base, for one object and for rows", async () => {
  await imported("leaf.only", "xgboost", { base_score: 100, trees: [{ nodeid: 0, leaf: 0.25, cover: 400 }] });
  expect(await database.rows("select * from ml.explain('leaf.only', '{}')")).toEqual([
    { feature: "(base)", feature_value: null, contribution: 100.25 },
  ]);
  await database.query("create table lab.two as select id from generate_series(1, 2) as id");
  expect(
    await database.rows(
      "select row_no, feature, contribution from ml.explain_each('leaf.only', array(select two from lab.two))",
    ),
  ).toEqual([1, 2].map((row_no) => ({ row_no, feature: "(base)", contribution: 100.25 })));
  expect(await database.value("select ml.predict_each('leaf.only', array(select two from lab.two))")).toEqual([
    100.25, 100.25,
  ]);
  await database.query("select ml.predict_table('leaf.only', 'lab.two', 'lab.leaf', 'id')");
  expect(await database.value("select array_agg(prediction) from lab.leaf")).toEqual([100.25, 100.25]);
  await imported("line.base", "linear", { intercept: 3, coefficients: {} });
  expect(await database.rows("select feature, contribution from ml.explain('line.base', '{}')")).toEqual([
    { feature: "(base)", contribution: 3 },
  ]);
});

test("what no number can hold is refused or has no answer", async () => {
  await imported("line.huge", "linear", { intercept: 1, coefficients: { a: 1e250 } });
  expect(await database.rejects("select ml.explain('line.huge', '{\"a\": 1e250}')")).toMatchObject({ code: "CF007" });
});
