import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";
import { features, published, type Saved, savedFeatures, savedLines, savedModels } from "./xgboost.ts";

const database = await lab();
const { ask, imported } = registry(database);

describe("XGBoost's dump", () => {
  test.each(published.map((model, i) => [model.name, model, `boost.m${i}`] as const))(
    "of %s answers as XGBoost does, one by one and for a table",
    async (_, model, project) => {
      const task = model.document.objective === "binary:logistic" ? "classification" : "regression";
      expect(await imported(project, "xgboost", model.document, task)).toBe(1);
      for (const [i, row] of model.rows.entries()) {
        const expected = model.predictions[i] ?? Number.NaN;
        // XGBoost sums in four bytes.
        const answer = (await ask(project, features(model, row))) ?? Number.NaN;
        expect(Math.abs(answer - expected)).toBeLessThan(2e-6 * Math.max(1, Math.abs(expected)));
      }
      await database.query("drop table if exists lab.input, lab.output");
      await database.query(
        `create table lab.input as select position as id, input.*
         from jsonb_array_elements($1) with ordinality as listed (given, position)
         cross join jsonb_to_record(given) as input (${model.names.map((name) => `${name} ${name === "country" ? "text" : "float8"}`).join(", ")})`.replace(
          "$1",
          `'${JSON.stringify(model.rows.map((row) => features(model, row)))}'::jsonb`,
        ),
      );
      await database.query(`select ml.predict_table('${project}', 'lab.input', 'lab.output', 'id')`);
      const answers = await database.rows<{ prediction: number }>("select prediction from lab.output order by id");
      for (const [i, { prediction }] of answers.entries()) {
        expect(prediction).toBeCloseTo((await ask(project, features(model, model.rows[i] ?? []))) ?? Number.NaN, 12);
      }
    },
  );

  test("has trees as text, and stumps", async () => {
    const trees = [
      '{"nodeid": 0, "depth": 0, "split": "seen", "split_condition": 1, "yes": 1, "no": 2, "missing": 1, "children": [{"nodeid": 1, "leaf": -1}, {"nodeid": 2, "leaf": 2}]}',
      '{"nodeid": 0, "leaf": 0.25}',
    ];
    await imported("boost.text", "xgboost", { trees, base_score: "[5E-1]" });
    expect(await ask("boost.text", { seen: 1 })).toBe(0.5 + 2 + 0.25);
    expect(await ask("boost.text", { seen: true })).toBe(0.5 + 2 + 0.25);
    expect(await ask("boost.text", { seen: 0 })).toBe(0.5 - 1 + 0.25);
    expect(await ask("boost.text", { seen: null })).toBe(0.5 - 1 + 0.25);
  });

  test.each([
    ["a bare list", [{ nodeid: 0, leaf: 1.5 }]],
    ["no base score", { trees: [{ nodeid: 0, leaf: 1.5 }] }],
    ["null as base score", { trees: [{ nodeid: 0, leaf: 1.5 }], objective: "binary:logistic", base_score: null }],
    ["an empty base score", { trees: [{ nodeid: 0, leaf: 1.5 }], base_score: [] }],
  ])("with %s is refused with where to find it: 0.5 is not assumed", async (_, document) => {
    expect(
      await database.rejects("select ml.import_model('boost.base', 'regression', 'xgboost', $1)", [
        JSON.stringify(document),
      ]),
    ).toMatchObject({
      code: "CF009",
      message: "the base score is not given, and a dump does not contain it",
      hint: expect.stringContaining('["learner_model_param"]["base_score"]'),
    });
  });

  test.each([["2.5"], [2.5], ["[2.5E0]"], [[2.5]], [["2.5"]], [" [ 2.5 ] "]])(
    "a base score may be written as %j",
    async (base_score) => {
      await imported("boost.written", "xgboost", { trees: [{ nodeid: 0, leaf: 1.5 }], base_score });
      const version = await database.value(
        "select max(version) from ml.model join ml.project using (project_id) where name = 'boost.written'",
      );
      expect(await database.value("select ml.predict('boost.written', '{}', $1)", [version])).toBe(4);
    },
  );

  test("a weighted booster has the weight of each tree, or is refused", async () => {
    const trees = [
      { nodeid: 0, leaf: 1.5 },
      { nodeid: 0, leaf: 1 },
    ];
    await imported("boost.dart", "xgboost", { trees, booster: "dart", weight_drop: [0.5, 0.25], base_score: 0 });
    expect(await ask("boost.dart", {})).toBe(1);
    await imported("boost.dropped", "xgboost", { trees, weight_drop: [0.5, 0.25], base_score: 0 });
    expect(await ask("boost.dropped", {})).toBe(1);
    for (const document of [
      { trees, booster: "dart", base_score: 0 },
      { trees, booster: "dart", weight_drop: [0.5], base_score: 0 },
      { trees, booster: "dart", weight_drop: [0.5, "x"], base_score: 0 },
      { trees, booster: "gblinear", base_score: 0 },
      { trees, base_score: [2.5, 1] },
      { trees, base_score: "[2.5, 1]" },
      { trees, base_score: "NaN" },
      { trees, base_score: "1e400" },
      { trees, objective: "count:poisson", base_score: 0 },
    ]) {
      expect(
        await database.rejects("select ml.import_model('boost.refused', 'regression', 'xgboost', $1)", [
          JSON.stringify(document),
        ]),
      ).toMatchObject({ code: "CF009" });
    }
  });

  test("compares in four bytes: a value that rounds to the threshold is not below it", async () => {
    const split = { nodeid: 0, split: "a", split_condition: 0.1, yes: 1, no: 2, missing: 2 };
    await imported("boost.rounded", "xgboost", {
      base_score: 0,
      trees: [
        {
          ...split,
          children: [
            { nodeid: 1, leaf: 1 },
            { nodeid: 2, leaf: 2 },
          ],
        },
      ],
    });
    expect(await ask("boost.rounded", { a: 0.1 })).toBe(2);
    expect(await ask("boost.rounded", { a: 0.1 - 1e-12 })).toBe(2);
    expect(await ask("boost.rounded", { a: 0.0999 })).toBe(1);
    expect(await ask("boost.rounded", { a: null })).toBe(2);
    expect(await ask("boost.rounded", { a: 1e300 })).toBe(2);
    expect(await ask("boost.rounded", { a: 1e-300 })).toBe(1);
  });

  test("logistic trees that did not follow each other are refused unless the booster is named", async () => {
    const dart = savedModels.find((model) => model.name === "dart");
    const document = { trees: dart?.dump, objective: dart?.objective, base_score: dart?.base_score };
    expect(
      await database.rejects("select ml.import_model('boost.unnamed', 'classification', 'xgboost', $1)", [
        JSON.stringify(document),
      ]),
    ).toMatchObject({ code: "CF009", hint: expect.stringContaining("weight_drop") });
    expect(await imported("boost.unnamed", "xgboost", { ...document, booster: "gbtree" }, "classification")).toBe(1);
  });

  const leaf = (nodeid: number, value: unknown = 1): object => ({ nodeid, leaf: value });
  const node = { nodeid: 0, split: "a", split_condition: 1, yes: 1, no: 2, missing: 1 };
  test.each([
    ["no tree", { trees: [], base_score: 0 }],
    ["no list", { tree: [] }],
    ["text that is not JSON", ["{"]],
    ["another objective", { objective: "multi:softprob", trees: [leaf(0)] }],
    ["a base score that is not a probability", { objective: "binary:logistic", base_score: 1, trees: [leaf(0)] }],
    ["a node without anything", [{ nodeid: 0 }]],
    ["a leaf that is not a number", [leaf(0, "x")]],
    ["a child that is missing", [{ ...node, children: [leaf(1)] }]],
    ["children of another name", [{ ...node, children: [leaf(1), leaf(3)] }]],
    ["a yes-or-no column", [{ nodeid: 0, split: "seen", yes: 2, no: 1, children: [leaf(1, -1), leaf(2, 2)] }]],
    ["a node that occurs twice", [{ ...node, children: [leaf(1), leaf(1)] }]],
    ["missing values that go nowhere", [{ ...node, missing: 7, children: [leaf(1), leaf(2)] }]],
    ["a category without its values", [{ ...node, split_condition: [1], children: [leaf(1), leaf(2)] }]],
    ["a threshold that is text", [{ ...node, split_condition: "1; drop table x", children: [leaf(1), leaf(2)] }]],
  ])("%s is refused, and leaves nothing", async (_, document) => {
    const whole = Array.isArray(document) ? { trees: document, base_score: 0.5 } : { base_score: 0.5, ...document };
    expect(
      await database.rejects("select ml.import_model('boost.bad', 'regression', 'xgboost', $1)", [
        JSON.stringify(whole),
      ]),
    ).toMatchObject({ code: "CF009", message: expect.not.stringContaining("base score is not given") });
    expect(await database.value("select count(*) from ml.project where name = 'boost.bad'")).toBe("0");
  });

  test("any JSON at all is taken or refused as malformed, never more", async () => {
    const some = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        fc.record({ nodeid: fc.constantFrom(0, 1, 2, "0", -1, 1e10), leaf: fc.constantFrom(1, -2.5, "x", null, 1e40) }),
        fc.record(
          {
            nodeid: fc.constantFrom(0, 1, 2),
            split: fc.constantFrom("a", "b", "", 3),
            split_condition: fc.constantFrom(0, 1.5, "1", [1], null),
            yes: fc.constantFrom(1, 2),
            no: fc.constantFrom(1, 2),
            missing: fc.constantFrom(1, 2, null),
            children: fc.array(tie("node"), { maxLength: 3 }),
          },
          { requiredKeys: ["nodeid"] },
        ),
        fc.jsonValue({ maxDepth: 2 }),
      ),
    })).node;
    await fc.assert(
      fc.asyncProperty(fc.array(some, { maxLength: 3 }), async (trees) => {
        const outcome = await database
          .value<number>("select ml.import_model('boost.fuzz', 'regression', 'xgboost', $1)", [
            JSON.stringify({ trees, base_score: 0 }).replaceAll("\\u0000", ""),
          ])
          .catch((error: { code?: string; message: string }) =>
            error.code === "CF009" ? "refused" : `${error.code} ${error.message}`,
          );
        expect(typeof outcome === "number" ? "taken" : outcome).toMatch(/^(taken|refused)$/);
      }),
      { numRuns: 120 },
    );
  });
});

