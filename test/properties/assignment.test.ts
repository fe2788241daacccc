import {
  type Context,
  type Experiment,
  evalCondition,
  GrowthBook,
  type StickyAssignmentsDocument,
  StickyBucketServiceSync,
} from "@growthbook/growthbook";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { testDatabase } from "../support/database.ts";
import { inOrder } from "../support/growthbook.ts";
import { runs } from "../support/runs.ts";

/*
 * GrowthBook's own client and the database decide alike: random attributes, conditions, features, experiments and documents
 * of sticky buckets are evaluated by both, and the whole results are equal.
 */
const database = await testDatabase();

type Json = Record<string, unknown>;
type Docs = Record<string, StickyAssignmentsDocument>;

/* ----------------------------------------------------------------------------------------------------- generators -- */

const name = fc.constantFrom("id", "anonymousId", "country", "plan", "age", "tags", "address", "version", "ü");
const word = fc.oneof(
  fc.constantFrom(
    "",
    "0",
    "1",
    "DE",
    "de",
    "pro",
    "Pro",
    "ÄÖ",
    "äö",
    "😀",
    "1.2.3",
    "v1.10.0-rc.1",
    " 12 ",
    "null",
    "x",
  ),
  fc.string({ maxLength: 12 }).map((text) => text.replaceAll("\0", "")),
);
const number = fc.oneof(fc.integer({ min: -3, max: 30 }), fc.double({ noNaN: true, noDefaultInfinity: true }));
const scalar = fc.oneof(word, number, fc.boolean(), fc.constant(null));
const value = fc.oneof(
  { weight: 4, arbitrary: scalar },
  { weight: 1, arbitrary: fc.array(scalar, { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.dictionary(name, fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })), { maxKeys: 3 }) },
);
const attributes = fc.dictionary(name, value, { maxKeys: 6 });
const regex = fc.constantFrom(
  "^D",
  "e$",
  "[a-z]+",
  "\\d{1,2}",
  "(pro|x)",
  "ä|ö",
  "",
  "(",
  "a**",
  "^.$",
  "\\bx",
  "(?=p)\\w+",
  "^null$",
);

const path = fc.oneof(name, fc.constantFrom("address.country", "tags.0", "tags.length", "address.tags.1", "missing"));

const { condition, rule } = fc.letrec<{ condition: Json; rule: unknown }>((tie) => ({
  condition: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.dictionary(path, tie("rule"), { maxKeys: 2 }),
    fc.record({ $and: fc.array(tie("condition"), { maxLength: 3 }) }),
    fc.record({ $or: fc.array(tie("condition"), { maxLength: 3 }) }),
    fc.record({ $nor: fc.array(tie("condition"), { maxLength: 3 }) }),
    fc.record({ $not: tie("condition") }),
    fc.record({
      $savedGroup: fc.oneof(
        fc.record(
          { id: fc.constantFrom("staff", "beta", "none"), attributeKey: fc.oneof(path, fc.constant(null)) },
          { requiredKeys: ["id"] },
        ),
        scalar,
      ),
    }),
  ),
  rule: fc.oneof(
    { maxDepth: 4 },
    value,
    fc
      .tuple(
        fc.constantFrom(
          "$eq",
          "$ne",
          "$lt",
          "$lte",
          "$gt",
          "$gte",
          "$veq",
          "$vne",
          "$vlt",
          "$vlte",
          "$vgt",
          "$vgte",
          "$exists",
        ),
        value,
      )
      .map(([operator, expected]) => ({ [operator]: expected })),
    fc
      .tuple(fc.constantFrom("$in", "$nin", "$ini", "$nini"), fc.oneof(fc.array(value, { maxLength: 4 }), scalar))
      .map(([operator, expected]) => ({ [operator]: expected })),
    fc.tuple(fc.constantFrom("$regex", "$regexi"), regex).map(([operator, expected]) => ({ [operator]: expected })),
    fc
      .tuple(fc.constantFrom("$inGroup", "$notInGroup"), fc.constantFrom("staff", "beta", "none"))
      .map(([operator, expected]) => ({ [operator]: expected })),
    fc.record({ $type: fc.constantFrom("string", "number", "boolean", "null", "array", "object", "undefined") }),
    fc.record({ $unknown: value }),
    fc.record({ $not: tie("rule") }),
    fc.record({ $size: tie("rule") }),
    fc
      .tuple(fc.constantFrom("$all", "$alli"), fc.array(tie("rule"), { maxLength: 3 }))
      .map(([operator, expected]) => ({ [operator]: expected })),
    fc.record({ $elemMatch: tie("condition") }),
    fc.record({ $elemMatch: fc.record({ $gt: number }) }),
    fc.tuple(scalar, scalar).map(([low, high]) => ({ $gte: low, $lt: high })),
  ),
}));

