import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { golf, growing, type Node } from "./trees.ts";

const database = await lab();
const { predict } = await growing(database);

const grow = (more = ""): Promise<unknown> =>
  database.query(`
    drop table if exists lab.model, lab.model_summary;
    select ml.forest_train('lab.golf', 'lab.model', 'id', '"class"', 'outlook, temperature, humidity', num_trees => 7${more})`);

test("is the mean of the shares in each tree's leaf, and the class where it is largest", async () => {
  await grow(", min_split => 3, min_bucket => 1");
  type Link = Node & { left_node: number; right_node: number; missing_left: boolean };
  const nodes = await database.rows<Link>("select * from lab.model");
  const trees = [...new Set(nodes.map(({ tree }) => tree))];
  expect(trees).toHaveLength(7);
  const classes = ["Don't Play", "Play"];
  const shares = (tree: number, day: (typeof golf)[number]): number[] => {
    const row: Record<string, unknown> = { outlook: day[1], temperature: day[2], humidity: day[3] };
    let at = nodes.find((node) => node.tree === tree && node.node === 0);
    while (at !== undefined && at.feature !== null) {
      const { categories, threshold, left_node, right_node } = at;
      const value = row[at.feature];
      const left = typeof value === "string" ? categories?.includes(value) : Number(value) < (threshold ?? Number.NaN);
      at = nodes.find((node) => node.tree === tree && node.node === (left ? left_node : right_node));
    }
    const found = at?.distribution ?? [];
    return found.map((count) => count / found.reduce((sum, one) => sum + one, 0));
  };
  const expected = golf.map((day) => {
    const all = trees.map((tree) => shares(tree, day));
    return classes.map((_, i) => all.reduce((sum, one) => sum + (one[i] ?? Number.NaN), 0) / all.length);
  });
  for (const [i, row] of (await predict("forest", "prob")).entries()) {
    for (const [place, name] of classes.entries())
      expect(row[`estimated_prob_${name}`]).toBeCloseTo(expected[i]?.[place] ?? Number.NaN, 12);
  }
  for (const [i, row] of (await predict("forest")).entries()) {
    const [no = 0, yes = 0] = expected[i] ?? [];
    if (Math.abs(no - yes) > 1e-9) expect(row["estimated_class"]).toBe(classes[yes > no ? 1 : 0]);
  }
});

describe("invalid input is refused by name", () => {
  test("arguments, data and models", async () => {
    const refuse = async (call: string): Promise<string | undefined> =>
      (await database.rejects(`select ml.${call}`)).code;
    await grow();
    expect(await refuse("forest_predict('lab.model', 'lab.golf', 'lab.bad', 'votes')")).toBe("CF001");
    expect(await refuse("forest_predict('lab.golf', 'lab.golf', 'lab.bad')")).toBe("CF002");
    expect(await refuse("forest_predict('lab.model', 'lab.golf', 'lab.golf')")).toBe("CF003");
    expect(
      await database.value("select to_regclass('lab.bad') is null and to_regclass('lab.bad_summary') is null"),
    ).toBe(true);
  });
});

test("classes that are too long for the name of a column have columns of their own", async () => {
  await database.query(
    "create table lab.wordy as select id, id % 3 as x, repeat('é', 30) || id % 3 as level from generate_series(1, 60) as id",
  );
  await database.query("select ml.forest_train('lab.wordy', 'lab.words', 'id', 'level', 'x', num_trees => 3)");
  await database.query("select ml.forest_predict('lab.words', 'lab.wordy', 'lab.words_out', 'prob')");
  expect(
    await database.value(
      "select array_agg(attname::text order by attname) from pg_attribute where attrelid = 'lab.words_out'::regclass and attnum > 1",
    ),
  ).toEqual(
    await database.value(
      "select array_agg('estimated_prob_' || md5(level) order by md5(level)) from (select distinct level from lab.wordy) as held",
    ),
  );
});
