import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { golf, growing, type Node } from "./trees.ts";

const database = await lab();
const { predict, tree } = await growing(database);

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

  test("first splits by the outlook, with the published information gain", async () => {
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

describe("invalid input is refused by name", () => {
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
    expect(
      await database.value("select to_regclass('lab.bad') is null and to_regclass('lab.bad_summary') is null"),
    ).toBe(true);
  });
});
