import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { columns, houses, inputs, registry, small } from "./registry.ts";

const database = await lab();
const { train } = registry(database);

beforeAll(() => houses(database));

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
    // 1, 0 | 0 1 0 | 1: computed directly, blocks {1, 2, 3} → 1/3, {4, 5} → 1/2, {6} → 1.
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

describe("errors", () => {
  test.each([
    ["an unknown table", "select ml.train('p', 'regression', 'lab.hous', 'id', 'price')", "CF002", /house/],
    ["an unknown label", "select ml.train('p', 'regression', 'lab.house', 'id', 'pricy')", "CF002", /price/],
    [
      "a text as label",
      "select ml.train('p', 'regression', 'lab.house', 'id', 'area')",
      "CF001",
      /choose classification/,
    ],
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
      "invalid classes",
      "select ml.train('p', 'classification', 'lab.house', 'id', 'size', 'rooms')",
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
  ])("%s", async (_, sql, code, hint) => {
    const error = await database.rejects(sql);
    expect(error).toMatchObject({ code });
    expect(error.hint ?? "").toMatch(hint);
    expect(await database.value("select count(*) from ml.project where name = 'p'")).toBe("0");
  });
});

describe("rights", () => {
  test("analysts ask, workers train, learners do neither", async () => {
    await database.query("create table lab.whole as select * from lab.house where rooms is not null");
    await database.query(
      "select ml.train('house.whole', 'regression', 'lab.whole', 'id', 'price', features => 'size, rooms', algorithm => 'linregr', holdout => 'id % 4 = 0')",
    );
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

describe("labels and names", () => {
  test("columns that make up the label are not features", async () => {
    await database.query(`create table lab.learner as
      select id, (id * 37 % 101)::float8 as grade, (id * 7919 % 13)::float8 as hours, id % 7 as "Week"
      from generate_series(1, 400) as id`);
    const features = async (label: string, more = ""): Promise<unknown> => {
      await database.query(
        `select ml.train('lab.label', 'classification', 'lab.learner', 'id', $1, parameters => '{"num_trees": 3}'${more})`,
        [label],
      );
      return database.value(
        `select jsonb_path_query_array(coefficients, '$.features[*].name') from ml.model
         order by model_id desc limit 1`,
      );
    };
    expect(await features("grade >= 50")).toEqual(["hours", "Week"]);
    expect(await features("(grade::int % 2) + 0")).toEqual(["hours", "Week"]);
    expect(await features("case when GRADE between 0 and 50 then true else false end")).toEqual(["hours", "Week"]);
    expect(await features('"Week" > 3')).toEqual(["grade", "hours"]);
    expect(await features("grade > 50 and 'hours' <> 'Week'")).toEqual(["hours", "Week"]);
    expect(
      await database.rejects(
        "select ml.train('lab.label', 'classification', 'lab.learner', 'id', 'grade >= 50', 'grade, hours')",
      ),
    ).toMatchObject({ code: "CF001", message: expect.stringContaining('"grade"') });
  });

  test("columns may be named after words of SQL, and have domains over numbers", async () => {
    await database.query(`
      create domain lab.grade as float8 check (value >= 0);
      create domain lab.mark as lab.grade;
      create table lab.word as
      select i as "order", i::float8::lab.mark as "select", (i % 3)::text as "ünï", (i % 2) + i as "group", i % 5 as "user"
      from generate_series(1, 200) as i`);
    for (const algorithm of ["gbm", "linregr"]) {
      const more = algorithm === "gbm" ? `, parameters => '{"num_trees": 3}'` : ", features => 'select, user'";
      expect(
        await database.value(
          `select (ml.train('lab.word_${algorithm}', 'regression', 'lab.word', 'order', 'group', algorithm => '${algorithm}'${more})).outcome`,
        ),
      ).toBe("first");
    }
    const explained = await database.rows<{ feature: string }>(
      `select feature from ml.explain('lab.word_gbm', '{"select": 4, "ünï": "1", "user": 4}')`,
    );
    expect(explained.map(({ feature }) => feature).sort()).toEqual(["(base)", "select", "user", "ünï"]);
  });
});

test("linear models take text: a coefficient for each category", async () => {
  await database.query(`
    create table lab.device as
    select
      id, (hashint8extended(id, 1) & 1023) / 1024.0::float8 as x, (array['at', 'de', 'ch', null])[1 + (id * 7) % 4] as country,
      (array['phone', 'laptop', 'phone'])[1 + (id * 5) % 3] as device
    from generate_series(1::bigint, 2000) as id;
    alter table lab.device add y float8, add seen boolean;
    update lab.device set y = 3 * x + case country when 'at' then 1 when 'de' then 2 when 'ch' then -1 else 0 end
      + case device when 'laptop' then 5 else 0 end;
    update lab.device set seen = (hashint8extended(id, 5) & 1023) / 1024.0
      < 1 / (1 + exp(-(2 * x - 1 + case country when 'de' then 2 when 'ch' then -2 else 0 end)))`);
  const train = (name: string, task: string, label: string, algorithm: string): Promise<number> =>
    database.value(
      `select (ml.train('text.${name}', '${task}', 'lab.device', 'id', '${label}', 'x, country, device', algorithm => '${algorithm}')).value`,
    );
  expect(await train("line", "regression", "y", "linregr")).toBeLessThan(1e-9);
  const ask = (given: object): Promise<number> => database.value("select ml.predict('text.line', $1)", [given]);
  expect(await ask({ x: 1, country: "de", device: "laptop" })).toBeCloseTo(10, 9);
  expect(await ask({ x: 1, country: null, device: "phone" })).toBeCloseTo(3, 9);
  expect(await ask({ x: 1, country: "elsewhere", device: "phone" })).toBeCloseTo(3, 9);
  for (const algorithm of ["logregr", "elastic_net"]) {
    expect(await train(algorithm, "classification", "seen", algorithm)).toBeGreaterThan(0.75);
    const odds = async (country: string): Promise<number> => {
      const p = await database.value<number>(`select ml.predict('text.${algorithm}', $1)`, [
        { x: 0.5, country, device: "phone" },
      ]);
      return Math.log(p / (1 - p));
    };
    expect((await odds("de")) - (await odds("ch"))).toBeGreaterThan(3);
    expect((await odds("de")) - (await odds("ch"))).toBeLessThan(5);
  }
  const explained = await database.rows<{ feature: string; feature_value: string }>(
    `select feature, feature_value from ml.explain('text.line', '{"x": 1, "country": "de", "device": "laptop"}')`,
  );
  expect(explained.map(({ feature }) => feature).sort()).toEqual(["(base)", "country", "device", "x"]);
});

test("on a server that only reads, training is refused by name", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("set transaction read only");
    expect(await db.rejects("select ml.train('lab.read', 'regression', 'lab.house', 'id', 'size')")).toMatchObject({
      code: "CF005",
      message: "no table can be written: this server or transaction only reads",
    });
  });
});
