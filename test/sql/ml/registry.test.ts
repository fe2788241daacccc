import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

interface Training {
  project: string;
  version: number;
  deployed: boolean;
  outcome: string;
  metric: string;
  value: number;
  champion_version: number | null;
  champion_value: number | null;
  metrics: Record<string, number>;
  row_count: string;
  holdout_row_count: string;
}

/** Trains on the table of the file; `options` are further named arguments. */
async function train(project: string, task: string, label: string, options = ""): Promise<Training> {
  const [row] = await database.rows<Training>(`select * from ml.train($1, $2, 'lab.house', 'id', $3 ${options})`, [
    project,
    task,
    label,
  ]);
  if (row === undefined) throw new Error("ml.train returned nothing");
  return row;
}

const small = `parameters => '{"num_trees": 15, "max_depth": 3, "learning_rate": 0.3}'`;
const inputs = `features => 'size, rooms, area, "Odd; name"'`;
const columns = ["size", "rooms", "area", "Odd; name"];

beforeAll(async () => {
  await database.query("create schema lab");
  // Hashes, not random(): the same rows on every server.
  await database.query(`
    create table lab.house as
    select
      id,
      1 + (hashint8extended(id, 1) & 1023) / 128.0::float8 as size,
      case when id % 7 <> 0 then (hashint8extended(id, 2) & 7)::int end as rooms,
      (array['north', 'south', null])[1 + (hashint8extended(id, 3) & 1023) % 3] as area,
      (hashint8extended(id, 4) & 1023) / 1024.0::float8 as "Odd; name",
      id % 40 as street,
      timestamptz '2026-01-01 00:00Z' + id * interval '1 hour' as asked_at,
      (hashint8extended(id, 5) & 1023) / 1024.0::float8 as chance
    from generate_series(1, 1200) as id`);
  await database.query(`
    alter table lab.house add price float8, add sold boolean;
    update lab.house set price = 10 + 3 * size - coalesce(rooms, 3) + case area when 'north' then 4 else 0 end + chance / 2;
    update lab.house set sold = chance < 1 / (1 + exp(8 - 1.6 * size - case area when 'north' then 1 else 0 end))`);
});

describe("versions", () => {
  test("the first deploys itself, a better one follows, a worse one does not", async () => {
    const worst = await train("house.price", "regression", "price", `, features => '"Odd; name"', ${small}`);
    expect(worst).toMatchObject({ version: 1, deployed: true, outcome: "first", metric: "root_mean_squared_error" });
    const best = await train("house.price", "regression", "price", `, ${inputs}, ${small}`);
    expect(best).toMatchObject({ version: 2, deployed: true, outcome: "better", champion_version: 1 });
    expect(best.value).toBeLessThan(worst.value / 2);
    // Both on the same rows: what the first scored when it was alone.
    expect(best.champion_value).toBeCloseTo(worst.value, 12);
    const worse = await train("house.price", "regression", "price", ", features => 'size', algorithm => 'linregr'");
    expect(worse).toMatchObject({ version: 3, deployed: false, outcome: "worse", champion_version: 2 });
    expect(worse.champion_value).toBeCloseTo(best.value, 12);
    expect(
      await database.rows("select strategy, version from ml.deployment join ml.model using (model_id) order by 1"),
    ).toEqual([
      { strategy: "better", version: 2 },
      { strategy: "first", version: 1 },
    ]);
    expect(await database.value("select array_agg(outcome order by comparison_id) from ml.comparison")).toEqual([
      "first",
      "better",
      "worse",
    ]);
    expect(await database.value("select count(*) > 0 from ml.watch_models()")).toBe(true);
  });

  test("the same seed and data give the same model, which is not deployed twice", async () => {
    const again = await train("house.price", "regression", "price", `, ${inputs}, ${small}`);
    expect(again).toMatchObject({ version: 4, deployed: false, outcome: "equal" });
    expect(
      await database.value(
        `select count(*) from (
           select tree, node, feature, threshold, categories, value from ml.tree_node where model_id = (select model_id from ml._version('house.price', 2))
           except select tree, node, feature, threshold, categories, value from ml.tree_node where model_id = (select model_id from ml._version('house.price', 4))
         ) as different`,
      ),
    ).toBe("0");
  });

  test("are put in force by hand, and rolled back one after the other to the first", async () => {
    const deployed = (): Promise<number> => database.value("select (ml._version('house.price')).version");
    expect(await database.value("select ml.deploy('house.price', 3)")).toBe(3);
    expect(await deployed()).toBe(3);
    expect(await database.value("select ml.rollback('house.price')")).toBe(2);
    expect(await deployed()).toBe(2);
    expect(await database.value("select ml.rollback('house.price')")).toBe(1);
    expect(await database.rejects("select ml.rollback('house.price')")).toMatchObject({ code: "CF004" });
    expect(await database.value("select ml.deploy('house.price', 2)")).toBe(2);
    expect(await database.value("select ml.rollback('house.price')")).toBe(1);
    await database.query("select ml.deploy('house.price', 2)");
  });

  test("keep what they were made with: parameters, seed, watermark, rows", async () => {
    const [model] = await database.rows(
      "select algorithm, seed, row_count, parameters, data_watermark is not null as watermarked from ml._version('house.price', 2)",
    );
    expect(model).toMatchObject({ algorithm: "gbm", seed: "0", watermarked: true });
    expect(model?.["parameters"]).toMatchObject({
      num_trees: 15,
      label: "price",
      source_table: "lab.house",
      features: columns,
    });
    const held = await database.value<string>(
      "select row_count from ml.comparison where challenger_model_id = (select model_id from ml._version('house.price', 2))",
    );
    expect(Number(model?.["row_count"]) + Number(held)).toBe(1200);
  });
});

