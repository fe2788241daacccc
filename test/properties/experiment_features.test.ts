import { GrowthBook, StickyBucketServiceSync } from "@growthbook/growthbook";
import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { makeExperiments } from "../support/experiments.ts";
import { runs } from "../support/runs.ts";

/*
 * Whatever is defined, started, changed, stopped and shipped: GrowthBook's client, with the payload of the database, and
 * the database give each person the same values of all features.
 */
const database = await testDatabase();
await makeExperiments(database);
await database.query(
  "select experiment.define_feature('size', 'Size.', 'number', '1'), experiment.define_layer('other', 'Other.')",
);

/** Without it, a client does not assign by the fallback attribute. */
class NoDocuments extends StickyBucketServiceSync {
  override getAssignmentsSync(): null {
    return null;
  }
  override saveAssignmentsSync(): void {}
}

const condition = fc.oneof(
  fc.record({ plan: fc.constantFrom("pro", "free", null) }),
  fc.record({ age: fc.record({ $gte: fc.integer({ min: 0, max: 40 }) }) }),
  fc.record({ $or: fc.constant([{ plan: "pro" }, { age: { $lt: 20 } }]) }),
  fc.record({ plan: fc.record({ $in: fc.constant(["pro", "team"]) }) }),
  fc.record({ id: fc.record({ $exists: fc.boolean() }) }),
  fc.record({ $not: fc.record({ plan: fc.record({ $regex: fc.constantFrom("^p", "e+$") }) }) }),
);

const rule = fc.record(
  {
    condition,
    coverage: fc.constantFrom(0, 0.25, 0.5, 1),
    hashAttribute: fc.constantFrom("id", "anonymousId", "plan"),
    hashVersion: fc.constantFrom(1, 2),
    seed: fc.constantFrom("a", "ä€😀"),
    force: fc.boolean(),
  },
  { requiredKeys: ["force"] },
);

const experiment = fc
  .record({
    arms: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 4 }),
    coverage: fc.constantFrom(0.1, 0.5, 0.99, 1),
    seed: fc.stringMatching(/^[a-z]{1,5}$/),
    hash_version: fc.constantFrom(1, 2),
    hash_attribute: fc.constantFrom("id", "anonymousId", "plan"),
    is_sticky: fc.boolean(),
    has_fallback: fc.boolean(),
    layer: fc.option(fc.constantFrom("page", "other"), { nil: undefined }),
    range: fc.constantFrom([0, 0.5], [0.5, 1], [0.2, 0.4], [0, 1]),
    holdout: fc.option(fc.constant("none-2026"), { nil: undefined }),
    condition: fc.option(condition, { nil: undefined }),
    parent: fc.boolean(),
    feature: fc.constantFrom("player", "colour"),
    end: fc.constantFrom("running", "changed", "stopped", "shipped"),
  })
  .map(({ arms, range, has_fallback, parent, end, ...fields }) => {
    const sum = arms.reduce((total, part) => total + part, 0);
    const hasFallback =
      has_fallback && fields.is_sticky && fields.holdout === undefined && fields.hash_attribute === "id";
    return {
      end,
      definition: {
        ...fields,
        ...(fields.layer === undefined ? {} : { layer_from: range[0], layer_until: range[1] }),
        ...(hasFallback ? { fallback_attribute: "anonymousId" } : {}),
        ...(parent ? { parent_conditions: [{ id: "size", condition: { value: 2 } }] } : {}),
        goals: ["submitted"],
        weights: arms.map((part) => part / sum),
        variations: arms.map((_, number) => ({
          key: number === 0 ? "control" : `arm-${number}`,
          value: fields.feature === "player" ? number % 2 === 1 : `colour ${number}`,
        })),
      },
    };
  });

const person = fc.record(
  {
    id: fc.oneof(fc.stringMatching(/^[a-z0-9]{1,8}$/), fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 })),
    anonymousId: fc.uuid(),
    plan: fc.constantFrom("pro", "free", "team", null),
    age: fc.integer({ min: 0, max: 50 }),
  },
  { requiredKeys: [] },
);

test("the client and the database give the same values", { timeout: 600_000 }, async () => {
  const sources = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(experiment, { minLength: 1, maxLength: 4 }),
      fc.array(rule, { maxLength: 2 }),
      fc.array(person, { minLength: 20, maxLength: 40 }),
      async (experiments, rules, people) => {
        const { payload, server } = await database.as("insights_admin", {}, async (db) => {
          await db.query("select experiment.define_feature('player', 'X.', rules => $1)", [JSON.stringify(rules)]);
          await db.query(
            `select experiment.define_feature('size', 'Size.', 'number', '1', '[{"coverage": 0.5, "hashAttribute": "id", "force": 2}]')`,
          );
          for (const [number, { end, definition }] of experiments.entries()) {
            const key = `experiment-${number}`;
            await db.query("savepoint before");
            try {
              await db.query("select experiment.define_experiment($1)", [JSON.stringify({ key, ...definition })]);
              await db.query("select experiment.start($1)", [key]);
            } catch (error) {
              // Another experiment has the feature, the range or the seed.
              expect(error).toMatchObject({ code: "CF003" });
              await db.query("rollback to before");
              continue;
            }
            if (end === "changed") {
              await db.query("select experiment.change_weights($1, $2, 0.7)", [key, [...definition.weights].reverse()]);
            } else if (end !== "running") {
              await db.query("select experiment.stop($1, 'Enough.')", [key]);
              if (end === "shipped") await db.query("select experiment.ship($1, 'arm-1')", [key]);
            }
          }
          const stored = await db.value<{ features: Record<string, unknown> }>("select experiment.features()");
          await db.query("reset role");
          const rows = await db.rows<{ result: Record<string, Record<string, unknown>> }>(
            `select experiment._evaluate_features(null, person.value) as result
             from jsonb_array_elements($1) with ordinality as person (value, place) order by place`,
            [JSON.stringify(people)],
          );
          return { payload: stored, server: rows.map(({ result }) => result) };
        });
        for (const [number, attributes] of people.entries()) {
          const growthbook = new GrowthBook({ attributes, stickyBucketService: new NoDocuments() });
          growthbook.initSync({ payload: payload as never });
          for (const key of Object.keys(payload.features)) {
            const expected = JSON.parse(JSON.stringify(growthbook.evalFeature(key)));
            expect(server[number]?.[key], JSON.stringify({ attributes, key })).toEqual(expected);
            sources.add(expected.source);
          }
        }
      },
    ),
    { numRuns: runs(25, 5, database.native) },
  );
  // A few examples may be without a person who takes part.
  if (database.native) expect(sources).toEqual(new Set(["defaultValue", "force", "experiment"]));
});
