import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, definition, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);
await database.query(`select experiment.define_experiment('{"key": "other", "layer": "page", "layer_until": 0.5,
  "variations": [{"key": "a"}, {"key": "b"}]}')`);

test("stores a draft with its variations, weights and metrics, and replaces it", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { goals: ["submitted"], guardrails: [{ metric: "lessons", margin: 0.02 }] });
    const id = await db.value("select experiment_id from experiment.experiment where experiment_key = 'new-player'");
    await define(db, {
      name: "The new player",
      weights: [0.25, 0.75],
      coverage: 0.5,
      goals: ["lessons"],
      secondary: ["submitted"],
      maximum_duration: "28 days",
      condition: { plan: { $in: ["pro", "team"] }, age: { $gte: 18 } },
    });
    expect(
      await db.rows(
        "select experiment_id, state, name, maximum_duration::text from experiment.experiment where experiment_key = 'new-player'",
      ),
    ).toEqual([{ experiment_id: id, state: "draft", name: "The new player", maximum_duration: "28 days" }]);
    expect(
      await db.rows(
        "select variation, variation_key, value from experiment.variation where experiment_id = $1 order by 1",
        [id],
      ),
    ).toEqual([
      { variation: 0, variation_key: "control", value: false },
      { variation: 1, variation_key: "new", value: true },
    ]);
    expect(
      await db.rows("select since::text, weights, coverage from experiment.weighting where experiment_id = $1", [id]),
    ).toEqual([{ since: "-infinity", weights: [0.25, 0.75], coverage: 0.5 }]);
    expect(
      await db.rows(
        "select metric_key, role, position, margin from experiment.measured join experiment.metric using (metric_id) where experiment_id = $1 order by position",
        [id],
      ),
    ).toEqual([
      { metric_key: "lessons", role: "goal", position: 0, margin: null },
      { metric_key: "submitted", role: "secondary", position: 1, margin: null },
    ]);
  });
});

test("the same definition changes nothing, also after the start; any other one is refused then", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await define(db, { alpha: 0.05, test: "sequential", minimum_duration: "7 days", is_sticky: null });
    expect(await db.value("select count(*)::int from experiment.history('new-player')")).toBe(1);
    await db.query("select experiment.start('new-player')");
    expect(await db.value("select (experiment.define_experiment($1)).state", [definition()])).toBe("running");
    const refused = async (fields: Record<string, unknown>) => {
      await db.query("savepoint before");
      const error = await db.rejects("select experiment.define_experiment($1)", [definition(fields)]);
      await db.query("rollback to before");
      return `${error.code} ${error.message}: ${error.hint}`;
    };
    const arms = [
      { key: "control", value: false },
      { key: "new", value: true },
      { key: "newer", value: true },
    ];
    expect(await refused({ variations: arms })).toMatch(/^CF003 .*"variations" differs: Variations cannot be added/);
    expect(await refused({ goals: ["lessons"] })).toMatch(
      /^CF003 .*is running, and its field "goals" differs: The plan is fixed/,
    );
    expect(await refused({ alpha: 0.1 })).toMatch(/^CF003 .*"alpha" differs: The plan is fixed/);
    expect(await refused({ weights: [0.1, 0.9] })).toMatch(/^CF003 .*"weights" differs: Use experiment.change_weights/);
    await db.query("select experiment.stop('new-player', 'Enough.')");
    expect(await refused({ weights: [0.1, 0.9] })).toMatch(/^CF003 .*is stopped.*The plan is fixed/);
  });
});