/** Arrays, groups with a type (which may refer to each other and to themselves), and other values. */
const savedGroups = fc.dictionary(
  fc.constantFrom("staff", "beta"),
  fc.oneof(
    fc.array(scalar, { maxLength: 5 }),
    fc.record(
      { type: fc.constant("list"), attributeKey: path, values: fc.array(scalar, { maxLength: 5 }) },
      { requiredKeys: ["type"] },
    ),
    fc.record({ type: fc.constant("condition"), condition }, { requiredKeys: ["type"] }),
    fc.constantFrom<unknown>(null, "staff", { type: "later" }),
  ),
);

const share = fc.oneof(fc.constantFrom(0, 0.25, 0.5, 1, -1, 2), fc.double({ min: 0, max: 1, noNaN: true }));
const range = fc.tuple(share, share);
const attribute = fc.constantFrom("id", "anonymousId", "country", "tags");
const bucketVersion = fc.integer({ min: 0, max: 3 });

/** Members of both experiments and the rules of features. */
const assignment = {
  key: fc.constantFrom("player", "checkout", "ü"),
  seed: word,
  hashAttribute: attribute,
  fallbackAttribute: attribute,
  hashVersion: fc.constantFrom(1, 2, 3),
  coverage: share,
  weights: fc.oneof(
    fc.constantFrom([0.5, 0.5], [0.1, 0.9], [0.2, 0.3, 0.5], [1, 1]),
    fc.array(share, { maxLength: 3 }),
  ),
  ranges: fc.array(range, { maxLength: 3 }),
  namespace: fc.tuple(fc.constantFrom("layer", "ü"), share, share),
  filters: fc.array(
    fc.record(
      { seed: word, attribute, hashVersion: fc.constantFrom(1, 2, 9), ranges: fc.array(range, { maxLength: 2 }) },
      { requiredKeys: ["seed", "ranges"] },
    ),
    { maxLength: 2 },
  ),
  condition,
  meta: fc.constantFrom(
    [{ key: "a" }, { key: "b", name: "B" }, { key: "c" }],
    [{}, { passthrough: true }, { key: "1" }],
    [{ key: "b" }, { key: "a" }, {}],
  ),
  bucketVersion,
  minBucketVersion: bucketVersion,
  disableStickyBucketing: fc.boolean(),
  name: word,
  phase: word,
};
const variations = fc.array(value, { minLength: 1, maxLength: 3 });
const parents = fc.array(
  fc.record(
    {
      id: fc.constantFrom("first", "second", "third", "none"),
      condition: rule.map((expected) => ({ value: expected })),
      gate: fc.boolean(),
    },
    { requiredKeys: ["id"] },
  ),
  { maxLength: 2 },
);

