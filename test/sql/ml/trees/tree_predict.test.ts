import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { golf, growing } from "./trees.ts";

const database = await lab();
const { predict, tree } = await growing(database);

describe("tree_train", () => {
  test("a full tree classifies all days, and gives the probabilities of its leaves", async () => {
    await tree("null, 'gini', min_split => 2, min_bucket => 1");
    const predicted = await predict("tree");
    expect(predicted.map((row) => row["estimated_class"])).toEqual(golf.map((day) => day[5]));
    const probabilities = await predict("tree", "prob");
    expect(Object.keys(probabilities[0] ?? {})).toEqual(["id", "estimated_prob_Don't Play", "estimated_prob_Play"]);
    for (const row of probabilities)
      expect((row["estimated_prob_Don't Play"] as number) + (row["estimated_prob_Play"] as number)).toBeCloseTo(1, 12);
    await tree("null, 'gini', max_depth => 1, min_split => 2, min_bucket => 1", "lab.golf", '"class"', "outlook");
    const overcast = (await predict("tree", "prob")).filter((_, i) => golf[i]?.[1] === "overcast");
    for (const row of overcast) expect(row["estimated_prob_Play"]).toBe(1);
    const others = (await predict("tree", "prob")).filter((_, i) => golf[i]?.[1] !== "overcast");
    for (const row of others) expect(row["estimated_prob_Play"]).toBeCloseTo(0.5, 12);
  });
});

describe("invalid input is refused by name", () => {
  test("arguments, data and models", async () => {
    const refuse = async (call: string): Promise<string | undefined> =>
      (await database.rejects(`select ml.${call}`)).code;
    expect(await refuse("tree_predict('lab.golf', 'lab.golf', 'lab.bad')")).toBe("CF002");
    await tree();
    expect(await refuse("tree_predict('lab.model', 'lab.golf', 'lab.bad', 'votes')")).toBe("CF001");
    expect(await refuse("tree_predict('lab.model', 'lab.golf', 'lab.golf')")).toBe("CF003");
    await database.query("create view lab.narrow as select id, outlook from lab.golf");
    expect(await refuse("tree_predict('lab.model', 'lab.narrow', 'lab.bad')")).toBe("CF002");
    expect(
      await database.value("select to_regclass('lab.bad') is null and to_regclass('lab.bad_summary') is null"),
    ).toBe(true);
  });
});