const invalid: [why: string, fields: Record<string, unknown>, code: string, message: string][] = [
  ["an unknown field", { variatons: [] }, "CF001", 'Did you mean "variations"?'],
  ["no key", { key: undefined }, "CF001", '"null" cannot be the name of an experiment'],
  ["a key with capitals", { key: "Player" }, "CF001", '"Player" cannot be the name'],
  ["a number for a name", { name: 1 }, "CF001", "name is 1"],
  ["an empty name", { name: " " }, "CF001", 'name is " "'],
  ["a long hypothesis", { hypothesis: "x".repeat(10_001) }, "CF001", "from 1 to 10000 characters"],
  ["an unknown feature", { feature: "plaier" }, "CF002", 'Did you mean "player"?'],
  ["a feature and a placement", { placement: "nothing" }, "CF002", 'no placement "nothing"'],
  ["no variations", { variations: undefined }, "CF001", "has no variations"],
  ["no control", { variations: [{ key: "new", value: true }] }, "CF001", "list of 2 to 50 elements"],
  [
    "two variations with one key",
    {
      variations: [
        { key: "a", value: true },
        { key: "a", value: false },
      ],
    },
    "CF001",
    "a key of its own",
  ],
  [
    "keys that differ in a sign",
    {
      variations: [
        { key: "a-b", value: true },
        { key: "a_b", value: false },
      ],
    },
    "CF001",
    "a key of its own",
  ],
  [
    "a number that is another position",
    {
      variations: [
        { key: "1", value: true },
        { key: "0", value: false },
      ],
    },
    "CF001",
    "read as a position",
  ],
  [
    "a value of another type",
    {
      variations: [
        { key: "a", value: true },
        { key: "b", value: "yes" },
      ],
    },
    "CF001",
    'the value of b is "yes"',
  ],
  [
    "an unknown field of a variation",
    {
      variations: [
        { key: "a", valu: true },
        { key: "b", value: true },
      ],
    },
    "CF001",
    'Did you mean "value"?',
  ],
  ["a variation that is a string", { variations: ["a", "b"] }, "CF001", 'a variation is "a"'],
  ["weights that do not add up to 1", { weights: [0.5, 0.6] }, "CF001", "the weights add up to 1.1"],
  ["weights that nearly add up to 1", { weights: [0.5, 0.500001] }, "CF001", "the weights add up to 1.000001"],
  ["too few weights", { weights: [1] }, "CF001", "list of 2 to 50"],
  ["too many weights", { weights: [0.5, 0.25, 0.25] }, "CF001", "3 weights for 2 variations"],
  ["a negative weight", { weights: [-0.5, 1.5] }, "CF001", "a weight is -0.5"],
  ["a weight of 0", { weights: [0, 1] }, "CF001", "the weight of the control is 0"],
  ["a weight that is text", { weights: ["0.5", 0.5] }, "CF001", 'a weight is "0.5"'],
  ["no coverage", { coverage: 0 }, "CF001", "coverage is 0"],
  ["a coverage above 1", { coverage: 1.1 }, "CF001", "coverage is 1.1"],
  ["an unknown attribute to assign by", { hash_attribute: "userId" }, "CF002", 'no attribute "userId"'],
  ["a fallback that is not sticky", { fallback_attribute: "anonymousId" }, "CF001", "needs is_sticky"],
  [
    "a fallback and a holdout",
    { fallback_attribute: "anonymousId", is_sticky: true, holdout: "none-2026" },
    "CF001",
    "cannot be held out",
  ],
  [
    "a fallback to itself",
    { fallback_attribute: "id", is_sticky: true },
    "CF001",
    "another attribute than hash_attribute",
  ],
  ["an unknown version of the hash", { hash_version: 3 }, "CF001", "hash_version is 3"],
  ["a fraction", { planned_people: 1.5 }, "CF001", "planned_people is 1.5"],
  ["a huge number", { planned_people: 1e300 }, "CF001", "planned_people is 1"],
  ["the seed of a holdout", { seed: "holdout.none-2026" }, "CF001", "those of holdouts"],
  ["an unknown layer", { layer: "pages" }, "CF002", 'Did you mean "page"?'],
  ["a range without a layer", { layer_from: 0.5 }, "CF001", "without a layer"],
  [
    "a range that ends before it starts",
    { layer: "page", layer_from: 0.9, layer_until: 0.6 },
    "CF001",
    "layer_until is 0.6",
  ],
  [
    "a range that another experiment has",
    { layer: "page", layer_from: 0.4 },
    "CF003",
    'The experiment "other" has the range from 0 to 0.5',
  ],
  ["an unknown holdout", { holdout: "none-2025" }, "CF002", 'Did you mean "none-2026"?'],
  ["an unknown attribute", { condition: { plann: "pro" } }, "CF002", 'Did you mean "plan"?'],
  ["an unknown operator", { condition: { plan: { $gth: 1 } } }, "CF001", 'unknown operator "$gth"'],
  ["an unknown operator of conditions", { condition: { $xor: [] } }, "CF001", 'unknown operator "$xor"'],
  ["an operator with a wrong value", { condition: { plan: { $in: "pro" } } }, "CF001", '$in has the value "pro"'],
  [
    "an invalid regular expression",
    { condition: { plan: { $regex: "(" } } },
    "CF001",
    '"(" is not a regular expression',
  ],
  [
    "a regular expression that is too complex",
    { condition: { plan: { $regexi: "(?:\\b|x)".repeat(12) } } },
    "CF008",
    "is too complex: many parts in a row",
  ],
  ["a list compared by an operator", { condition: { plan: { $eq: ["pro"] } } }, "CF001", "$eq has the value"],
  ["operators beside values", { condition: { plan: { $ne: "pro", x: 1 } } }, "CF001", "mixes operators and values"],
  ["a saved group", { condition: { plan: { $inGroup: "staff" } } }, "CF001", "Saved groups are not served"],
  [
    "a named person by a trait",
    { condition: { $nor: [{ "email.x": { $regex: "ada" } }] } },
    "CF001",
    "identifies people",
  ],
  ["a named person", { condition: { $or: [{ plan: "pro" }, { id: "ada" }] } }, "CF001", "identifies people"],
  ["an empty list of conditions", { condition: { $or: [] } }, "CF001", "$or has the value []"],
  [
    "a prerequisite that does not exist",
    { parent_conditions: [{ id: "x", condition: { value: true } }] },
    "CF002",
    'no feature "x"',
  ],
  [
    "a prerequisite that is itself",
    { parent_conditions: [{ id: "player", condition: { value: true } }] },
    "CF001",
    "would need itself",
  ],
  ["an unknown set of people", { population: "countd" }, "CF002", 'Did you mean "counted"?'],
  ["an unknown stratum", { strata: "trait.plann" }, "CF002", 'Did you mean "plan"?'],
  ["strata that are neither", { strata: "plan" }, "CF001", 'Give "trait." or "set."'],
  ["an unknown test", { test: "sequentiel" }, "CF001", 'Did you mean "sequential"?'],
  ["a level above a half", { alpha: 0.5 }, "CF001", "alpha is 0.5"],
  ["a duration that cannot be read", { minimum_duration: "soon" }, "CF001", 'minimum_duration is "soon"'],
  ["a duration without end", { maximum_duration: "infinity" }, "CF001", 'maximum_duration is "infinity"'],
  ["an end before the minimum", { maximum_duration: "1 day" }, "CF001", "at least minimum_duration"],
  ["a version below the minimum", { min_bucket_version: 1 }, "CF001", "at most bucket_version"],
  [
    "minimum weights above 1",
    {
      bandit: "thompson",
      minimum_weight: 0.5,
      variations: [
        { key: "a", value: true },
        { key: "b", value: true },
        { key: "c", value: true },
      ],
    },
    "CF001",
    "add up to 1 at most",
  ],
  ["an unknown metric", { goals: ["submited"] }, "CF002", 'Did you mean "submitted"?'],
  [
    "a weight that is almost 0",
    {
      weights: [0.5, 0.5, 1e-320],
      variations: [
        { key: "a", value: true },
        { key: "b", value: true },
        { key: "c", value: true },
      ],
    },
    "CF001",
    "the weight of a variation is 0",
  ],
  [
    "a bandit with a variation that gets no people",
    { bandit: "thompson", weights: [1, 0] },
    "CF001",
    "weights is [1, 0]",
  ],
  ["a bandit whose people move", { bandit: "thompson", is_sticky: false }, "CF001", "is_sticky is false"],
  ["a metric twice", { guardrails: ["submitted"] }, "CF001", "is given twice"],
  ["a margin of a goal", { goals: [{ metric: "submitted", margin: 0.1 }] }, "CF001", "Only guardrails have a margin"],
  ["a negative margin", { guardrails: [{ metric: "lessons", margin: -1 }] }, "CF001", "margin is -1"],
  ["a goal that is a number", { goals: [1] }, "CF001", "an element of goals is 1"],
  ["a definition that is too long", { hypothesis: "x".repeat(200_000) }, "CF008", "200,000 bytes"],
];