describe("XGBoost's saved models", () => {
  const taken = savedModels.filter((model) => model.name !== "three classes");
  const task = (model: Saved): string => (model.objective.startsWith("binary:") ? "classification" : "regression");

  /** Compares predictions and contributions with those of the library. */
  const agrees = async (model: Saved, project: string, tolerance: number): Promise<void> => {
    for (const [i, row] of model.rows.entries()) {
      const given = savedFeatures(model, row);
      const expected = model.predictions[i] as number;
      expect(Math.abs(((await ask(project, given)) ?? Number.NaN) - expected)).toBeLessThan(
        tolerance * Math.max(1, Math.abs(expected)),
      );
      if (model.contributions === undefined) continue;
      const explained = await database.rows<{ feature: string; contribution: number }>(
        "select feature, contribution from ml.explain($1, $2)",
        [project, given],
      );
      const ours = new Map(explained.map((entry) => [entry.feature, entry.contribution]));
      for (const [place, name] of [...model.features, "(base)"].entries()) {
        expect(Math.abs((ours.get(name) ?? 0) - (model.contributions[i]?.[place] ?? Number.NaN))).toBeLessThan(
          1e-5 * Math.max(1, Math.abs(expected)),
        );
      }
    }
  };

  test.each(taken.map((model, i) => [model.name, model, i] as const))(
    "%s: predictions and contributions of the library, parsed or as text",
    async (_, model, i) => {
      await imported(`saved.parsed${i}`, "xgboost", model.saved, task(model));
      await agrees(model, `saved.parsed${i}`, 1e-6);
      const line = savedLines[savedModels.indexOf(model)] ?? "";
      const text = line.slice(
        line.indexOf('"saved": ') + 9,
        line.indexOf(', "base_score": ', line.indexOf('"version": ')),
      );
      await imported(`saved.text${i}`, "xgboost", { model: text }, task(model));
      await agrees(model, `saved.text${i}`, 1e-6);
      await imported(`saved.string${i}`, "xgboost", text, task(model));
      expect(await ask(`saved.string${i}`, savedFeatures(model, model.rows[0] ?? []))).toBe(
        await ask(`saved.parsed${i}`, savedFeatures(model, model.rows[0] ?? [])),
      );
    },
  );

  test.each(
    taken
      .filter((model) => !model.name.startsWith("yes-or-no") && model.name !== "dart")
      .map((model, i) => [model.name, model, i] as const),
  )("%s: the dump with its base score answers the same", async (_, model, i) => {
    const { dump: trees, objective, base_score, categories } = model;
    await imported(`saved.dump${i}`, "xgboost", { trees, objective, base_score, categories }, task(model));
    await agrees(model, `saved.dump${i}`, 1e-6);
  });

  test("categories by list answer for a table as one by one, also those that no split lists", async () => {
    const model = savedModels.find(({ name }) => name === "categories by list") as Saved;
    await imported("saved.table", "xgboost", model.saved);
    await database.query(`
      create table lab.category as
      select row_number() over () as id, a, k
      from (values (0.1), (-1), (null)) as number (a), (values ('0'), ('1'), ('4'), ('5'), ('77'), (null)) as category (k)`);
    await database.query("select ml.predict_table('saved.table', 'lab.category', 'lab.category_answer', 'id')");
    const rows = await database.rows<{ same: boolean; explained: boolean }>(`
      select prediction = ml.predict('saved.table', to_jsonb(category)) as same,
        abs(prediction - (select sum(contribution) from ml.explain('saved.table', to_jsonb(category)))) < 1e-9 as explained
      from lab.category_answer join lab.category using (id)`);
    expect(rows).toEqual(Array.from({ length: 18 }, () => ({ same: true, explained: true })));
  });

  test("categories may be given by name", async () => {
    const model = savedModels.find(({ name }) => name === "categories by list") as Saved;
    const k = ["zero", "one", "two", "three", "four", "five"];
    await imported("saved.named", "xgboost", { model: model.saved, categories: { k } });
    for (const [i, [a, code]] of model.rows.entries()) {
      const category = typeof code === "number" ? k[code] : null;
      expect(await ask("saved.named", { a, k: category })).toBeCloseTo(model.predictions[i] as number, 5);
    }
  });

  test("answers by the trees up to the best iteration, unless another range is given", async () => {
    const model = savedModels.find(({ name }) => name === "number, base score estimated") as Saved;
    const given = savedFeatures(model, model.rows[0] ?? []);
    const best = structuredClone(model.saved) as { learner: { attributes?: object } };
    best.learner.attributes = { best_iteration: "0", best_score: "1.5" };
    const { dump, objective, base_score } = model;
    await imported("saved.first", "xgboost", { trees: dump.slice(0, 1), objective, base_score });
    await imported("saved.best", "xgboost", best);
    expect(await ask("saved.best", given)).toBeCloseTo((await ask("saved.first", given)) ?? Number.NaN, 6);
    await imported("saved.all", "xgboost", { model: best, iteration_range: [0, 0] });
    expect(await ask("saved.all", given)).toBeCloseTo(model.predictions[0] as number, 4);
    await imported("saved.two", "xgboost", { model: model.saved, iteration_range: [0, 2] });
    await imported("saved.two_dump", "xgboost", { trees: dump.slice(0, 2), objective, base_score });
    expect(await ask("saved.two", given)).toBeCloseTo((await ask("saved.two_dump", given)) ?? Number.NaN, 6);
  });

  const broken = (
    change: (model: {
      learner: {
        gradient_booster: { name: string; model: { trees: Record<string, unknown>[] } };
        learner_model_param: Record<string, string>;
        objective: Record<string, string>;
      };
    }) => void,
  ): unknown => {
    const copy = structuredClone(savedModels[0]?.saved) as unknown as Parameters<typeof change>[0];
    change(copy);
    return copy;
  };
  const tree = (key: string, value: unknown): unknown =>
    broken((model) => Object.assign(model.learner.gradient_booster.model.trees[1] ?? {}, { [key]: value }));
  test.each([
    ["two targets", broken((model) => Object.assign(model.learner.learner_model_param, { num_target: "2" }))],
    [
      "a linear booster",
      broken((model) => {
        model.learner.gradient_booster = { name: "gblinear" } as never;
      }),
    ],
    ["an unknown objective", broken((model) => Object.assign(model.learner.objective, { name: "multi:softprob" }))],
    [
      "weights that are not there",
      broken((model) => {
        model.learner.gradient_booster.name = "dart";
      }),
    ],
    [
      "no base score",
      broken((model) => {
        delete model.learner.learner_model_param["base_score"];
      }),
    ],
    ["a loop", tree("left_children", [1, 0, 5, -1, -1, -1, -1])],
    ["a node with two parents", tree("left_children", [1, 5, 5, -1, -1, -1, -1])],
    ["a child that does not exist", tree("left_children", [1, 3, 99, -1, -1, -1, -1])],
    ["too few thresholds", tree("split_conditions", [1])],
    ["a threshold that is text", tree("split_conditions", ["x", 1, 1, 1, 1, 1, 1])],
    ["a number that no double holds", tree("split_conditions", [1, 1, 1, 1, 1, 1, "1e999"])],
    ["children that are not a list", tree("left_children", { a: 1 })],
    ["categories without a list", tree("split_type", [1, 0, 0, 0, 0, 0, 0])],
    ["an empty model", { learner: {} }],
    ["text that is not JSON", { model: "binf" }],
    ["a list of nothing", { model: [] }],
    ["an invalid range", { model: savedModels[0]?.saved, iteration_range: [3, 5] }],
    [
      "categories that are not listed",
      { model: savedModels.find(({ name }) => name === "categories by list")?.saved, categories: { k: ["a"] } },
    ],
  ])("%s is refused", async (_, document) => {
    expect(
      await database.rejects("select ml.import_model('saved.bad', 'regression', 'xgboost', $1)", [
        JSON.stringify(document),
      ]),
    ).toMatchObject({ code: "CF009" });
    expect(await database.value("select count(*) from ml.project where name = 'saved.bad'")).toBe("0");
  });

  test("expected answers are checked: a model that answers anything else is refused", async () => {
    const model = savedModels.find(({ name }) => name === "dart") as Saved;
    const expected = model.rows.map((row, i) => ({
      features: savedFeatures(model, row),
      prediction: model.predictions[i],
    }));
    expect(await imported("saved.checked", "xgboost", { model: model.saved, expected }, "classification")).toBe(1);
    const { dump: trees, objective, base_score } = model;
    const unweighted = JSON.stringify({ trees, objective, base_score, booster: "gbtree", expected });
    expect(
      await database.rejects("select ml.import_model('saved.unweighted', 'classification', 'xgboost', $1)", [
        unweighted,
      ]),
    ).toMatchObject({
      code: "CF009",
      message: expect.stringMatching(/^expected answer \d is 0\.\d+, and the model answers/),
    });
    expect(await database.value("select count(*) from ml.project where name = 'saved.unweighted'")).toBe("0");
    const line = { intercept: 1, coefficients: { a: 2 } };
    await imported("saved.line", "linear", { ...line, expected: [{ features: { a: 2 }, prediction: 5 }] });
    for (const wrong of [[], {}, "5", [{ features: { a: 2 }, prediction: 5.1 }], [{ features: { a: 2 } }], [5]]) {
      expect(
        await database.rejects("select ml.import_model('saved.line', 'regression', 'linear', $1)", [
          JSON.stringify({ ...line, expected: wrong }),
        ]),
      ).toMatchObject({ code: "CF009" });
    }
  });
});

