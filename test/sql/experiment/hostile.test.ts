import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const hostile: Json[] = [
  null,
  true,
  -1,
  1e308,
  1e-320,
  "",
  "NaN",
  "infinity",
  "x".repeat(5000),
  "é😀",
  [],
  {},
  [[]],
  [null],
  { $gt: 1 },
  { "": "" },
  { constructor: 1 },
  { n: 1 },
];

/** The document with each hostile value in the place of each of its parts. */
function* mutated(document: Json): Generator<Json> {
  yield* hostile;
  if (document === null || typeof document !== "object") return;
  for (const [key, part] of Object.entries(document)) {
    for (const changed of mutated(part)) {
      const copy = structuredClone(document) as { [key: string]: Json };
      copy[key] = changed;
      yield copy;
    }
  }
}

const mean = {
  type: "mean",
  n: 100,
  sum: 50,
  sum_squares: 80,
  theta: 0.5,
  before: { sum: 30, sum_squares: 60 },
  sum_products_before: 25,
};
const ratio = {
  type: "ratio",
  n: 100,
  sum_products: 50,
  numerator: { sum: 50, sum_squares: 80 },
  denominator: { sum: 90, sum_squares: 120 },
};
const quantile = {
  type: "quantile",
  n: 1000,
  n_star: 1000,
  nu: 0.9,
  quantile_hat: 5,
  quantile_lower: 4,
  quantile_upper: 6,
  n_clusters: 100,
  main_sum: 900,
  main_sum_squares: 8200,
  denominator_sum: 1000,
  denominator_sum_squares: 11000,
  main_denominator_sum_product: 9200,
};
const options = {
  test: "bayesian",
  side: "both",
  difference: "relative",
  alpha: 0.05,
  tuning: 5000,
  prior_type: "relative",
  prior: { mean: 0, variance: 1, proper: true },
  inverse: false,
  margin: 0.1,
};
const condition = {
  $and: [{ a: { $gt: 1, $in: [1], $regex: "^a", $elemMatch: { $eq: 1 }, $size: 1, $vgt: "1.0", $not: { $eq: 1 } } }],
  $or: [{ b: 1 }],
  $savedGroup: "g",
};
const experiment = {
  key: "e",
  variations: [0, 1],
  weights: [0.5, 0.5],
  coverage: 1,
  condition: { a: 1 },
  namespace: ["n", 0, 1],
  hashAttribute: "id",
  hashVersion: 2,
  ranges: [
    [0, 0.5],
    [0.5, 1],
  ],
  meta: [{ key: "a" }, { key: "b" }],
  filters: [{ seed: "s", ranges: [[0, 1]], hashVersion: 2 }],
  bucketVersion: 1,
  minBucketVersion: 0,
  parentConditions: [{ id: "f", condition: { value: 1 } }],
  urlPatterns: [{ type: "simple", pattern: "/" }],
};
const payload = {
  attributes: { id: "1", a: 1 },
  url: "http://a/?e=1",
  forcedVariations: { x: 1 },
  savedGroups: { g: ["1"] },
  features: { f: { defaultValue: 1, rules: [{ condition: { a: 1 }, force: 2, coverage: 0.5, range: [0, 0.5] }] } },
  stickyBucketAssignmentDocs: {
    "id||1": { attributeName: "id", attributeValue: "1", assignments: { e__0: "0" } },
  },
};

/** Calls `call` with each document as $1, and returns the errors that have another code than those of this system. */
async function failures(call: string, documents: Iterable<Json>): Promise<unknown[]> {
  return database.as("postgres", {}, async (db) => {
    await db.query(`
      create function pg_temp.failure(document jsonb) returns text language plpgsql as $$
      begin
        perform ${call.replaceAll("$1", "document")};
        return null;
      exception when others then
        return case when sqlstate not like 'CF0%' then sqlstate || ' ' || sqlerrm || ': ' || left(document::text, 500) end;
      end $$`);
    return db.rows(
      `select failure from jsonb_array_elements($1) as entry (document)
       cross join lateral pg_temp.failure(entry.document) as failure (failure) where failure is not null limit 5`,
      [JSON.stringify([...documents])],
    );
  });
}

const literal = (document: Json): string => `'${JSON.stringify(document).replaceAll("'", "''")}'::jsonb`;