describe("answers", () => {
  /** What ml.predict says of every row, beside ml.predict_table. */
  async function both(project: string): Promise<{ alone: number; together: number }[]> {
    await database.query("drop table if exists lab.answer");
    expect(await database.value(`select ml.predict_table('${project}', 'lab.house', 'lab.answer', 'id')`)).toBe("1200");
    return database.rows(
      `select ml.predict('${project}', to_jsonb(house)) as alone, prediction as together
       from lab.house join lab.answer using (id) where id % 6 = 0 order by id`,
    );
  }

  test.each([
    ["gbm", "house.gbm", "classification", "sold", `, ${inputs}, ${small}, calibration => 'platt'`],
    [
      "gbm with isotonic calibration",
      "house.isotonic",
      "classification",
      "sold",
      `, ${inputs}, ${small}, calibration => 'isotonic'`,
    ],
    ["logregr", "house.logregr", "classification", "sold", `, features => 'size, rooms', algorithm => 'logregr'`],
    ["elastic_net", "house.net", "classification", "sold", `, features => 'size, rooms', algorithm => 'elastic_net'`],
    [
      "linregr",
      "house.linregr",
      "regression",
      "price",
      `, features => 'size, "Odd; name", rooms', algorithm => 'linregr'`,
    ],
  ])(
    "of %s are the same one by one and for a table, and its explanation sums to them",
    async (_, project, task, label, options) => {
      const result = await train(project, task, label, options);
      if (task === "classification") expect(result.value).toBeGreaterThan(0.85);
      for (const { alone, together } of await both(project)) expect(alone).toBeCloseTo(together, 12);
      const [sums] = await database.rows<{ most: number }>(`
      select max(abs(explained.score - ml._score(ml._version('${project}'), to_jsonb(house)))) as most
      from lab.house
      cross join lateral (select sum(contribution) as score from ml.explain('${project}', to_jsonb(house))) as explained
      where id <= 10`);
      expect(sums?.most).toBeLessThan(1e-9);
    },
  );

  test("of a linear model are those of the regression itself, where nothing is missing", async () => {
    await database.query("create table lab.whole as select * from lab.house where rooms is not null");
    await database.query(
      "select ml.train('house.whole', 'regression', 'lab.whole', 'id', 'price', features => 'size, rooms', algorithm => 'linregr', holdout => 'id % 4 = 0')",
    );
    await database.query("create view lab.trained as select * from lab.whole where id % 4 <> 0");
    await database.query(
      "select ml.linregr_train('lab.trained', 'lab.coefficients', 'price', 'array[1, size, rooms]')",
    );
    const coef = await database.value<number[]>("select coef from lab.coefficients");
    expect(await database.value(`select ml.predict('house.whole', '{"size": 2.5, "rooms": 4}')`)).toBeCloseTo(
      (coef[0] ?? 0) + 2.5 * (coef[1] ?? 0) + 4 * (coef[2] ?? 0),
      10,
    );
  });

  test("pay no heed to what the model does not know, and say what they miss", async () => {
    const given = { size: 4, rooms: null, area: "north", "Odd; name": 0.5 };
    const answer = await database.value("select ml.predict('house.price', $1)", [given]);
    expect(await database.value("select ml.predict('house.price', $1)", [{ ...given, colour: "red" }])).toBe(answer);
    // A category that was never seen counts as a missing one.
    expect(await database.value("select ml.predict('house.price', $1)", [{ ...given, area: "moon" }])).toBe(
      await database.value("select ml.predict('house.price', $1)", [{ ...given, area: null }]),
    );
    const misspelt = await database.rejects("select ml.predict('house.price', $1)", [
      { ...given, rooms: undefined, room: 3 },
    ]);
    expect(misspelt).toMatchObject({ code: "CF001", message: 'the feature "rooms" is not given' });
    expect(misspelt.hint).toContain('"room"');
    expect(await database.rejects("select ml.predict('house.price', $1)", [{ ...given, size: "big" }])).toMatchObject({
      code: "CF001",
    });
    expect(
      await database.rejects(
        `select ml.predict('house.price', '{"size": 1e400, "rooms": 1, "area": null, "Odd; name": 1}')`,
      ),
    ).toMatchObject({ code: "CF001" });
    expect(await database.rejects("select ml.predict('house.price', 'null')")).toMatchObject({ code: "CF001" });
  });
});