describe("LightGBM's dump_model", () => {
  const leaf = (leaf_index: number, leaf_value: number, leaf_count = 10): object => ({
    leaf_index,
    leaf_value,
    leaf_weight: leaf_count,
    leaf_count,
  });
  const split = (
    split_feature: number,
    threshold: number | string,
    left_child: object,
    right_child: object,
    more = {},
  ): object => ({
    split_index: 0,
    split_feature,
    split_gain: 5,
    threshold,
    decision_type: typeof threshold === "string" ? "==" : "<=",
    default_left: true,
    missing_type: "None",
    internal_value: 0,
    internal_weight: 20,
    internal_count: 20,
    left_child,
    right_child,
    ...more,
  });
  const dump = (trees: object[], more = {}): Record<string, unknown> => ({
    name: "tree",
    version: "v4",
    num_class: 1,
    num_tree_per_iteration: 1,
    label_index: 0,
    objective: "regression",
    average_output: false,
    feature_names: ["a", "b", "k"],
    feature_infos: {
      a: { min_value: 0, max_value: 1, values: [] },
      b: { min_value: 0, max_value: 1, values: [] },
      k: { min_value: 0, max_value: 3, values: [0, 1, 2, 3] },
    },
    tree_info: trees.map((tree_structure, tree_index) => ({
      tree_index,
      num_leaves: 2,
      shrinkage: 0.1,
      tree_structure,
    })),
    pandas_categorical: [],
    ...more,
  });
  const [low, high] = [leaf(0, -1), leaf(1, 2)];

  test("compares doubles by <=, and sends what is missing where each split sends it", async () => {
    await imported("light.number", "lightgbm", dump([split(0, 0.1, low, high)]));
    expect(await ask("light.number", { a: 0.1 })).toBe(-1);
    expect(await ask("light.number", { a: 0.10000000000000002 })).toBe(2);
    // missing_type None: a missing value is 0.
    expect(await ask("light.number", { a: null })).toBe(-1);
    await imported("light.below", "lightgbm", dump([split(0, -0.5, low, high)]));
    expect(await ask("light.below", { a: null })).toBe(2);
    expect(await ask("light.below", { a: -0.5 })).toBe(-1);
    await imported("light.nan", "lightgbm", dump([split(0, -0.5, low, high, { missing_type: "NaN" })]));
    expect(await ask("light.nan", { a: null })).toBe(-1);
    await imported("light.zero", "lightgbm", dump([split(0, 0, low, high, { missing_type: "Zero" })]));
    expect(await ask("light.zero", { a: 0 })).toBe(-1);
    expect(await ask("light.zero", { a: 5e-324 })).toBe(2);
    expect(await ask("light.zero", { a: null })).toBe(-1);
  });

  test("categories go left where a split lists them, by code or as pandas named them", async () => {
    const tree = split(2, "0||3", low, high, { missing_type: "NaN" });
    await imported("light.code", "lightgbm", dump([tree]));
    await imported("light.named", "lightgbm", dump([tree], { pandas_categorical: [["at", "ch", "de", "fr"]] }));
    for (const [code, name, answer] of [
      ["0", "at", -1],
      ["1", "ch", 2],
      ["3", "fr", -1],
      ["9", "it", 2],
      [null, null, 2],
    ] as const) {
      expect(await ask("light.code", { k: code })).toBe(answer);
      expect(await ask("light.named", { k: name })).toBe(answer);
    }
  });

  test("answers by its objective, and explains by the counts of rows", async () => {
    const trees = [
      split(0, 0.5, low, split(1, 1, leaf(1, 0.5, 4), leaf(2, 3, 6), { internal_count: 10 })),
      leaf(0, 0.25),
    ];
    await imported("light.class", "lightgbm", dump(trees, { objective: "binary sigmoid:2" }), "classification");
    expect(await ask("light.class", { a: 1, b: 2 })).toBeCloseTo(1 / (1 + Math.exp(-2 * 3.25)), 15);
    await imported("light.count", "lightgbm", dump(trees, { objective: "poisson" }));
    expect(await ask("light.count", { a: 1, b: 2 })).toBeCloseTo(Math.exp(3.25), 12);
    await imported("light.forest", "lightgbm", dump(trees, { average_output: true }));
    expect(await ask("light.forest", { a: 1, b: 2 })).toBe(3.25 / 2);
    await imported("light.sum", "lightgbm", JSON.stringify(dump(trees)));
    // Explicitly: a alone moves the expectation (-1 · 10 + 2 · 10) / 20 to 2, b moves it by 0.5 within the right half.
    const explained = await database.rows<{ feature: string; contribution: number }>(
      "select feature, contribution from ml.explain('light.sum', '{\"a\": 1, \"b\": 2}')",
    );
    const ours = Object.fromEntries(explained.map((row) => [row.feature, row.contribution]));
    expect(ours["(base)"]).toBeCloseTo(0.75 * 0 + 0.5 * -1 + 0.2 * 0.5 + 0.3 * 3 + 0.25, 12);
    expect(ours["a"]).toBeCloseTo((2 - 0.5 + (3 - 1)) / 2, 12);
    expect(ours["b"]).toBeCloseTo((1 - 0.5 + (3 - 2)) / 2, 12);
    await imported("light.expected", "lightgbm", {
      model: dump(trees),
      expected: [{ features: { a: 1, b: 2 }, prediction: 3.25 }],
    });
  });

  test.each([
    ["several classes", dump([low], { num_class: 3, num_tree_per_iteration: 3 })],
    ["an unknown objective", dump([low], { objective: "multiclass num_class:3" })],
    ["a root of the label", dump([low], { objective: "regression sqrt" })],
    ["no trees", dump([])],
    ["no names", dump([low], { feature_names: null })],
    ["a linear tree", dump([{ ...low, leaf_coeff: [1], leaf_const: 0 }])],
    ["zeros that go against their size", dump([split(0, -1, low, high, { missing_type: "Zero" })])],
    ["a feature without a name", dump([split(7, 1, low, high)])],
    ["a missing child", dump([split(0, 1, low, null as unknown as object)])],
    ["a threshold that is text", dump([split(0, "1; drop table x", low, high)])],
    ["a leaf that is text", dump([leaf(0, "x" as unknown as number)])],
    ["a list of categories for nothing", dump([low], { pandas_categorical: [["a"], ["b"]] })],
    ["a category that pandas did not name", dump([split(2, "4", low, high)], { pandas_categorical: [["at"]] })],
    ["a saved text model", "tree\nversion=v4"],
    ["nothing", {}],
  ])("%s is refused", async (_, document) => {
    expect(
      await database.rejects("select ml.import_model('light.bad', 'regression', 'lightgbm', $1)", [
        JSON.stringify(document),
      ]),
    ).toMatchObject({ code: "CF009" });
  });
});

