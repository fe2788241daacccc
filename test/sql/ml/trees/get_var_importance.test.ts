import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { boosting, population } from "./trees.ts";

const database = await lab();
const { load, train } = boosting(database);

describe("boosting", () => {
  test("importance sums to 100 and finds what matters", async () => {
    await load(population(500));
    await train(", num_trees => 10", "lab.rows", "y", "a, b, c, weight");
    await database.query("drop table if exists lab.importance");
    await database.query("select ml.get_var_importance('lab.model', 'lab.importance')");
    const importance = await database.rows<{ feature: string; impurity_var_importance: number }>(
      "select * from lab.importance",
    );
    expect(importance.reduce((sum, one) => sum + one.impurity_var_importance, 0)).toBeCloseTo(100, 9);
    expect(importance.at(-1)).toMatchObject({ feature: "weight", impurity_var_importance: 0 });
    expect(importance[0]?.feature).toBe("a");
  });
});

describe("invalid input is refused by name, and leaves nothing behind", () => {
  test.each([
    ["a table that is not a model", "'lab.rows', 'lab.other'", "CF002"],
    ["an unknown table", "'lab.modell', 'lab.other'", "CF002"],
    ["an output that exists", "'lab.model', 'lab.rows'", "CF003"],
  ])("%s", async (_, parameters, code) => {
    await load(population(50));
    await train(", num_trees => 1, min_rows => 1");
    expect(await database.rejects(`select ml.get_var_importance(${parameters})`)).toMatchObject({ code });
    expect(await database.value("select to_regclass('lab.other')")).toBeNull();
  });
});
