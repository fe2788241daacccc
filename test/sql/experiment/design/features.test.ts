import { GrowthBook } from "@growthbook/growthbook";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { roles } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("returns all features in a stable form: rules, running experiments, what was shipped", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(
      `select experiment.define_feature('player', 'X.', rules => '[{"condition": {"plan": "pro"}, "force": true}]')`,
    );
    await define(db, {
      name: "The new player",
      layer: "page",
      layer_until: 0.5,
      weights: [0.4, 0.6],
      coverage: 0.8,
      condition: { plan: { $ne: null } },
      parent_conditions: [{ id: "colour", condition: { value: "grey" } }],
      is_sticky: true,
      fallback_attribute: "anonymousId",
      bucket_version: 2,
      min_bucket_version: 1,
      seed: "s1",
    });
    const features = () => db.value<{ dateUpdated: string }>("select experiment.features()");
    const before = await features();
    expect(before).toEqual({
      features: {
        colour: { defaultValue: "grey", rules: [] },
        player: { defaultValue: false, rules: [{ condition: { plan: "pro" }, force: true }] },
      },
      dateUpdated: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
    await db.query("select experiment.start('new-player')");
    const running = await features();
    expect(running).toMatchObject({
      features: {
        player: {
          rules: [
            { condition: { plan: "pro" }, force: true },
            {
              key: "new-player",
              name: "The new player",
              variations: [false, true],
              meta: [
                { key: "control", name: "control" },
                { key: "new", name: "new" },
              ],
              weights: [0.4, 0.6],
              coverage: 0.8,
              hashAttribute: "id",
              fallbackAttribute: "anonymousId",
              hashVersion: 2,
              seed: "s1",
              namespace: ["page", 0, 0.5],
              condition: { plan: { $ne: null } },
              parentConditions: [{ id: "colour", condition: { value: "grey" } }],
              bucketVersion: 2,
              minBucketVersion: 1,
              disableStickyBucketing: false,
            },
          ],
        },
      },
    });
    expect(running.dateUpdated >= before.dateUpdated).toBe(true);
    expect(JSON.stringify(await features())).toBe(JSON.stringify(running));
    await db.query("select experiment.stop('new-player', 'Enough.')");
    expect({ ...(await features()), dateUpdated: "" }).toEqual({ ...before, dateUpdated: "" });
  });
});

test("has no names of people, of metrics or of drafts", async () => {
  await define(database, { key: "secret-draft", hypothesis: "secret-hypothesis" });
  const text = JSON.stringify(await database.value("select experiment.features()"));
  for (const secret of ["secret", "ada", "bob", "browser-1", "submitted", "none-2026"])
    expect(text).not.toContain(secret);
  await database.query("select experiment.drop_experiment('secret-draft')");
});

/** Values for each person by the real client, and by the database. */
async function compare(people: Record<string, unknown>[]): Promise<{ client: unknown[]; server: unknown[] }> {
  const payload = await database.value<{ features: object }>("select experiment.features()");
  const client = people.map((attributes) => {
    const growthbook = new GrowthBook({ attributes });
    growthbook.initSync({ payload: payload as never });
    return Object.fromEntries(
      Object.keys(payload.features).map((key) => {
        const { value, source, experimentResult } = growthbook.evalFeature(key);
        return [
          key,
          { value, source, variation: experimentResult?.key ?? null, bucket: experimentResult?.bucket ?? null },
        ];
      }),
    );
  });
  const rows = await database.rows<{ result: Record<string, Record<string, unknown>> }>(
    `select experiment.evaluate_features(person.value ->> 'id', person.value) as result
     from jsonb_array_elements($1) with ordinality as person (value, place) order by place`,
    [JSON.stringify(people)],
  );
  const server = rows.map(({ result }) =>
    Object.fromEntries(
      Object.entries(result).map(([key, { value, source, experimentResult }]) => {
        const assigned = experimentResult as { key: string; bucket: number } | undefined;
        return [key, { value, source, variation: assigned?.key ?? null, bucket: assigned?.bucket ?? null }];
      }),
    ),
  );
  return { client, server };
}

test("GrowthBook's client and the database give each person the same values", async () => {
  const people = Array.from({ length: 300 }, (_, number) => ({
    id: `person-${number}`,
    plan: ["pro", "free", null][number % 3],
    age: number % 80,
  }));
  await database.query(`select experiment.define_feature('size', 'Size.', 'number', '1',
    '[{"condition": {"age": {"$lt": 10}}, "force": 3}, {"coverage": 0.3, "hashAttribute": "id", "force": 2}]')`);
  await define(database, {
    holdout: "none-2026",
    layer: "page",
    layer_until: 0.7,
    weights: [0.3, 0.7],
    coverage: 0.9,
    condition: { $or: [{ plan: "pro" }, { age: { $gte: 40 } }] },
  });
  await define(database, {
    key: "second",
    layer: "page",
    layer_from: 0.7,
    parent_conditions: [{ id: "size", condition: { value: { $gt: 1 } } }],
  });
  await define(database, {
    key: "colours",
    feature: "colour",
    variations: ["grey", "red", "blue"].map((value) => ({ key: value, value })),
    hash_version: 1,
  });
  await database.query("select experiment.start(key) from unnest('{new-player,second,colours}'::text[]) as key");
  const running = await compare(people);
  expect(running.server).toEqual(running.client);
  const assigned = (running.server as Record<string, { variation: string | null }>[]).map(
    ({ player }) => player?.variation,
  );
  expect(new Set(assigned)).toEqual(new Set([null, "control", "new"]));

  await database.query("select experiment.change_weights('colours', '{0.1,0.1,0.8}', 0.5)");
  await database.query("select experiment.ship('new-player', 'new')");
  const shipped = await compare(people);
  expect(shipped.server).toEqual(shipped.client);
  // The held out keep the control, and the other experiment of the feature continues.
  const values = shipped.server as Record<string, { value: boolean; source: string }>[];
  expect(values.filter(({ player }) => player?.value === false && player.source === "force").length).toBeGreaterThan(
    20,
  );
  expect(values.filter(({ player }) => player?.source === "experiment").length).toBeGreaterThan(5);
});

test("each role may read it", async () => {
  for (const role of roles) {
    await database.as(`insights_${role}`, {}, async (db) => {
      expect(await db.value("select experiment.features() -> 'features' ? 'player'"), role).toBe(true);
    });
  }
});
