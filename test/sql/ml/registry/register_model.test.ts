import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { constant } = registry(database);

test("adds a version, keeps what it was made with, and deploys nothing", async () => {
  expect(await constant("house.price", 1)).toBe(1);
  expect(
    await database.value(
      `select ml.register_model('house.price', 'regression', 'external', $1, '{"mean_abs_error": 2}', '{"seed": 4}', null, 7,
         '2026-01-02 03:04Z', 500, interval '2 seconds')`,
      [{ kind: "linear", link: "identity", intercept: 2, features: [] }],
    ),
  ).toBe(2);
  expect(
    await database.rows(
      `select version, algorithm, metrics, parameters, seed, data_watermark, row_count, duration::text
       from ml.model where model_id = (select model_id from ml._version('house.price', 2))`,
    ),
  ).toEqual([
    {
      version: 2,
      algorithm: "external",
      metrics: { mean_abs_error: 2 },
      parameters: { seed: 4 },
      seed: "7",
      data_watermark: new Date("2026-01-02T03:04:00Z"),
      row_count: "500",
      duration: "00:00:02",
    },
  ]);
  expect(await database.value("select count(*) from ml.deployment")).toBe("0");
});

test("each kind of document gives the documented prediction", async () => {
  const split = { tree: 1, node: 0, feature: "a", threshold: 1, missing_left: true, left_node: 1, right_node: 2 };
  for (const [project, document, given, answer] of [
    [
      "kind.linear",
      {
        kind: "linear",
        link: "identity",
        intercept: 1,
        features: [{ name: "a", type: "number", coefficient: 2, mean: 5 }],
      },
      { a: 3 },
      7,
    ],
    [
      "kind.trees",
      {
        kind: "trees",
        link: "identity",
        intercept: 1,
        features: [{ name: "a", type: "number" }],
        nodes: [split, { tree: 1, node: 1, parent: 0, value: 10 }, { tree: 1, node: 2, parent: 0, value: 20 }],
      },
      { a: 3 },
      21,
    ],
    [
      "kind.scores",
      {
        kind: "scores",
        link: "identity",
        features: [{ name: "a", type: "category" }],
        scores: [{ keys: ["x"], score: 4 }],
      },
      { a: "x" },
      4,
    ],
  ] as const) {
    await database.query("select ml.register_model($1, 'regression', 'external', $2)", [project, document]);
    expect(await database.value("select ml.predict($1, $2, 1)", [project, given]), project).toBe(answer);
  }
});

describe("errors", () => {
  test.each([
    ["a document of no kind", "select ml.register_model('p', 'regression', 'x', '{}')", "CF009", /linear, trees/],
    [
      "trees without a root",
      `select ml.register_model('p', 'regression', 'x', '{"kind": "trees", "link": "identity", "intercept": 0, "features": [], "nodes": [{"tree": 1, "node": 1, "parent": 0, "value": 3}]}')`,
      "CF009",
      /root/,
    ],
    [
      "trees that go in circles",
      `select ml.register_model('p', 'regression', 'x', '{"kind": "trees", "link": "identity", "intercept": 0, "features": [{"name": "a", "type": "number"}], "nodes": [{"tree": 1, "node": 0, "feature": "a", "threshold": 1, "missing_left": true, "left_node": 0, "right_node": 1}, {"tree": 1, "node": 1, "parent": 0, "value": 3}]}')`,
      "CF009",
      /root/,
    ],
  ])("%s", async (_, sql, code, hint) => {
    const error = await database.rejects(sql);
    expect(error).toMatchObject({ code });
    expect(error.hint ?? "").toMatch(hint);
    expect(await database.value("select count(*) from ml.project where name = 'p'")).toBe("0");
  });

  test("another task, another metric, an invalid name or task", async () => {
    const document = `'{"kind": "linear", "link": "identity", "intercept": 1, "features": []}'`;
    await constant("house.kept", 1);
    for (const [call, code] of [
      [`'house.kept', 'classification', 'x', ${document}`, "CF010"],
      [`'house.kept', 'regression', 'x', ${document}, metric => 'r2_score'`, "CF010"],
      [`'House kept', 'regression', 'x', ${document}`, "CF001"],
      [`'house.new', 'ranking', 'x', ${document}`, "CF001"],
      [`'house.new', 'regression', 'x', ${document}, metric => 'auc'`, "CF001"],
      ["'house.new', 'regression', 'x', null", "CF009"],
    ] as const) {
      expect(await database.rejects(`select ml.register_model(${call})`), call).toMatchObject({ code });
    }
    expect(await database.value("select count(*) from ml.project where name = 'house.new'")).toBe("0");
  });
});