/** Few of the members at once: with all of them almost nobody would be assigned. */
const some = <T extends Json>(members: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc
    .tuple(
      fc.record(members, { requiredKeys: [] }),
      fc.shuffledSubarray(Object.keys(members), { maxLength: Math.min(5, Object.keys(members).length) }),
    )
    .map(([all, kept]) => Object.fromEntries(Object.entries(all).filter(([key]) => kept.includes(key))) as Partial<T>);

/** Those on which the documents of sticky buckets have an effect. */
const stickyMembers = fc.record({
  hashAttribute: fc.constant("id"),
  fallbackAttribute: fc.constantFrom("anonymousId", ""),
  bucketVersion: fc.constantFrom(0, 1),
  minBucketVersion: fc.constantFrom(0, 1, 2),
  meta: assignment.meta,
  coverage: fc.constantFrom(0.1, 1),
});

const experiment = fc
  .tuple(
    fc.oneof(
      stickyMembers,
      some({
        ...assignment,
        force: fc.integer({ min: -1, max: 3 }),
        active: fc.boolean(),
        status: fc.constantFrom("draft", "running", "stopped"),
        parentConditions: parents,
        groups: fc.subarray(["staff", "beta"]),
      }),
    ),
    variations,
    assignment.key,
  )
  .map(([members, values, key]) => ({ ...members, key, variations: values }));

const featureRule = fc.oneof(
  fc
    .tuple(some({ ...assignment, id: word, parentConditions: parents, range }), value)
    .map(([members, force]) => ({ ...members, force })),
  fc
    .tuple(fc.oneof(stickyMembers, some({ ...assignment, id: word, parentConditions: parents })), variations)
    .map(([members, values]) => ({ ...members, variations: values })),
  fc
    .tuple(some({ ...assignment, parentConditions: parents }), variations)
    .map(([members, values]) => ({ ...members, contextualVariations: values, contextualBanditRef: "bandit" })),
);
const feature = fc.record(
  { defaultValue: value, rules: fc.array(featureRule, { maxLength: 3 }) },
  { requiredKeys: [] },
);

const doc = fc.tuple(
  fc.constantFrom("id", "id", "anonymousId", "country"),
  fc.constantFrom("u1", "u1", "7"),
  fc.dictionary(
    fc.constantFrom("player__0", "player__1", "checkout__0", "checkout__1", "ü__0", "first__0", "second__0"),
    fc.constantFrom("a", "b", "c", "0", "1"),
  ),
);
const payload = fc
  .tuple(
    fc.record(
      {
        attributes: fc
          .tuple(
            attributes,
            fc.dictionary(attribute, fc.constantFrom("u1", "u1", "u1", "7", 7, 1e21, true, "", [7, "u"], "ü😀")),
          )
          .map(([some, ids]) => ({ ...some, ...ids })),
        features: fc.dictionary(fc.constantFrom("first", "second", "third"), feature),
        savedGroups,
        forcedVariations: fc.dictionary(assignment.key, fc.integer({ min: -1, max: 3 }), { maxKeys: 1 }),
        url: fc.constantFrom(
          "https://example.com/?player=1",
          "/a?checkout=0&player=2#x",
          "/?ü=1",
          "",
          "https://example.com/",
        ),
        enabled: fc.boolean(),
        qaMode: fc.boolean(),
        groups: fc.dictionary(fc.constantFrom("staff", "beta"), fc.boolean()),
        overrides: fc.dictionary(
          assignment.key,
          some({ condition, weights: assignment.weights, coverage: share, force: fc.integer({ min: 0, max: 2 }) }),
          { maxKeys: 1 },
        ),
        contextualBandits: fc.record({
          bandit: fc.record(
            {
              banditVersion: fc.integer(),
              contexts: fc.array(fc.record({ leafId: fc.integer(), condition, weights: assignment.weights }), {
                maxLength: 2,
              }),
            },
            { requiredKeys: [] },
          ),
        }),
      },
      { requiredKeys: ["attributes"] },
    ),
    fc.option(fc.array(doc, { maxLength: 3 })),
  )
  .map(([context, docs]) =>
    docs === null
      ? context
      : {
          ...context,
          stickyBucketAssignmentDocs: Object.fromEntries(
            docs.map(([attributeName, attributeValue, assignments]) => [
              `${attributeName}||${attributeValue}`,
              { attributeName, attributeValue, assignments },
            ]),
          ),
        },
  );

/* ------------------------------------------------------------------------------------------------------- the client -- */

/** The documents are in the client already; it stores none elsewhere. */
class Documents extends StickyBucketServiceSync {
  getAssignmentsSync(): null {
    return null;
  }
  saveAssignmentsSync(): void {}
}

const asText = (member: unknown): string => (typeof member === "string" ? member : JSON.stringify(member));

/** The client's answer, with the documents of the person afterwards; undefined if it fails. */
function client(context: Json, decide: (growthbook: GrowthBook) => unknown): Json | undefined {
  const sticky = context["stickyBucketAssignmentDocs"] !== undefined;
  const growthbook = new GrowthBook({
    ...structuredClone(context),
    ...(sticky ? { stickyBucketService: new Documents() } : {}),
  } as Context);
  try {
    const result = decide(growthbook) as Json;
    if (!sticky) return result;
    const own = new Set(
      Object.entries(context["attributes"] as Json).map(([key, member]) => `${key}||${asText(member)}`),
    );
    const docs = Object.entries(growthbook.getStickyBucketAssignmentDocs() as Docs).filter(([key]) => own.has(key));
    return { ...result, stickyBucketAssignmentDocs: Object.fromEntries(docs) };
  } catch {
    return undefined;
  } finally {
    growthbook.destroy();
  }
}

/** The answers of the database; an error of a class of its own is undefined. */
async function answers(call: string, columns: unknown[][]): Promise<unknown[]> {
  await database.query(`
    create or replace function public.answer(a jsonb, b jsonb, c jsonb) returns jsonb language plpgsql as $$
    begin
      return jsonb_build_object('answer', ${call});
    exception when sqlstate 'CF009' then
      return '{}';
    end
    $$`);
  const rows = await database.rows<{ answer: { answer?: unknown } }>(
    `select public.answer(a, b, c) as answer
     from rows from (unnest($1::jsonb[]), unnest($2::jsonb[]), unnest($3::jsonb[])) with ordinality as test (a, b, c, number)
     order by number`,
    columns.map((column) => column.map((cell) => JSON.stringify(cell))),
  );
  await database.query("drop function public.answer(jsonb, jsonb, jsonb)");
  return rows.map(({ answer }) => answer.answer);
}

/** As JSON: the client's objects have members that are undefined, and -0. */
const json = (result: unknown): unknown => (result === undefined ? undefined : JSON.parse(JSON.stringify(result)));

vi.spyOn(console, "error").mockImplementation(() => {});

const count = runs(1000, 300, database.native);

test("conditions", async () => {
  const cases = inOrder(fc.sample(fc.tuple(attributes, condition, savedGroups), count));
  const found = await answers(
    "experiment.eval_condition(a, b, c)",
    [0, 1, 2].map((i) => cases.map((row) => row[i])),
  );
  const passed = cases.map(([subject, wanted, groups]) => evalCondition(subject, wanted as never, groups as never));
  cases.forEach((row, i) => {
    expect(found[i], JSON.stringify(row)).toBe(passed[i]);
  });
  const share = passed.filter(Boolean).length / count;
  expect(share).toBeGreaterThan(0.1);
  expect(share).toBeLessThan(0.9);
});

test("experiments", async () => {
  const cases = inOrder(fc.sample(fc.tuple(payload, experiment), count));
  const found = await answers("experiment.run(a, b)", [
    cases.map(([a]) => a),
    cases.map(([, b]) => b),
    cases.map(() => null),
  ]);
  let assigned = 0;
  cases.forEach(([context, definition], i) => {
    const expected = json(
      client(context, (growthbook) => growthbook.run(definition as unknown as Experiment<unknown>)),
    );
    expect(found[i], JSON.stringify([context, definition])).toEqual(expected);
    if ((expected as Json | undefined)?.["inExperiment"]) assigned++;
  });
  expect(assigned / count).toBeGreaterThan(0.05);
  expect(found.filter((answer) => answer === undefined).length / count).toBeLessThan(0.2);
});

test("features", async () => {
  const keys = ["first", "second", "third"];
  const cases = inOrder(fc.sample(fc.tuple(payload, fc.constantFrom(...keys)), count));
  const found = await answers("experiment.eval_feature(a, b #>> '{}')", [
    cases.map(([a]) => a),
    cases.map(([, b]) => b),
    cases.map(() => null),
  ]);
  const sources = new Set<unknown>();
  cases.forEach(([context, key], i) => {
    const expected = json(client(context, (growthbook) => growthbook.evalFeature(key)));
    expect(found[i], JSON.stringify([context, key])).toEqual(expected);
    sources.add((expected as Json | undefined)?.["source"]);
  });
  for (const source of ["unknownFeature", "defaultValue", "force", "experiment"])
    expect([...sources]).toContain(source);
});
