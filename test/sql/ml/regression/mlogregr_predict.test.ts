import { beforeAll, describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { categories, train } from "./regression.ts";

const database = await lab();

describe("MADlib's documented example", () => {
  beforeAll(() => load(database, "lab.sample", "a int, b int, y int", categories));

  test("predicted probabilities sum to the observed counts", async () => {
    await train(database, "ml.mlogregr_train('lab.sample', 'lab.model', 'y', 'array[1, a, b]')");
    await database.query("alter table lab.sample add column if not exists id int generated always as identity");
    await database.query("drop table if exists lab.prob, lab.response");
    await database.query("select ml.mlogregr_predict('lab.model', 'lab.sample', 'id', 'lab.prob', 'prob')");
    await database.query("select ml.mlogregr_predict('lab.model', 'lab.sample', 'id', 'lab.response')");
    const [sums] = await database.rows<Record<string, number>>(
      "select sum(estimated_prob_0) as p0, sum(estimated_prob_1) as p1, sum(estimated_prob_2) as p2 from lab.prob",
    );
    for (const category of [0, 1, 2]) {
      expect(sums?.[`p${category}`]).toBeCloseTo(categories.filter((row) => row.y === category).length, 6);
    }
    expect(
      await database.value(
        "select count(*) from lab.prob join lab.response using (id) where greatest(estimated_prob_0, estimated_prob_1, estimated_prob_2) <> case category when 0 then estimated_prob_0 when 1 then estimated_prob_1 else estimated_prob_2 end",
      ),
    ).toBe("0");
  });
});

test("a model for each group has no single answer, and is refused", async () => {
  await load(database, "lab.grouped", "a int, b int, y int, g text", [
    ...categories.map((row) => ({ ...row, g: "all" })),
    ...categories.filter((row) => row.b > 31).map((row) => ({ ...row, g: "most" })),
  ]);
  await train(database, "ml.mlogregr_train('lab.grouped', 'lab.model', 'y', 'array[1, a, b]', 0, null, 'g')");
  expect(
    await database.rejects("select ml.mlogregr_predict('lab.model', 'lab.grouped', 'a', 'lab.never')"),
  ).toMatchObject({
    code: "CF001",
  });
});

test.each([
  ["an unknown type", "'lab.model', 'lab.sample', 'id', 'lab.never', 'odds'", "CF001"],
  ["a table that is not a model", "'lab.sample', 'lab.sample', 'id', 'lab.never'", "CF002"],
  ["an unknown id column", "'lab.model', 'lab.sample', 'idd', 'lab.never'", "CF002"],
  ["an output that exists", "'lab.model', 'lab.sample', 'id', 'lab.sample'", "CF003"],
])("%s is refused", async (_, parameters, code) => {
  await load(
    database,
    "lab.sample",
    "id int, a int, b int, y int",
    categories.map((row, id) => ({ id, ...row })),
  );
  await train(database, "ml.mlogregr_train('lab.sample', 'lab.model', 'y', 'array[1, a, b]')");
  expect(await database.rejects(`select ml.mlogregr_predict(${parameters})`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.never')")).toBeNull();
});