describe("what is held out", () => {
  test("is the latest where rows have a time, and only labels that were known by then are learned from", async () => {
    const result = await train(
      "house.timed",
      "regression",
      "price",
      `, features => 'size, rooms', algorithm => 'linregr', predicted_at => 'asked_at', feature_known_at => 'asked_at',
         label_known_at => 'asked_at + interval ''100 hours''', holdout_share => 0.25`,
    );
    expect(result.holdout_row_count).toBe("301");
    // Rows within 100 hours of the cut-off are in neither part.
    expect(result.row_count).toBe("800");
    expect(
      await database.value(
        "select data_watermark < timestamptz '2026-01-01 00:00Z' + interval '901 hours' from ml._version('house.timed')",
      ),
    ).toBe(true);
  });

  test("a feature that uses what came after is refused", async () => {
    const error = await database.rejects(
      `select ml.train('house.leak', 'regression', 'lab.house', 'id', 'price', features => 'size', algorithm => 'linregr',
         predicted_at => 'asked_at', feature_known_at => 'asked_at + case when id = 77 then interval ''1 second'' else interval ''0'' end')`,
    );
    expect(error).toMatchObject({ code: "CF001" });
    expect(error.message).toContain("leaks: 1 rows");
    expect(await database.value("select count(*) from ml.project where name = 'house.leak'")).toBe("0");
  });

  test("groups are kept together", async () => {
    const result = await train(
      "house.grouped",
      "regression",
      "price",
      `, features => 'size, rooms', algorithm => 'linregr', group_column => 'street', holdout_share => 0.3`,
    );
    // 40 streets of 30 houses each.
    expect(Number(result.holdout_row_count) % 30).toBe(0);
    expect(Number(result.holdout_row_count)).toBeGreaterThan(0);
  });
});

describe("calibration", () => {
  async function calibrate(method: string, scores: number[], observed: number[]): Promise<Record<string, unknown>> {
    await database.query("drop table if exists lab.scored");
    await database.query(
      "create table lab.scored as select * from unnest($1::float8[], $2::int[]) as row (score, observed)"
        .replace("$1", `'{${scores}}'`)
        .replace("$2", `'{${observed}}'`),
    );
    return database.value("select ml._fit_calibration('lab.scored', $1)", [method]);
  }

  test("isotonic pools neighbours that violate the order", async () => {
    // 1, 0 | 0 1 0 | 1: by hand, blocks {1, 2, 3} → 1/3, {4, 5} → 1/2, {6} → 1.
    expect(await calibrate("isotonic", [1, 2, 3, 4, 5, 6], [1, 0, 0, 1, 0, 1])).toMatchObject({
      scores: [2, 4.5, 6],
      answers: [1 / 3, 1 / 2, 1],
    });
  });

  test("isotonic ascends and keeps the mean, whatever it is given", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: -20, max: 20 }), fc.integer({ min: 0, max: 1 })), {
          minLength: 1,
          maxLength: 40,
        }),
        async (rows) => {
          const fitted = await calibrate(
            "isotonic",
            rows.map(([score]) => score),
            rows.map(([, label]) => label),
          );
          const answers = fitted["answers"] as number[];
          expect(answers).toEqual([...answers].sort((a, b) => a - b));
          expect(Math.min(...answers)).toBeGreaterThanOrEqual(0);
          expect(Math.max(...answers)).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("Platt's makes probabilities of scores that are too bold", async () => {
    // True log odds are a third of the scores.
    const scores = Array.from({ length: 4000 }, (_, i) => ((i % 100) - 50) / 8);
    const observed = scores.map((score, i) => (((i * 7919) % 4001) / 4001 < 1 / (1 + Math.exp(-score / 3)) ? 1 : 0));
    const fitted = await calibrate("platt", scores, observed);
    expect(fitted["slope"]).toBeCloseTo(1 / 3, 1);
    expect(Math.abs(fitted["intercept"] as number)).toBeLessThan(0.1);
    // Perfectly separated scores stay finite.
    const separated = await calibrate("platt", [1, 2, 3, 4], [0, 0, 1, 1]);
    expect(Number.isFinite(separated["slope"])).toBe(true);
  });
});