describe("coefficients", () => {
  test("linear ones are a sum, with means for what is missing and categories by name", async () => {
    await imported("line.price", "linear", {
      intercept: 10,
      coefficients: { size: 2, country: { at: 1, 'd"e': -1 }, "it's; odd": 0.5 },
      means: { size: 4 },
    });
    expect(await ask("line.price", { size: 3, country: "at", "it's; odd": 2 })).toBe(10 + 6 + 1 + 1);
    expect(await ask("line.price", { size: null, country: 'd"e', "it's; odd": null })).toBe(10 + 8 - 1);
    expect(await ask("line.price", { size: 0, country: "elsewhere", "it's; odd": 0 })).toBe(10);
  });

  test("logistic ones are a probability", async () => {
    await imported("line.sold", "logistic", { intercept: -1, coefficients: { size: 0.5 } }, "classification");
    expect(await ask("line.sold", { size: 4 })).toBeCloseTo(1 / (1 + Math.exp(-1)), 15);
    expect(await ask("line.sold", { size: 1e200 })).toBe(1);
  });

  test.each([
    ["none at all", {}],
    ["a list", []],
    ["text for a number", { coefficients: { a: "1" } }],
    ["a number that no double holds", '{"coefficients": {"a": 1e400}}'],
    ["a mean of what has no coefficient", { coefficients: { a: 1 }, means: { b: 2 } }],
    ["an intercept in words", { intercept: "one", coefficients: { a: 1 } }],
    ["a name that is empty", { coefficients: { "": 1 } }],
  ])("%s are refused", async (_, document) => {
    const text = typeof document === "string" ? document : JSON.stringify(document);
    expect(
      await database.rejects("select ml.import_model('line.bad', 'regression', 'linear', $1)", [text]),
    ).toMatchObject({ code: "CF009" });
  });
});

