import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { flowers, kinds } from "./flowers.ts";
import { registry } from "./registry.ts";
import { classModels, features, published } from "./xgboost.ts";

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

describe("models of several classes", () => {
  interface Moved {
    feature: string;
    feature_value: string | null;
    contribution: number;
  }
  const explained = (project: string, given: unknown, name: string | null): Promise<Moved[]> =>
    database.rows<Moved>("select * from ml.explain($1, $2, class => $3)", [project, given, name]);
  const flower = { size: 2.5, height: 1.25, rooms: null, area: "north" };

  beforeAll(() => flowers(database));

  test("of XGBoost are explained with the same Shapley values, class by class", async () => {
    const model = classModels.find(({ contributions }) => contributions !== undefined);
    await imported("kind.boosted", "xgboost", model?.document, "classification");
    for (const [i, row] of model?.document.expected.entries() ?? [])
      for (const [k, name] of ["low", "mid", "high"].entries()) {
        const ours = await explained("kind.boosted", row.features, name);
        expect(ours).toHaveLength(4);
        for (const [position, feature] of ["a", "b", "c", "(base)"].entries())
          expect(ours.find((moved) => moved.feature === feature)?.contribution).toBeCloseTo(
            model?.contributions?.[i]?.[k]?.[position] ?? Number.NaN,
            5,
          );
      }
    expect.assertions(5 * 3 * 5);
  });

  test.each([
    ["forest", '{"num_trees": 6}'],
    ["tree", '{"max_depth": 4}'],
    ["gbm", '{"num_trees": 10, "max_depth": 2}'],
    ["mlogregr", "{}"],
  ])("%s: what moves the score of a class moves those of the others the other way", async (algorithm, parameters) => {
    const project = `kind.${algorithm}`;
    await database.query(
      `select ml.train('${project}', 'classification', 'lab.flower', 'id', 'kind', algorithm => '${algorithm}', parameters => '${parameters}')`,
    );
    const answers = await database.rows<{ class: string; probability: number }>(
      "select * from ml.predict_classes($1, $2)",
      [project, flower],
    );
    const sums = new Map<string, number>();
    const scores: number[] = [];
    for (const name of kinds) {
      const moved = await explained(project, flower, name);
      expect(moved.find(({ feature }) => feature === "(base)")?.feature_value).toBe(name);
      for (const { feature, contribution } of moved) sums.set(feature, (sums.get(feature) ?? 0) + contribution);
      scores.push(moved.reduce((sum, { contribution }) => sum + contribution, 0));
    }
    const probability = (name: string): number =>
      answers.find((answer) => answer.class === name)?.probability ?? Number.NaN;
    if (algorithm === "forest" || algorithm === "tree") {
      for (const [k, name] of kinds.entries()) expect(scores[k]).toBeCloseTo(probability(name), 9);
      for (const [feature, sum] of sums) expect(sum).toBeCloseTo(feature === "(base)" ? 1 : 0, 9);
    } else {
      const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
      for (const [k, name] of kinds.entries())
        expect(Math.exp(scores[k] ?? Number.NaN) / total).toBeCloseTo(probability(name), 9);
      if (algorithm === "mlogregr") for (const sum of sums.values()) expect(sum).toBeCloseTo(0, 9);
    }
    // Without a class, the most probable one.
    expect(await explained(project, flower, null)).toEqual(await explained(project, flower, answers[0]?.class ?? ""));

    // Each row of an array by its own class, in the order of the rows.
    const rows = await database.rows<Moved & { row_no: number }>(
      `select * from ml.explain_each('${project}', array(select flower from lab.flower where id <= 40 order by id))`,
    );
    const named = rows.filter(({ feature }) => feature === "(base)").map(({ feature_value }) => feature_value);
    expect(named).toEqual(
      await database.value(
        `select array_agg((select class from ml.predict_classes('${project}', to_jsonb(flower)) limit 1) order by id) from lab.flower where id <= 40`,
      ),
    );
    expect(new Set(named).size).toBe(3);
    const alone = await database.rows<Moved>(
      `select explained.* from lab.flower, ml.explain('${project}', to_jsonb(flower)) as explained where id = 7`,
    );
    const byName = (list: Moved[]): unknown[] =>
      list
        .map(({ feature, feature_value, contribution }) => [feature, feature_value, contribution.toFixed(9)])
        .sort((a, b) => String(a[0]).localeCompare(String(b[0])));
    expect(byName(rows.filter(({ row_no }) => row_no === 7))).toEqual(byName(alone));
    expect(
      await database.value(
        `select array_agg(distinct feature_value) from ml.explain_each('${project}',
           array(select flower from lab.flower where id <= 5), class => 'mid') where feature = '(base)'`,
      ),
    ).toEqual(["mid"]);
    expect(
      await database.rows(
        `select * from ml.explain_each('${project}', array(select flower from lab.flower where false))`,
      ),
    ).toEqual([]);
  });

  test("a class that the model does not have, and one for a model with one answer", async () => {
    await imported("kind.plain", "linear", { coefficients: { a: 1 } });
    expect(await database.rejects("select ml.explain('kind.boosted', '{}', class => 'tall')")).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("the feature"),
    });
    expect(
      await database.rejects(`select ml.explain('kind.boosted', '{"a": 1, "b": 1, "c": 1}', class => 'tall')`),
    ).toMatchObject({ code: "CF001", message: 'version 1 has no class "tall"', hint: "There are low, mid, high." });
    expect(await database.rejects(`select ml.explain('kind.plain', '{"a": 1}', class => 'low')`)).toMatchObject({
      code: "CF001",
      message: "version 1 answers with one number",
    });
  });
});
