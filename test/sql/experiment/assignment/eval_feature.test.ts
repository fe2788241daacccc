import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { published } from "../../../support/growthbook.ts";

const database = await testDatabase();

type Json = Record<string, unknown>;

const evaluate = (payload: unknown, feature: string): Promise<Json> =>
  database.value("select experiment.eval_feature($1, $2)", [JSON.stringify(payload), feature]);

const refused = (payload: unknown, feature: string) =>
  database.rejects("select experiment.eval_feature($1, $2)", [JSON.stringify(payload), feature]);

test.for([
  ["feature", 55],
  ["contextualBandit", 35],
] as const)("gives GrowthBook's published results of the group %s", async ([group, count]) => {
  const cases = published<[Json, string, Json]>(group);
  expect(cases).toHaveLength(count);
  for (const { place, values } of cases) {
    const [payload, feature, expected] = values;
    expect(await evaluate(payload, feature), place).toEqual(expected);
  }
});

test("gives GrowthBook's published results and documents of sticky buckets", async () => {
  const cases =
    published<[Json, { attributeName: string; attributeValue: string }[], string, Json | null, Json]>("stickyBucket");
  expect(cases).toHaveLength(13);
  for (const { place, values } of cases) {
    const [payload, docs, feature, expected, after] = values;
    const stickyBucketAssignmentDocs = Object.fromEntries(
      docs.map((doc) => [`${doc.attributeName}||${doc.attributeValue}`, doc]),
    );
    const result = await evaluate({ ...payload, stickyBucketAssignmentDocs }, feature);
    expect(result["experimentResult"] ?? null, place).toEqual(expected);
    expect(result["stickyBucketAssignmentDocs"], place).toEqual(after);
  }
});

test("a prerequisite that runs an experiment leaves its sticky document", async () => {
  const result = await evaluate(
    {
      attributes: { id: "1" },
      stickyBucketAssignmentDocs: {},
      features: {
        parent: { rules: [{ variations: [true, true] }] },
        child: { rules: [{ parentConditions: [{ id: "parent", condition: { value: true } }], force: 1 }] },
      },
    },
    "child",
  );
  expect(result["value"]).toBe(1);
  expect(Object.keys(result["stickyBucketAssignmentDocs"] as Json)).toEqual(["id||1"]);
});

test("a value forced in the payload comes first", async () => {
  const payload = { features: { f: { defaultValue: 1 } }, forcedFeatureValues: { f: 2 } };
  expect(await evaluate(payload, "f")).toEqual({ value: 2, on: true, off: false, source: "override", ruleId: "" });
});

test("bounds the prerequisites", async () => {
  const chain = (length: number, parents: number): Json => ({
    features: Object.fromEntries(
      Array.from({ length }, (_, i) => [
        `f${i}`,
        { rules: [{ force: 1, parentConditions: Array(parents).fill({ id: `f${i + 1}`, condition: {} }) }] },
      ]),
    ),
  });
  expect((await evaluate(chain(30, 1), "f0"))["source"]).toBe("force");
  expect((await refused(chain(40, 1), "f0")).code).toBe("CF008");
  // Two of each level are evaluated twice: 2 to the power of 20 evaluations.
  const error = await refused(chain(20, 2), "f0");
  expect(error.code).toBe("CF008");
  expect(error.message).toBe('the prerequisites of feature "f0" are too many');
});

test("a feature or a payload that makes a client fail is refused", async () => {
  for (const [payload, message] of [
    [[], "the payload is [], not an object with attributes and features"],
    [{ features: { f: { rules: 5 } } }, "the rules of the feature is 5, not an array of rules"],
    [{ features: { f: { rules: [null] } } }, "a rule of the feature is null, not an object"],
    [{ features: { f: { rules: [{ variations: 5 }] } } }, "the variations of the experiment is 5, not an array"],
    [
      { features: { f: { rules: [{ parentConditions: {}, force: 1 }] } } },
      "parentConditions is {}, not an array of conditions",
    ],
    [{ features: { f: { rules: [{ filters: 1, force: 1 }] } } }, "filters is 1, not an array of filters"],
    [
      { attributes: { id: "1" }, forcedVariations: { f: 0.5 }, features: { f: { rules: [{ variations: [0, 1] }] } } },
      "the forced variation is 0.5, not the position of a variation",
    ],
    [
      { attributes: { id: "1" }, features: { f: { rules: [{ variations: [0, 1], weights: ["1", 0] }] } } },
      'weights is ["1", 0], not an array of numbers',
    ],
  ] as const) {
    const error = await refused(payload, "f");
    expect(error.code, message).toBe("CF009");
    expect(error.message).toBe(message);
  }
});

test("attributes other than an object count as no attributes", async () => {
  for (const attributes of [null, 5, "id", true]) {
    const payload = { attributes, features: { f: { defaultValue: 0, rules: [{ force: 1, coverage: 0.9 }] } } };
    expect((await evaluate(payload, "f"))["value"]).toBe(0);
  }
});

test("each role may evaluate", async () => {
  for (const role of [
    "insights_visitor",
    "insights_learner",
    "insights_analyst",
    "insights_admin",
    "insights_worker",
  ]) {
    await database.as(role, {}, async (db) => {
      const payload = JSON.stringify({
        attributes: { id: "1", plan: "Pro" },
        url: "https://example.com/a",
        stickyBucketAssignmentDocs: {},
        features: {
          f: {
            rules: [
              { condition: { plan: { $regexi: "^p|q" } }, variations: ["a", "b"], filters: [{ ranges: [[0, 1]] }] },
            ],
          },
        },
      });
      expect(await db.value("select experiment.eval_feature($1, 'f') ->> 'source'", [payload]), role).toBe(
        "experiment",
      );
    });
  }
});