describe("drift", () => {
  test("the population stability index, by hand", async () => {
    const value = await database.value<number>(
      "select ml.population_stability_index('{50, 30, 20}', '{0.4, 0.3, 0.3}')",
    );
    expect(value).toBeCloseTo(-0.1 * Math.log(0.4 / 0.5) + 0.1 * Math.log(0.3 / 0.2), 12);
  });

  test("the index is 0 for equal shares, symmetric, and never negative", async () => {
    const bins = fc
      .array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 50 })), { minLength: 1, maxLength: 8 })
      .filter((drawn) => drawn.some(([a]) => a > 0) && drawn.some(([, b]) => b > 0));
    await fc.assert(
      fc.asyncProperty(bins, async (drawn) => {
        const [row] = await database.rows<{ there: number; back: number; same: number }>(
          `select ml.population_stability_index($1, $2) as there, ml.population_stability_index($2, $1) as back,
             ml.population_stability_index($1, (select array_agg(3 * value order by place) from unnest($1::float8[]) with ordinality as bin (value, place))) as same`,
          [drawn.map(([a]) => a), drawn.map(([, b]) => b)],
        );
        expect(row?.there).toBeGreaterThanOrEqual(-1e-12);
        expect(row?.back).toBeCloseTo(row?.there ?? Number.NaN, 10);
        expect(row?.same).toBeCloseTo(0, 10);
      }),
      { numRuns: 25 },
    );
  });

  test("is seen where it is and nowhere else", async () => {
    await database.query(
      `create table lab.later as select id, size + 3 as size, rooms, area, "Odd; name", price + 9 as price from lab.house`,
    );
    const rows = await database.rows<{ statistic: string; feature: string | null; verdict: string; value: number }>(
      "select statistic, feature, verdict, value from ml.measure_drift('house.price', 'lab.later', 'price')",
    );
    const verdict = Object.fromEntries(rows.map((row) => [row.feature ?? row.statistic, row.verdict]));
    expect(verdict).toMatchObject({
      size: "drifted",
      rooms: "stable",
      area: "stable",
      "Odd; name": "stable",
      calibration: "drifted",
      metric: "drifted",
    });
    const same = await database.rows<{ verdict: string }>(
      "select verdict from ml.measure_drift('house.price', 'lab.house', 'price')",
    );
    expect(new Set(same.map((row) => row.verdict))).toEqual(new Set(["stable"]));
  });

  test("a label that is an expression is not evaluated with the rights of whoever watches", async () => {
    await database.query(`
      create function lab.priced(price float8) returns float8 language plpgsql as $$ begin return price; end $$;
      select ml.train('house.priced', 'regression', 'lab.house', 'id', 'lab.priced(price)', features => 'size', algorithm => 'linregr');
      create or replace function lab.priced(price float8) returns float8 language plpgsql as
        $$ begin raise exception 'ran as %', current_user; end $$`);
    const statistics = await database.value<string[]>(
      `select array_agg(distinct drift.statistic)
       from ml.watch_models() as drift join ml.model using (model_id) join ml.project using (project_id)
       where project.name = 'house.priced'`,
    );
    expect(statistics).toEqual(["population_stability_index"]);
  });

  test("a table that has changed keeps no other from being watched", async () => {
    await database.query("create table lab.gone as select * from lab.house");
    await database.query(
      "select ml.train('house.gone', 'regression', 'lab.gone', 'id', 'price', features => 'size', algorithm => 'linregr')",
    );
    await database.query("alter table lab.gone drop column size");
    const watched = await database.value<string[]>(
      "select array_agg(distinct project.name) from ml.watch_models() as drift join ml.model using (model_id) join ml.project using (project_id)",
    );
    expect(watched).toContain("house.price");
    expect(watched).not.toContain("house.gone");
  });
});