describe("numbers of a document", () => {
  const register = (document: object, task = "classification"): Promise<unknown> =>
    database.query("select ml.register_model('p', $1, 'x', $2)", [task, JSON.stringify(document)]);
  const stump = { kind: "trees", link: "identity", intercept: 0, features: [] };
  const classes = { ...stump, classes: ["u", "v"], intercepts: [0, 0] };
  const line = { kind: "linear", link: "logit", intercept: 0, features: [] };

  test.each([
    ["a leaf too large to be added", { ...stump, nodes: [{ tree: 1, node: 0, value: 1e308 }] }],
    ["a leaf of NaN", { ...stump, nodes: [{ tree: 1, node: 0, value: "NaN" }] }],
    ["a leaf of infinity", { ...stump, nodes: [{ tree: 1, node: 0, value: "-Infinity" }] }],
    ["values of classes in a tree of one score", { ...stump, nodes: [{ tree: 1, node: 0, class_values: [1, 2] }] }],
    ["a value too few", { ...classes, nodes: [{ tree: 1, node: 0, class_values: [1] }] }],
    ["a value that is null", { ...classes, nodes: [{ tree: 1, node: 0, class_values: [1, null] }] }],
    ["a value that is NaN", { ...classes, nodes: [{ tree: 1, node: 0, class_values: [1, "NaN"] }] }],
    ["values in two dimensions", { ...classes, nodes: [{ tree: 1, node: 0, class_values: [[1, 2]] }] }],
    ["values that are text", { ...classes, nodes: [{ tree: 1, node: 0, class_values: "x" }] }],
    ["one value without tree_classes", { ...classes, nodes: [{ tree: 1, node: 0, value: 1 }] }],
    [
      "values of classes with tree_classes",
      { ...classes, tree_classes: [1], nodes: [{ tree: 1, node: 0, class_values: [1, 2] }] },
    ],
    ["a calibration that does not ascend", [3, 1, 2], [0.1, 0.2, 0.3]],
    ["answers of a calibration that do not ascend", [1, 2], [0.5, 0.4]],
    ["an answer beyond 1", [1, 2], [0.5, 1.1]],
    ["scores that are text", ["a", 2], [0.5, 1]],
  ])("%s: refused", async (_, given, answers?: number[]) => {
    const document = Array.isArray(given)
      ? { ...line, calibration: { method: "isotonic", scores: given, answers } }
      : given;
    await expect(register(document)).rejects.toMatchObject({ code: "CF009" });
  });

  test.each([
    ["a number", 5],
    ["too few parts", { method: "platt", classes: [{ slope: 1, intercept: 0 }] }],
    ["another method", { method: "beta", classes: [{}, {}] }],
    ["a part without a number", { method: "platt", classes: [{ slope: 1, intercept: 0 }, { slope: 1 }] }],
    ["the calibration of one answer", { method: "platt", slope: 1, intercept: 0 }],
  ])("the calibration of several classes is %s: refused", async (_, calibration) => {
    await expect(
      register({ ...classes, nodes: [{ tree: 1, node: 0, class_values: [0.5, 0.5] }], calibration }),
    ).rejects.toMatchObject({ code: "CF009", message: expect.stringContaining("a sound calibration of each class") });
  });

  test("a forest of leaves answers and is explained; classes that are all unlikely are equally likely", async () => {
    const nodes = [1, 3].map((tree) => ({ tree, node: 0, class_values: [0.25, 0.25 * tree] }));
    await register({ ...classes, nodes });
    expect(await database.rows("select * from ml.predict_classes('p', '{}', 1)")).toEqual([
      { class: "v", probability: 1 },
      { class: "u", probability: 0.5 },
    ]);
    expect(await database.rows("select * from ml.explain('p', '{}', 1, 'u')")).toEqual([
      { feature: "(base)", feature_value: "u", contribution: 0.5 },
    ]);
    const never = { scores: [0], answers: [0] };
    await register({ ...classes, nodes, calibration: { method: "isotonic", classes: [never, never] } });
    expect(await database.rows("select probability from ml.predict_classes('p', '{}', 2)")).toEqual([
      { probability: 0.5 },
      { probability: 0.5 },
    ]);
  });
});