test("an empty list is the same as none", async () => {
  await database.as("insights_admin", {}, async (db) => {
    const stored = async (fields: Record<string, unknown>) => {
      await db.query("select experiment.define_experiment($1)", [definition(fields)]);
      return await db.value("select experiment.definition('new-player')");
    };
    const none = await stored({});
    const changes = await db.value("select count(*) from experiment.change");
    expect(await stored({ secondary: [], guardrails: [], parent_conditions: [] })).toEqual(none);
    expect(await db.value("select count(*) from experiment.change")).toEqual(changes);
    await stored({ goals: [] });
    expect(await db.rejects("select experiment.start('new-player')")).toMatchObject({ code: "CF003" });
  });
});

test("the weights of a bandit cannot follow a quantile", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(
      `select experiment.define_metric('slow', 'quantile', '{Lesson Completed}', value_property => 'score', quantile => 0.9)`,
    );
    await define(db, { goals: ["submitted", "slow"], bandit: "thompson" });
    const error = await db.rejects("select experiment.define_experiment($1)", [
      definition({ goals: ["slow"], bandit: "thompson" }),
    ]);
    expect([error.code, error.message]).toEqual(["CF001", 'the first goal "slow" is a quantile']);
  });
});

test("the weights of a started bandit are no longer those of its definition", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { bandit: "thompson" });
    await db.query("select experiment.start('new-player')");
    await db.query("reset role");
    await db.query(
      "insert into experiment.weighting select experiment_id, clock_timestamp(), '{0.1,0.9}' from experiment.experiment where bandit is not null",
    );
    await db.query("set local role insights_admin");
    expect(
      await db.value("select (experiment.define_experiment($1)).state", [definition({ bandit: "thompson" })]),
    ).toBe("running");
    const error = await db.rejects("select experiment.define_experiment($1)", [definition({ bandit: "top_two" })]);
    expect([error.code, error.message]).toEqual(["CF003", expect.stringContaining('its field "bandit" differs')]);
  });
});