describe("embeddings and scores", () => {
  test("two towers are compared by their inner product, and list what is nearest", async () => {
    await imported("tower.course", "embeddings", {
      keys: ["segment", "course"],
      embeddings: { segment: { new: [1, 0.5], old: [-1, 2] }, course: { sql: [2, 2], art: [-2, 1], 'o"dd': [0, 0.5] } },
    });
    expect(await ask("tower.course", { segment: "new", course: "sql" })).toBe(3);
    expect(await ask("tower.course", { segment: "new", course: "nobody" })).toBeNull();
    await database.query(
      "create table lab.pair as select 1 as id, 'old' as segment, 'art' as course union all select 2, 'old', null",
    );
    await database.query("select ml.predict_table('tower.course', 'lab.pair', 'lab.pair_score', 'id')");
    expect(await database.rows("select * from lab.pair_score order by id")).toEqual([
      { id: 1, prediction: 4 },
      { id: 2, prediction: null },
    ]);
  });

  test("things of one kind are compared with each other", async () => {
    await imported("tower.alike", "embeddings", {
      keys: ["course", "other"],
      similarity: "cosine",
      embeddings: { course: { sql: [1, 0], joins: [2, 0.1], art: [0, 1] } },
    });
    expect(await ask("tower.alike", { course: "sql", other: "sql" })).toBeCloseTo(1, 6);
  });

  test("scores are looked up by all their keys", async () => {
    await imported("table.score", "scores", {
      keys: ["course", "week"],
      default: 0.5,
      scores: [
        { course: "sql", week: 1, score: 0.25 },
        { course: "sql", week: 2, score: -3 },
      ],
    });
    expect(await ask("table.score", { course: "sql", week: "2" })).toBe(-3);
    expect(await ask("table.score", { course: "sql", week: 2 })).toBe(-3);
    expect(await ask("table.score", { course: "art", week: "2" })).toBe(0.5);
  });

  test("what has no embedding or no score has no answer, as a probability neither", async () => {
    await imported("tower.chance", "embeddings", {
      keys: ["segment", "course"],
      link: "logit",
      embeddings: { segment: { new: [1, 0.5] }, course: { sql: [2, 2] } },
    });
    expect(await ask("tower.chance", { segment: "new", course: "sql" })).toBeCloseTo(1 / (1 + Math.exp(-3)), 12);
    expect(await ask("tower.chance", { segment: "new", course: "nobody" })).toBeNull();
    await imported("table.rate", "scores", { keys: ["course"], link: "log", scores: [{ course: "sql", score: 2 }] });
    expect(await ask("table.rate", { course: "sql" })).toBeCloseTo(Math.exp(2), 12);
    expect(await ask("table.rate", { course: "art" })).toBeNull();
  });

  test.each([
    ["embeddings", { keys: ["a"], embeddings: { a: {} } }],
    ["embeddings", { keys: ["a", "b"], embeddings: { b: { x: [1] } } }],
    ["embeddings", { keys: ["a", "b"], embeddings: { a: { x: [1], y: [1, 2] } } }],
    ["embeddings", { keys: ["a", "b"], embeddings: { a: { x: "one" } } }],
    ["embeddings", { keys: ["a", "b"], embeddings: { a: { x: [] } } }],
    ["embeddings", { keys: ["a", "b"], embeddings: { a: { x: [1e60] } } }],
    ["embeddings", { keys: ["a", "b"], similarity: "taste", embeddings: { a: { x: [1] } } }],
    ["scores", { keys: ["a"] }],
    ["scores", { keys: [], scores: [] }],
    ["scores", { keys: ["a"], scores: [{ a: "x", score: "1" }] }],
    ["scores", { keys: ["a"], scores: [{ b: "x", score: 1 }] }],
    [
      "scores",
      {
        keys: ["a"],
        scores: [
          { a: "x", score: 1 },
          { a: "x", score: 2 },
        ],
      },
    ],
    ["scores", { keys: [1], scores: [] }],
  ])("%s of another form are refused: %j", async (format, document) => {
    expect(
      await database.rejects("select ml.import_model('table.bad', 'regression', $1, $2)", [
        format,
        JSON.stringify(document),
      ]),
    ).toMatchObject({
      code: "CF009",
    });
    expect(await database.value("select count(*) from ml.project where name = 'table.bad'")).toBe("0");
  });
});

