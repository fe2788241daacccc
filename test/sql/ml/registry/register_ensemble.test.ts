import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";
import { published } from "./xgboost.ts";

const database = await lab();
const { ask, imported } = registry(database);

const train = async (options: string): Promise<{ version: number; metrics: Record<string, number> }> => {
  const [row] = await database.rows<{ version: number; metrics: Record<string, number> }>(
    `select version, metrics from ml.train('house.sold', 'classification', 'lab.house', 'id', 'sold', ${options})`,
  );
  if (row === undefined) throw new Error("ml.train returned nothing");
  return row;
};
const ensemble = (versions: string, weights: string | null = null): Promise<number> =>
  database.value("select ml.register_ensemble('house.sold', $1, $2)", [versions, weights]);
const odds = (answer: number): number => Math.log(answer / (1 - answer));

beforeAll(async () => {
  await database.query(`
    create table lab.house as
    select id, (hashint8extended(id, 1) & 1023) / 128.0::float8 as size,
      case when id % 9 > 0 then (hashint8extended(id, 2) & 7)::int end as rooms,
      (array['north', 'south', null])[1 + (hashint8extended(id, 3) & 1023) % 3] as area,
      (hashint8extended(id, 1) & 1023) / 128.0 + (hashint8extended(id, 4) & 255) / 64.0
        + case when id % 9 > 0 then hashint8extended(id, 2) & 7 else 3 end / 4.0 > 6 as sold
    from generate_series(1, 1200) as id`);
  await train(`'size, area', algorithm => 'gbm', parameters => '{"num_trees": 30, "max_depth": 2}'`);
  await train(`'rooms', algorithm => 'logregr'`);
  await train(`'rooms, area, size', algorithm => 'forest', parameters => '{"num_trees": 10}'`);
  await train(`'size', calibration => 'isotonic', parameters => '{"num_trees": 10, "max_depth": 2}'`);
});

const answers = async (version: number): Promise<Map<string, number>> => {
  await database.query("drop table if exists lab.answer");
  await database.query("select ml.predict_table('house.sold', 'lab.house', 'lab.answer', 'id', $1)", [version]);
  const rows = await database.rows<{ id: string; prediction: number }>("select id, prediction from lab.answer");
  return new Map(rows.map(({ id, prediction }) => [String(id), prediction]));
};

