import { isURLTargeted } from "@growthbook/growthbook";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { published } from "../../../support/growthbook.ts";

const database = await testDatabase();

type Json = Record<string, unknown>;

const run = (payload: unknown, experiment: unknown): Promise<Json> =>
  database.value("select experiment.run($1, $2)", [JSON.stringify(payload), JSON.stringify(experiment)]);

test("gives GrowthBook's published results", async () => {
  const cases = published<[Json, Json, unknown, boolean, boolean]>("run");
  expect(cases).toHaveLength(73);
  for (const { place, values } of cases) {
    const [payload, experiment, value, inExperiment, hashUsed] = values;
    const result = await run(payload, experiment);
    expect([result["value"], result["inExperiment"], result["hashUsed"]], place).toEqual([
      value,
      inExperiment,
      hashUsed,
    ]);
  }
});

test("gives GrowthBook's published variations of a query", async () => {
  const cases = published<[string, string, number, number | null]>("getQueryStringOverride");
  expect(cases).toHaveLength(16);
  for (const { place, values } of cases) {
    const [key, url, variations, expected] = values;
    const result = await run({ url }, { key, variations: Array.from({ length: variations }, (_, i) => i) });
    expect(result["inExperiment"] ? result["variationId"] : null, place).toBe(expected);
  }
});

test("returns the whole result object", async () => {
  const meta = [
    { key: "control", name: "Old" },
    { key: "new", name: "New", passthrough: true },
  ];
  const experiment = { key: "player", seed: "s", hashVersion: 2, variations: ["a", "b"], weights: [0, 1], meta };
  expect(await run({ attributes: { id: 12 }, stickyBucketAssignmentDocs: {} }, experiment)).toEqual({
    key: "new",
    name: "New",
    passthrough: true,
    value: "b",
    variationId: 1,
    inExperiment: true,
    hashUsed: true,
    hashAttribute: "id",
    hashValue: 12,
    bucket: await database.value("select experiment.hash('s', '12', 2)"),
    stickyBucketUsed: false,
    featureId: null,
    stickyBucketAssignmentDocs: {
      "id||12": { attributeName: "id", attributeValue: "12", assignments: { player__0: "new" } },
    },
  });
});

test("the documents of other people are left out", async () => {
  const other = { attributeName: "id", attributeValue: "2", assignments: { player__0: "1" } };
  const result = await run(
    { attributes: { id: "1" }, stickyBucketAssignmentDocs: { "id||2": other } },
    { key: "player", variations: [0, 1], active: false },
  );
  expect(result["stickyBucketAssignmentDocs"]).toEqual({});
});

test("patterns of URLs are those of GrowthBook", async () => {
  const urls = [
    "https://example.com/", "http://www.example.com/a/b?x=1&y=2#top", "https://EXAMPLE.com:443/A/../b", "/a/b", "",
    "https://example.com/ü?q=a+b", "//example.com/a", "https:/example.com/a", "http://localhost:3000/a%20b", "a/b?x=1",
  ]; // biome-ignore format: a table
  const patterns = [
    "*", "/", "/a/*", "example.com", "*.example.com/a*", "https://example.com/b", "/*?x=1", "*?y=*", "/a/b#top", "/ü?q=a b",
    "localhost:3000/a b", "http://*/a/b/",
  ]; // biome-ignore format: a table
  for (const url of urls) {
    for (const pattern of patterns) {
      for (const type of ["simple", "regex"] as const) {
        for (const include of [true, false]) {
          const target = { type, include, pattern: type === "regex" ? pattern.replaceAll("*", ".*") : pattern };
          const expected = isURLTargeted(url, [target]);
          const result = await run(
            { attributes: { id: "1" }, url },
            { key: "k", variations: [0, 1], urlPatterns: [target] },
          );
          expect(result["inExperiment"], JSON.stringify([url, target])).toBe(expected);
        }
      }
    }
  }
});

test("an experiment that makes a client fail is refused", async () => {
  for (const [experiment, message] of [
    [null, "the experiment is null, not an object with a key and variations"],
    [[], "the experiment is [], not an object with a key and variations"],
    [{ variations: [0, 1] }, "the key of the experiment is missing, not a text"],
    [{ key: "k" }, "the variations of the experiment is missing, not an array"],
    [{ key: "k", variations: [0, 1], ranges: {} }, "ranges is {}, not an array of ranges"],
    [{ key: "k", variations: [0, 1], ranges: [1] }, "a range is 1, not an array of two numbers"],
    [{ key: "k", variations: [0, 1], namespace: "x" }, 'a namespace is "x", not an array of a name and two numbers'],
    [{ key: "k", variations: [0, 1], force: null }, "the forced variation is null, not the position of a variation"],
    [
      { key: "k", variations: [0, 1], meta: [] },
      "meta of the experiment without variation 0 is [], not an array with an object for each variation",
    ],
  ] as const) {
    const error = await database.rejects("select experiment.run($1, $2)", [
      JSON.stringify({ attributes: { id: "1" } }),
      JSON.stringify(experiment),
    ]);
    expect(error.code, message).toBe("CF009");
    expect(error.message).toBe(message);
  }
});

test("an unknown hash version assigns nobody", async () => {
  const result = await run({ attributes: { id: "1" } }, { key: "k", variations: [0, 1], hashVersion: 3 });
  expect([result["inExperiment"], result["hashUsed"], "bucket" in result]).toEqual([false, false, false]);
});
