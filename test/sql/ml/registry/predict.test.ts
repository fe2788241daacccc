import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houses, inputs, registry, small } from "./registry.ts";

const database = await lab();
const { train } = registry(database);

beforeAll(() => houses(database));

describe("answers", () => {
  /** The predictions of ml.predict for every row, to compare with ml.predict_table. */
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
    await train("house.price", "regression", "price", `, ${inputs}, ${small}`);
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

describe("errors", () => {
  test.each([["an unknown project", "select ml.predict('house.prize', '{}')", "CF002", /house\.price/]])(
    "%s",
    async (_, sql, code, hint) => {
      const error = await database.rejects(sql);
      expect(error).toMatchObject({ code });
      expect(error.hint ?? "").toMatch(hint);
    },
  );

  test("a project whose versions were never deployed is not trained", async () => {
    await database.query(
      `select ml.register_model('house.shelf', 'regression', 'external', '{"kind": "linear", "link": "identity", "intercept": 1, "features": []}')`,
    );
    expect(await database.rejects("select ml.predict('house.shelf', '{}')")).toMatchObject({ code: "CF006" });
    expect(await database.value("select ml.predict('house.shelf', '{}', 1)")).toBe(1);
  });
});