describe("beside models of our own", () => {
  test("only those who train may import", async () => {
    await database.as("insights_analyst", {}, async (db) => {
      expect(
        await db.rejects(`select ml.import_model('a', 'regression', 'linear', '{"coefficients": {}}')`),
      ).toMatchObject({ code: "42501" });
      expect(await db.value(`select ml.predict('line.sold', '{"size": 2}')`)).toBe(0.5);
    });
    await database.as("insights_worker", {}, async (db) => {
      expect(
        await db.value(`select ml.import_model('a', 'regression', 'linear', '{"intercept": 3, "coefficients": {}}')`),
      ).toBe(1);
      expect(await db.value("select ml.predict('a', '{}')")).toBe(3);
    });
  });

  test.each([
    ["an unknown format", "select ml.import_model('a', 'regression', 'onnx', '{}')", "CF001"],
    ["a null document", "select ml.import_model('a', 'regression', 'linear', null)", "CF009"],
    ["a scalar", "select ml.import_model('a', 'regression', 'linear', '3')", "CF009"],
    ["another task", "select ml.import_model('a', 'survival', 'linear', '{\"coefficients\": {}}')", "CF001"],
  ])("%s", async (_, sql, code) => {
    expect(await database.rejects(sql)).toMatchObject({ code });
  });
});
