import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { boosting, population } from "./trees.ts";

const database = await lab();
const { load, predict, train } = boosting(database);

describe("boosting", () => {
  test("serves classes and probabilities", async () => {
    await load(population(500).map((one) => ({ ...one, y: one.y > 1 ? 1 : 0 })));
    await train(", null, 'logistic', num_trees => 30");
    const probabilities = await predict("'prob'");
    const raw = await predict("'raw'");
    const classes = await predict("'response'");
    for (const [i, probability] of probabilities.entries()) {
      expect(probability).toBeCloseTo(1 / (1 + Math.exp(-(raw[i] ?? Number.NaN))), 12);
      expect(classes[i]).toBe((raw[i] ?? 0) > 0 ? 1 : 0);
    }
    await database.query("alter table lab.rows alter y type boolean using y = 1");
    await train(", num_trees => 30");
    expect(await predict()).toEqual(probabilities);
  });

  test("gives the most probable of several classes, and the probability of each", async () => {
    await load(population(300));
    await train(
      ", objective => 'softmax', num_trees => 5",
      "lab.rows",
      "(case when y > 2 then 20 when y > 1 then 3 end)",
    );
    await database.query("drop table if exists lab.shares, lab.classes");
    await database.query("select ml.gbm_predict('lab.model', 'lab.rows', 'lab.shares', 'prob')");
    await database.query("select ml.gbm_predict('lab.model', 'lab.rows', 'lab.classes')");
    const rows = await database.rows<{ estimated_prob_3: number; estimated_prob_20: number; prediction: number }>(
      "select * from lab.shares join lab.classes using (id)",
    );
    expect(rows.length).toBe(300);
    for (const row of rows) {
      expect(row.estimated_prob_3 + row.estimated_prob_20).toBeCloseTo(1, 12);
      expect(row.prediction).toBe(row.estimated_prob_3 > row.estimated_prob_20 ? 3 : 20);
    }
    expect(new Set(rows.map((row) => row.prediction))).toEqual(new Set([3, 20]));
  });

  test("sends what it never saw the way that each split learned", async () => {
    await load(population(500));
    await train(", num_trees => 10");
    await load([{ a: null, b: 3, c: null, y: 0 }], "lab.unseen");
    const missing = await predict("null", "lab.unseen");
    await database.query("update lab.unseen set c = 'never seen', a = 'NaN'");
    expect(await predict("null", "lab.unseen")).toEqual(missing);
  });
});

describe("invalid input is refused by name, and leaves nothing behind", () => {
  test("an existing table, or one that the caller may not read", async () => {
    await load(population(50));
    await train(", num_trees => 1, min_rows => 1");
    expect(await database.rejects("select ml.gbm_predict('lab.rows', 'lab.rows', 'lab.other')")).toMatchObject({
      code: "CF002",
    });
    await database.query("create table lab.narrow as select id, a, b from lab.rows");
    expect(await database.rejects("select ml.gbm_predict('lab.model', 'lab.narrow', 'lab.other')")).toMatchObject({
      code: "CF002",
    });
    for (const [call, code] of [
      ["'lab.model', 'lab.rows', 'lab.other', 'votes'", "CF001"],
      ["'lab.model', 'lab.rows', 'lab.rows'", "CF003"],
    ] as const) {
      expect(await database.rejects(`select ml.gbm_predict(${call})`), call).toMatchObject({ code });
    }
    expect(await database.value("select to_regclass('lab.other')")).toBeNull();
  });
});
