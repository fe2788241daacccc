import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";
import { features, published } from "./xgboost.ts";

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

  test("may be the bare list of strings that get_dump gives, and has indicators and stumps", async () => {
    const trees = [
      '{"nodeid": 0, "depth": 0, "split": "seen", "yes": 2, "no": 1, "children": [{"nodeid": 1, "leaf": -1}, {"nodeid": 2, "leaf": 2}]}',
      '{"nodeid": 0, "leaf": 0.25}',
    ];
    await imported("boost.bare", "xgboost", trees);
    expect(await ask("boost.bare", { seen: 1 })).toBe(0.5 + 2 + 0.25);
    expect(await ask("boost.bare", { seen: true })).toBe(0.5 + 2 + 0.25);
    expect(await ask("boost.bare", { seen: 0 })).toBe(0.5 - 1 + 0.25);
    expect(await ask("boost.bare", { seen: null })).toBe(0.5 - 1 + 0.25);
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

  const leaf = (nodeid: number, value: unknown = 1): object => ({ nodeid, leaf: value });
  const node = { nodeid: 0, split: "a", split_condition: 1, yes: 1, no: 2, missing: 1 };
  test.each([
    ["no tree", []],
    ["no list", { tree: [] }],
    ["text that is not JSON", ["{"]],
    ["another objective", { objective: "multi:softprob", trees: [leaf(0)] }],
    ["a base score that is not a probability", { objective: "binary:logistic", base_score: 1, trees: [leaf(0)] }],
    ["a node without anything", [{ nodeid: 0 }]],
    ["a leaf that is not a number", [leaf(0, "x")]],
    ["a child that is missing", [{ ...node, children: [leaf(1)] }]],
    ["children of another name", [{ ...node, children: [leaf(1), leaf(3)] }]],
    ["a node that occurs twice", [{ ...node, children: [leaf(1), leaf(1)] }]],
    ["missing values that go nowhere", [{ ...node, missing: 7, children: [leaf(1), leaf(2)] }]],
    ["a category without its values", [{ ...node, split_condition: [1], children: [leaf(1), leaf(2)] }]],
    ["a threshold that is text", [{ ...node, split_condition: "1; drop table x", children: [leaf(1), leaf(2)] }]],
  ])("%s is refused, and leaves nothing", async (_, document) => {
    expect(
      await database.rejects("select ml.import_model('boost.bad', 'regression', 'xgboost', $1)", [
        JSON.stringify(document),
      ]),
    ).toMatchObject({ code: "CF009" });
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
            JSON.stringify(trees).replaceAll("\\u0000", ""),
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