test("the same definition changes nothing when others have its layer, its holdout or its traits meanwhile", async () => {
  await database.as("insights_admin", {}, async (db) => {
    const fields = {
      layer: "page",
      layer_from: 0.5,
      holdout: "none-2026",
      condition: { plan: "pro" },
      strata: "trait.plan",
    };
    await define(db, fields);
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.stop('new-player', 'Enough.')");
    await db.query("select experiment.end_holdout('none-2026')");
    await define(db, { key: "next", layer: "page", layer_from: 0.5 });
    await db.query("reset role");
    await db.query("delete from track.trait");
    expect(await db.value("select (experiment.define_experiment($1)).state", [definition(fields)])).toBe("stopped");
  });
});

test.each(invalid)("refuses %s", async (_why, fields, code, message) => {
  const error = await database.rejects("select experiment.define_experiment($1)", [definition(fields)]);
  expect([error.code, `${error.message}: ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
  expect(error.message.length).toBeLessThan(300);
});

test("refuses a condition of hostile depth, and other values than objects, before anything is stored", async () => {
  let condition: unknown = { plan: "pro" };
  for (let level = 0; level < 2000; level += 1) condition = { $not: condition };
  for (const [given, code] of [
    [definition({ condition }), "CF008"],
    [definition({ condition: { plan: JSON.parse(`${'{"$not":'.repeat(500)}1${"}".repeat(500)}`) } }), "CF008"],
    ["[]", "CF001"],
    ["1", "CF001"],
    [null, "CF001"],
  ] as const) {
    const error = await database.rejects("select experiment.define_experiment($1)", [given]);
    expect(error.code, String(given).slice(0, 100)).toBe(code);
  }
  expect(await database.rows("select experiment_key from experiment.experiment")).toEqual([
    { experiment_key: "other" },
  ]);
});

test("keys that differ in a sign alone are not distinguished", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    const error = await db.rejects("select experiment.define_experiment($1)", [definition({ key: "new_player" })]);
    expect([error.code, error.message]).toEqual(["CF003", 'there is an experiment "new-player"']);
  });
});

test("the result does not depend on the settings of the session", async () => {
  const stored = await database.as("insights_admin", {}, async (db) => {
    await define(db, { minimum_duration: "1 week 2 hours" });
    return await db.value("select experiment.definition('new-player')");
  });
  const settings = {
    IntervalStyle: "sql_standard",
    DateStyle: "German",
    TimeZone: "Asia/Kolkata",
    extra_float_digits: "-15",
  };
  await database.as("insights_admin", settings, async (db) => {
    await define(db, { minimum_duration: "1 week 2 hours" });
    expect(await db.value("select experiment.definition('new-player')")).toEqual(stored);
  });
});

test("only administrators define experiments", async () => {
  expect(await rolesThatMay(database, "select experiment.define_experiment('{}')")).toEqual(["admin"]);
});