const calls: [string, Json][] = [
  ["experiment.moments($1)", mean],
  [`experiment.compare(${literal(mean)}, $1, '{"margin": 0.1}')`, mean],
  [`experiment.compare($1, ${literal(ratio)}, '{"margin": -0.1, "difference": "absolute"}')`, ratio],
  [`experiment.compare($1, ${literal(quantile)}, '{"margin": 0.1}')`, quantile],
  [
    `experiment.compare_strata(jsonb_build_array(jsonb_build_array($1, ${literal(ratio)}), ${literal([ratio, ratio])}))`,
    ratio,
  ],
  [`experiment.compare_strata(${literal([[mean, mean]])}, $1)`, options],
  [`experiment.compare(${literal(mean)}, ${literal(mean)}, $1)`, options],
  [`experiment.eval_condition('{"id": "1", "a": [1, 2]}', $1, '{"g": [1]}')`, condition],
  [`experiment.run($1, ${literal(experiment)})`, payload],
  [`experiment.run(${literal(payload)}, $1)`, experiment],
  ["experiment.eval_feature($1, 'f')", payload],
  ["experiment.define_experiment($1)", { key: "e", variations: [{ key: "a", value: 1 }], goals: ["x"], weights: [1] }],
  ["experiment.define_feature('f', 'A feature', 'json', '1', $1)", [experiment]],
];

test.each(calls)(
  "wrong values in every place give an answer or an error of this system: call %#",
  async (call, document) => {
    expect(await failures(call, mutated(document))).toEqual([]);
  },
);

/** Documents that are nested deeply, or have many values that take time. As text: they are too deep for JSON.stringify. */
function* huge(): Generator<string> {
  const levels = database.native ? 5000 : 500;
  for (const [open, close] of [
    ["[", "]"],
    ['{"a":', "}"],
    ['{"$not":', "}"],
    ['{"$and":[', "]}"],
    ['{"value":{"$elemMatch":', "}}"],
  ] as const) {
    yield `${open.repeat(levels)}{}${close.repeat(levels)}`;
  }
  yield JSON.stringify(Array.from({ length: 20_000 }, (_, i) => i + 0.1234567890123456));
  yield JSON.stringify(Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`k${i}`, i])));
  yield JSON.stringify("x".repeat(1_000_000));
}

test.each(calls)(
  "huge values in every place give an answer or an error of this system: call %#",
  {
    timeout: 300_000,
  },
  async (call, document) => {
    const members = Object.keys(document as object);
    await database.as("postgres", {}, async (db) => {
      await db.query("set local statement_timeout = '60s'");
      await db.query(`
      create function pg_temp.failure(document jsonb) returns text language plpgsql as $$
      begin
        perform ${call.replaceAll("$1", "document")};
        return null;
      exception when others then
        return case
          when sqlstate not like 'CF0%' then sqlstate || ' ' || left(sqlerrm, 200)
          when length(sqlerrm) > 1000 then 'a long message: ' || left(sqlerrm, 200)
        end;
      end $$`);
      for (const value of huge()) {
        const found = await db.rows(
          `select place, failure
         from unnest(array[null] || $2::text[]) as place
         cross join lateral pg_temp.failure(
           case when place is null then $1::jsonb else jsonb_set($3::jsonb, array[place], $1) end
         ) as failure
         where failure is not null`,
          [value, members, JSON.stringify(document)],
        );
        expect(found, value.slice(0, 30)).toEqual([]);
      }
    });
  },
);

test("many long numbers are refused before they are read", async () => {
  const numbers = (count: number): string =>
    JSON.stringify({ a: Array.from({ length: count }, (_, i) => i + 0.1234567890123456) });
  const long = await database.rejects('select experiment.eval_condition($1, \'{"a": {"$size": 1}}\')', [
    numbers(20_000),
  ]);
  expect(long).toMatchObject({
    code: "CF008",
    message: expect.stringMatching(/^the JSON has \d{5} numbers of more than 15 digits$/),
  });
  expect(
    await database.value('select experiment.eval_condition($1, \'{"a": {"$size": 2000}}\')', [numbers(2000)]),
  ).toBe(true);
  // Numbers of fewer digits, and texts of digits, are not counted.
  const texts = JSON.stringify({ a: Array.from({ length: 20_000 }, (_, i) => (i % 2 ? i : `1234567890123456${i}`)) });
  expect(await database.value('select experiment.eval_condition($1, \'{"a": {"$size": 20000}}\')', [texts])).toBe(true);
});

test("another error is found", async () => {
  expect(await failures("($1 ->> 'n')::int", [{ n: 1 }, { n: "x" }])).toEqual([
    { failure: expect.stringMatching(/^22P02 invalid input syntax/) },
  ]);
});