describe("errors", () => {
  test.each([
    ["an unknown project", "select ml.predict('house.prize', '{}')", "CF002", /house\.price/],
    ["an unknown version", "select ml.deploy('house.price', 99)", "CF002", /1 to 4/],
    ["a null version", "select ml.deploy('house.price', null)", "CF001", /number/],
    ["an unknown table", "select ml.train('p', 'regression', 'lab.hous', 'id', 'price')", "CF002", /house/],
    ["an unknown label", "select ml.train('p', 'regression', 'lab.house', 'id', 'pricy')", "CF002", /price/],
    ["a text as label", "select ml.train('p', 'regression', 'lab.house', 'id', 'area')", "CF001", /encode|Cast/],
    [
      "an expression as feature",
      "select ml.train('p', 'regression', 'lab.house', 'id', 'price', 'size * 2')",
      "CF002",
      /columns|Did/,
    ],
    [
      "an unknown algorithm",
      "select ml.train('p', 'regression', 'lab.house', 'id', 'price', algorithm => 'magic')",
      "CF001",
      /gbm/,
    ],
    [
      "an algorithm of another task",
      "select ml.train('p', 'regression', 'lab.house', 'id', 'price', algorithm => 'logregr')",
      "CF001",
      /linregr/,
    ],
    [
      "an unknown parameter",
      `select ml.train('p', 'regression', 'lab.house', 'id', 'price', parameters => '{"num_tree": 3}')`,
      "CF001",
      /num_trees/,
    ],
    [
      "a name with quotes and semicolons",
      `select ml.train('p"; drop table x', 'regression', 'lab.house', 'id', 'price', 'size', algorithm => 'linregr')`,
      "CF001",
      /lower case/,
    ],
    [
      "classes that are none",
      "select ml.train('p', 'classification', 'lab.house', 'id', 'rooms', 'size')",
      "CF001",
      /boolean/,
    ],
    [
      "everything held out",
      "select ml.train('p', 'regression', 'lab.house', 'id', 'price', holdout => 'true')",
      "CF004",
      /label/,
    ],
    [
      "another task for a project",
      "select ml.train('house.price', 'classification', 'lab.house', 'id', 'sold', 'size', algorithm => 'logregr')",
      "CF010",
      /own/,
    ],
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

  test("a project whose versions were never deployed is not trained", async () => {
    await database.query(
      `select ml.register_model('house.shelf', 'regression', 'by hand', '{"kind": "linear", "link": "identity", "intercept": 1, "features": []}')`,
    );
    expect(await database.rejects("select ml.predict('house.shelf', '{}')")).toMatchObject({ code: "CF006" });
    expect(await database.value("select ml.predict('house.shelf', '{}', 1)")).toBe(1);
  });
});

describe("rights", () => {
  test("analysts ask, workers train, learners do neither", async () => {
    await database.query(
      "grant usage on schema lab to insights_analyst, insights_worker; grant select on lab.house to insights_worker",
    );
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.value("select count(*) > 0 from ml.model")).toBe(true);
      expect(await db.value(`select ml.predict('house.whole', '{"size": 2.5, "rooms": 4}')`)).toBeGreaterThan(0);
      expect(await db.rejects("select ml.train('a', 'regression', 'lab.house', 'id', 'price', 'size')")).toMatchObject({
        code: "42501",
      });
      expect(await db.rejects("select ml.rollback('house.price')")).toMatchObject({ code: "42501" });
      expect(
        await db.rejects("insert into ml.model (project_id, version, algorithm) values (1, 9, 'x')"),
      ).toMatchObject({ code: "42501" });
      expect(await db.rejects("select ml.predict_table('house.price', 'lab.house', 'lab.mine', 'id')")).toMatchObject({
        code: "CF005",
      });
    });
    await database.as("insights_worker", {}, async (db) => {
      const [trained] = await db.rows(
        `select * from ml.train('house.worker', 'classification', 'lab.house', 'id', 'sold', ${inputs}, ${small}, predicted_at => 'asked_at', feature_known_at => 'asked_at')`,
      );
      expect(trained).toMatchObject({ version: 1, deployed: true });
    });
    await database.as("insights_worker", {}, async (db) => {
      expect(await db.rejects("select ml.train('a', 'regression', 'lab.whole', 'id', 'price', 'size')")).toMatchObject({
        code: "CF005",
      });
    });
    await database.as("insights_learner", {}, async (db) => {
      expect(await db.rejects(`select ml.predict('house.whole', '{}')`)).toMatchObject({ code: "42501" });
    });
  });
});