describe("an ensemble", () => {
  test.each([
    ["{1,2}", null, [0.5, 0.5]],
    ["{4,2,1}", "{1,1,2}", [0.25, 0.25, 0.5]],
    ["{3,2}", "{1e5,3e5}", [0.25, 0.75]],
  ])("of %s, weights %s: the mean of the log odds, for a table and one by one", async (versions, weights, shares) => {
    const version = await ensemble(versions, weights);
    const members: Map<string, number>[] = [];
    for (const member of versions.slice(1, -1).split(",")) members.push(await answers(Number(member)));
    const whole = await answers(version);
    expect(whole.size).toBe(1200);
    let compared = 0;
    for (const [id, answer] of whole) {
      const parts = members.map((member) => member.get(id) ?? Number.NaN);
      // A forest may be certain; the ensemble keeps it 1e-15 away from 0 and 1.
      const bounded = parts.map((part) => Math.min(Math.max(part, 1e-15), 1 - 1e-15));
      const expected = bounded.reduce((sum, part, i) => sum + odds(part) * (shares[i] ?? Number.NaN), 0);
      expect(odds(answer)).toBeCloseTo(expected, 6);
      compared++;
    }
    expect(compared).toBe(1200);
    const rows = await database.rows<{ id: string; answer: number }>(
      "select id, ml.predict('house.sold', to_jsonb(house), $1) as answer from lab.house where id <= 40",
      [version],
    );
    for (const { id, answer } of rows) expect(answer).toBeCloseTo(whole.get(String(id)) ?? Number.NaN, 12);
    expect(
      await database.value(
        "select ml.predict_each('house.sold', array(select house from lab.house where id <= 3 order by id), $1)",
        [version],
      ),
    ).toEqual(["1", "2", "3"].map((id) => expect.closeTo(whole.get(id) ?? Number.NaN, 12)));
  });

  test("is measured, deployed and rolled back as any version, and can be better than its members", async () => {
    const version = await ensemble("{1,2}");
    expect(version).toBe(8);
    await database.query("select ml.deploy('house.sold', 1)");
    const [result] = await database.rows<{ value: number; champion_value: number; metrics: Record<string, number> }>(
      "select * from ml.challenge('house.sold', $1, 'lab.house', 'sold', 'ml.in_holdout(id::text)')",
      [version],
    );
    // Each member lacks a feature that the other one has.
    expect(result).toMatchObject({ outcome: "better", deployed: true, algorithm: "ensemble", champion_version: 1 });
    expect(Object.keys(result?.metrics ?? {})).toContain("log_loss");
    expect(result?.value).toBeGreaterThan(result?.champion_value ?? 1);
    expect(await database.value("select ml.deployed_version('house.sold')")).toBe(8);
    expect(
      await database.rows("select feature from ml.measure_drift('house.sold', 'lab.house') order by feature"),
    ).toMatchObject([{ feature: "area" }, { feature: "rooms" }, { feature: "size" }]);
    expect(await database.value("select ml.rollback('house.sold')")).toBe(1);
  });

  test("of models made elsewhere reads each in its own precision", async () => {
    const model = published.find(({ document }) => document.objective === "binary:logistic");
    if (model === undefined) throw new Error("there is no such model");
    await imported("made.elsewhere", "xgboost", model.document, "classification");
    const [name = ""] = model.names;
    await imported("made.elsewhere", "logistic", { coefficients: { [name]: 0.1 } }, "classification");
    expect(await database.value("select ml.register_ensemble('made.elsewhere', '{1,2}')")).toBe(3);
    for (const row of model.rows) {
      const given = Object.fromEntries(model.names.map((feature, i) => [feature, row[i] ?? null]));
      const [one, two, both] = await Promise.all(
        [1, 2, 3].map((version) =>
          database.value<number>("select ml.predict('made.elsewhere', $1, $2)", [given, version]),
        ),
      );
      expect(odds(both ?? 0)).toBeCloseTo((odds(one ?? 0) + odds(two ?? 0)) / 2, 9);
    }
    expect(
      await ask("made.elsewhere", Object.fromEntries(model.names.map((feature) => [feature, null]))),
    ).not.toBeNull();
  });

  test.each([
    ["an unknown project", "'house.sale', '{1,2}'", "CF002"],
    ["an unknown version", "'house.sold', '{1,99}'", "CF002"],
    ["one version", "'house.sold', '{1}'", "CF001"],
    ["a version twice", "'house.sold', '{1,1}'", "CF001"],
    ["no versions", "'house.sold', null", "CF001"],
    ["a null among them", "'house.sold', '{1,null}'", "CF001"],
    ["another number of weights", "'house.sold', '{1,2}', '{1}'", "CF001"],
    ["a weight of 0", "'house.sold', '{1,2}', '{1,0}'", "CF001"],
    ["a weight of NaN", "'house.sold', '{1,2}', '{1,NaN}'", "CF001"],
    ["an ensemble as member", "'house.sold', '{1,8}'", "CF001"],
    ["a regression", "'house.number', '{1,2}'", "CF001"],
  ])("%s is refused", async (_, parameters, code) => {
    await imported("house.number", "linear", { coefficients: { size: 1 } });
    const error = await database.rejects(`select ml.register_ensemble(${parameters})`);
    expect(error).toMatchObject({ code });
    expect(error.hint).toBeTruthy();
  });

  test("whose member is marked or missing raises an error that names it", async () => {
    const given = { size: 3, rooms: null, area: "north" };
    await database.query("select ml.mark_for_training('house.sold', 'unlearned', '{2}')");
    const error = await database.rejects("select ml.predict('house.sold', $1, 8)", [given]);
    expect(error).toMatchObject({
      code: "CF006",
      message: "version 2, a member of the ensemble, is marked for training",
    });
    expect(
      await database.rejects("select ml.predict_table('house.sold', 'lab.house', 'lab.none', 'id', 8)"),
    ).toMatchObject({ code: "CF006" });
    expect(await database.rejects("select ml.register_ensemble('house.sold', '{1,2}')")).toMatchObject({
      code: "CF006",
    });
    await database.query("delete from ml.model where model_id = (select model_id from ml._version('house.sold', 4))");
    expect(await database.rejects("select ml.predict('house.sold', $1, 6)", [given])).toMatchObject({
      code: "CF006",
      message: "version 4, a member of the ensemble, does not exist",
    });
  });
});
