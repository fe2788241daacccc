import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();
await database.query("create schema lab");

/*
 * Fourteen days and whether golf was played: the example of Quinlan, Induction of decision trees, Machine Learning 1, 1986
 * (with the numbers of temperature and humidity of his C4.5), which MADlib's pages use too.
 */
const golf: [number, string, number, number, boolean, string][] = [
  [1, "sunny", 85, 85, false, "Don't Play"],
  [2, "sunny", 80, 90, true, "Don't Play"],
  [3, "overcast", 83, 78, false, "Play"],
  [4, "rain", 70, 96, false, "Play"],
  [5, "rain", 68, 80, false, "Play"],
  [6, "rain", 65, 70, true, "Don't Play"],
  [7, "overcast", 64, 65, true, "Play"],
  [8, "sunny", 72, 95, false, "Don't Play"],
  [9, "sunny", 69, 70, false, "Play"],
  [10, "rain", 75, 80, false, "Play"],
  [11, "sunny", 75, 70, true, "Play"],
  [12, "overcast", 72, 90, true, "Play"],
  [13, "overcast", 81, 75, false, "Play"],
  [14, "rain", 71, 80, true, "Don't Play"],
];
await database.query(
  'create table lab.golf (id int, outlook text, temperature float8, humidity float8, windy boolean, "class" text)',
);
for (const day of golf) await database.query("insert into lab.golf values ($1, $2, $3, $4, $5, $6)", day);

interface Node {
  tree: number;
  node: number;
  feature: string | null;
  threshold: number | null;
  categories: string[] | null;
  gain: number | null;
  value: number | null;
  distribution: number[] | null;
  cover: number;
}

async function tree(
  more = "",
  table = "lab.golf",
  dependent = '"class"',
  features = "outlook, temperature, humidity, windy",
): Promise<Node[]> {
  await database.query("drop table if exists lab.model, lab.model_summary");
  await database.query(
    `select ml.tree_train('${table}', 'lab.model', 'id', '${dependent}', '${features}', ${more || "null"})`,
  );
  return database.rows<Node>("select * from lab.model order by node");
}

async function predict(
  kind: "tree" | "forest",
  type = "response",
  table = "lab.golf",
): Promise<Record<string, unknown>[]> {
  await database.query("drop table if exists lab.predicted");
  await database.query(`select ml.${kind}_predict('lab.model', '${table}', 'lab.predicted', '${type}')`);
  return database.rows("select * from lab.predicted order by id");
}

const impurities = {
  gini: (shares: number[]): number => 1 - shares.reduce((sum, share) => sum + share ** 2, 0),
  entropy: (shares: number[]): number =>
    -shares.reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0),
  misclassification: (shares: number[]): number => 1 - Math.max(...shares),
};

describe("tree_train", () => {
  const impurity = (rows: readonly { y: string }[], judge: (shares: number[]) => number): number => {
    if (rows.length === 0) return 0;
    const classes = [...new Set(rows.map((row) => row.y))];
    return rows.length * judge(classes.map((one) => rows.filter((row) => row.y === one).length / rows.length));
  };

  test.each(["gini", "entropy", "misclassification"] as const)(
    "finds the first split that %s likes best, of three classes",
    async (criterion) => {
      const judge = impurities[criterion];
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              a: fc.integer({ min: 0, max: 6 }),
              b: fc.integer({ min: 0, max: 3 }),
              y: fc.constantFrom("p", "q", "r"),
            }),
            { minLength: 6, maxLength: 25 },
          ),
          async (rows) => {
            const whole = impurity(rows, judge);
            let best = 0;
            for (const name of ["a", "b"] as const) {
              for (const row of rows) {
                const left = rows.filter((other) => other[name] < row[name]);
                const right = rows.filter((other) => other[name] >= row[name]);
                if (left.length > 0) best = Math.max(best, whole - impurity(left, judge) - impurity(right, judge));
              }
            }
            fc.pre(best > 1e-6 && new Set(rows.map((row) => row.y)).size > 1);
            await database.query("drop table if exists lab.drawn");
            await database.query(
              "create table lab.drawn as select * from jsonb_to_recordset($1) as row (id int, a int, b int, y text)",
              [JSON.stringify(rows.map((row, id) => ({ id, ...row })))],
            );
            const [root] = await tree(
              `null, '${criterion}', max_depth => 1, min_split => 2, min_bucket => 1`,
              "lab.drawn",
              "y",
              "a, b",
            );
            expect(root?.gain).toBeCloseTo(best, 9);
          },
        ),
        { numRuns: 12 },
      );
    },
  );

  test("first asks for the outlook, with the published gain of information", async () => {
    // Quinlan: 0.940 bits at the root; overcast against the others leaves 10/14 rows of five and five, so 0.940 - 10/14 = 0.226.
    const [root] = await tree(
      "null, 'entropy', max_depth => 1, min_split => 2, min_bucket => 1",
      "lab.golf",
      '"class"',
      "outlook, windy",
    );
    expect(root?.feature).toBe("outlook");
    expect([["overcast"], ["rain", "sunny"]]).toContainEqual(root?.categories);
    expect((root?.gain ?? 0) / 14 / Math.log(2)).toBeCloseTo(0.9403 - 10 / 14, 4);
  });

  test("grown to the end it knows all days, and gives the probabilities of its leaves", async () => {
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

  test("leaves are the means of a numeric variable, and a boolean comes back as one", async () => {
    const nodes = await tree(
      "null, max_depth => 2, min_split => 2",
      "lab.golf",
      "humidity",
      "temperature, windy, outlook",
    );
    const predicted = (await predict("tree")).map((row) => row["estimated_humidity"] as number);
    for (const value of new Set(predicted)) {
      const rows = golf.filter((_, i) => predicted[i] === value);
      expect(value).toBeCloseTo(rows.reduce((sum, day) => sum + day[3], 0) / rows.length, 9);
    }
    expect(nodes.filter((node) => node.feature === null).length).toBe(new Set(predicted).size);
    await tree("null, min_split => 2, min_bucket => 1", "lab.golf", "windy", "temperature, humidity");
    expect((await predict("tree")).map((row) => row["estimated_windy"])).toEqual(golf.map((day) => day[4]));
  });

  test("pruning cuts what gains less than cp of the root's impurity a split", async () => {
    const full = await tree("null, 'gini', min_split => 2, min_bucket => 1");
    const pruned = await tree("null, 'gini', min_split => 2, min_bucket => 1, pruning_params => 'cp=0.2'");
    expect(pruned.length).toBeLessThan(full.length);
    const root = 14 * impurities.gini([5 / 14, 9 / 14]);
    // Every branch that is left is worth its splits.
    const below = (node: number): Node[] => {
      const at = pruned.find((one) => one.node === node) as Node & { left_node: number; right_node: number };
      return at.feature === null ? [] : [at, ...below(at.left_node), ...below(at.right_node)];
    };
    for (const node of pruned.filter((one) => one.feature !== null)) {
      const splits = below(node.node);
      expect(splits.reduce((sum, one) => sum + (one.gain ?? 0), 0) / splits.length).toBeGreaterThanOrEqual(0.2 * root);
    }
    expect((await tree("null, 'gini', pruning_params => 'cp=1', min_split => 2")).length).toBe(1);
    expect((await predict("tree")).map((row) => row["estimated_class"])).toEqual(golf.map(() => "Play"));
  });

  test("a row with weight two is two rows", async () => {
    await database.query("create table lab.weighted as select *, 1 + id % 3 as copies from lab.golf");
    await database.query(
      "create table lab.repeated as select golf.* from lab.golf cross join generate_series(1, 1 + id % 3)",
    );
    const weighted = await tree(
      "null, 'gini', weights => 'copies', max_depth => 3, min_split => 1, min_bucket => 1",
      "lab.weighted",
    );
    const repeated = await tree("null, 'gini', max_depth => 3, min_split => 1, min_bucket => 1", "lab.repeated");
    expect(weighted.map((node) => [node.feature, node.cover])).toEqual(
      repeated.map((node) => [node.feature, node.cover]),
    );
  });
});

describe("forest_train", () => {
  // Three classes in the corners of a square, the last one along the diagonal, and three columns of noise.
  test("is right where a single deep tree overfits, and its out-of-bag error is that of new rows", async () => {
    await database.query(`
      create table lab.square as
      select id, x, y, n1, n2, n3, (case when hash % 10 = 0 then 1 + hash % 3 when x + y < 0.8 then 1 when x > y then 2 else 3 end)::int as corner
      from (
        select id, (hashint4(id) & 65535) / 65536.0 as x, (hashint4(id + 1000000) & 65535) / 65536.0 as y, hashint4(id + 2000000) & 255 as n1,
          hashint4(id + 3000000) & 255 as n2, hashint4(id + 4000000) & 255 as n3, abs(hashint4(id + 5000000)) / 7 as hash
        from generate_series(1, 4000) as id
      ) as drawn`);
    await database.query("create view lab.known as select * from lab.square where id <= 1500");
    await database.query("create view lab.new as select * from lab.square where id > 1500");
    const wrong = async (): Promise<number> =>
      database.value(
        "select avg((estimated_corner <> corner)::int)::float8 from lab.predicted join lab.square using (id)",
      );
    await tree(
      "null, 'gini', max_depth => 12, min_split => 2, min_bucket => 1",
      "lab.known",
      "corner",
      "x, y, n1, n2, n3",
    );
    await predict("tree", "response", "lab.new");
    const single = await wrong();
    await database.query("drop table lab.model, lab.model_summary");
    await database.query(
      "select ml.forest_train('lab.known', 'lab.model', 'id', 'corner', 'x, y, n1, n2, n3', num_trees => 25, max_tree_depth => 9, min_split => 4)",
    );
    await predict("forest", "response", "lab.new");
    const forest = await wrong();
    expect(forest).toBeLessThan(single);
    const out_of_bag = await database.value<number>("select oob_error from lab.model_summary");
    expect(Math.abs(out_of_bag - forest)).toBeLessThan(0.04);
    const [first] = await predict("forest", "prob", "lab.new");
    expect(Object.keys(first ?? {})).toEqual(["id", "estimated_prob_1", "estimated_prob_2", "estimated_prob_3"]);
    await database.query("select ml.get_var_importance('lab.model', 'lab.importance')");
    expect(
      (await database.rows("select feature from lab.importance limit 2")).map((row) => row["feature"]).sort(),
    ).toEqual(["x", "y"]);
  });

  test("the mean of its trees predicts a number; the seed decides every draw", async () => {
    const train = async (seed: number): Promise<unknown[]> => {
      await database.query("drop table if exists lab.model, lab.model_summary");
      await database.query(
        `select ml.forest_train('lab.square', 'lab.model', 'id', '(10 * x * y)::float8', 'x, y, n1', num_trees => 8, seed => ${seed})`,
      );
      return predict("forest", "response", "lab.square");
    };
    const once = await train(1);
    expect(await train(1)).toEqual(once);
    expect(await train(2)).not.toEqual(once);
    const rows = await database.rows<{ x: string; y: string }>("select x, y from lab.square order by id");
    const errors = rows.map(
      (row, i) => (10 * Number(row.x) * Number(row.y) - (Object.values(once[i] as object)[1] as number)) ** 2,
    );
    const error = errors.reduce((sum, one) => sum + one, 0) / errors.length;
    expect(error).toBeLessThan(0.6);
    expect(await database.value<number>("select oob_error from lab.model_summary")).toBeLessThan(0.9);
    // Rows are drawn with replacement: about 63 % of them are in each bag, and the bag weighs as much as all rows.
    const [root] = await database.rows<{ cover: number; num_rows: string }>(
      "select avg(cover) as cover, avg(num_rows) as num_rows from lab.model where node = 0",
    );
    expect(Math.abs((root?.cover ?? 0) / 4000 - 1)).toBeLessThan(0.03);
    expect(Math.abs(Number(root?.num_rows) / 4000 - (1 - Math.exp(-1)))).toBeLessThan(0.02);
  });
});

describe("what can not be trained is refused by name", () => {
  test("arguments, data and models", async () => {
    const refuse = async (call: string): Promise<string | undefined> =>
      (await database.rejects(`select ml.${call}`)).code;
    expect(await refuse(`tree_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', null, 'mse')`)).toBe("CF001");
    expect(
      await refuse(`tree_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', grouping_cols => 'windy')`),
    ).toBe("CF001");
    expect(
      await refuse(`tree_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', pruning_params => 'n_folds=3')`),
    ).toBe("CF001");
    expect(await refuse(`tree_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlock')`)).toBe("CF002");
    expect(await refuse(`tree_train('lab.golf', 'lab.golf', 'id', '"class"', 'outlook')`)).toBe("CF003");
    await database.query("create view lab.played as select * from lab.golf where class = 'Play'");
    expect(await refuse(`tree_train('lab.played', 'lab.bad', 'id', '"class"', 'outlook')`)).toBe("CF004");
    await database.query("create view lab.nothing as select * from lab.golf where false");
    expect(await refuse(`forest_train('lab.nothing', 'lab.bad', 'id', '"class"', 'outlook')`)).toBe("CF004");
    expect(await refuse(`forest_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', num_trees => 0)`)).toBe(
      "CF001",
    );
    expect(await refuse(`forest_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', sample_ratio => 2)`)).toBe(
      "CF001",
    );
    expect(await refuse("tree_predict('lab.golf', 'lab.golf', 'lab.bad')")).toBe("CF002");
    expect(await refuse("forest_predict('lab.model', 'lab.golf', 'lab.bad', 'votes')")).toBe("CF001");
    expect(
      await database.value("select to_regclass('lab.bad') is null and to_regclass('lab.bad_summary') is null"),
    ).toBe(true);
  });
});
