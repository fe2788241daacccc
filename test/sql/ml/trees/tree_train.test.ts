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

test("takes MADlib's arguments in MADlib's order", async () => {
  await database.query("drop table if exists lab.model, lab.model_summary");
  await database.query(
    `select ml.tree_train('lab.golf', 'lab.model', 'id', '"class"', 'outlook, temperature, windy', null, 'gini', null, null,
      5, 3, 1, 10, 'cp=0.1', null, false)`,
  );
  expect(await database.value("select parameters ->> 'max_depth' from lab.model_summary")).toBe("5");
  expect(
    await database.rejects(
      `select ml.tree_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', null_handling_params => 'max_surrogates=2')`,
    ),
  ).toMatchObject({ code: "CF001" });
});

describe("by groups", () => {
  const options = "max_depth => 4, min_split => 2, min_bucket => 1, pruning_params => 'cp=0.05'";

  test("each group has the tree that it has alone", async () => {
    await database.query(`
      create table lab.courses as
      select id, (array['a', 'b', null])[1 + id % 3] as course, case when id % 2 = 0 then 1 else 2.5 end as term,
        hashint4(id) % 50 / 7.0::float8 as x, nullif(abs(hashint4(id + 100)) % 7, 0) as z, chr(97 + abs(hashint4(id + 200)) % 4) as c,
        hashint4(id) % 50 / 7.0::float8 + (hashint4(id + 300) % 100) / 40.0::float8 as y
      from generate_series(1, 600) as id`);
    await database.query(
      `select ml.tree_train('lab.courses', 'lab.grouped', 'id', 'y', '*', null, 'gini', 'course, term', null, ${options})`,
    );
    await database.query("select ml.tree_predict('lab.grouped', 'lab.courses', 'lab.grouped_out')");
    await database.query("select ml.get_var_importance('lab.grouped', 'lab.grouped_why')");
    const groups = await database.rows<{ gid: number; course: string | null; term: string; failure: string | null }>(
      "select gid, course, term, failure from lab.grouped_summary order by gid",
    );
    expect(groups.map((group) => [group.gid, group.course, group.term, group.failure])).toEqual(
      ["a", "b", null].flatMap((course, i) => [
        [2 * i + 1, course, "1", null],
        [2 * i + 2, course, "2.5", null],
      ]),
    );
    for (const { gid, course, term } of groups) {
      await database.query("drop table if exists lab.alone, lab.alone_summary, lab.alone_out, lab.alone_why");
      await database.query("drop view if exists lab.part");
      await database.query(
        `create view lab.part as select id, x, z, c, y from lab.courses
         where term = ${term} and course is not distinct from ${course === null ? "null" : `'${course}'`}`,
      );
      await database.query(
        `select ml.tree_train('lab.part', 'lab.alone', 'id', 'y', '*', null, 'gini', null, null, ${options})`,
      );
      await database.query("select ml.tree_predict('lab.alone', 'lab.part', 'lab.alone_out')");
      await database.query("select ml.get_var_importance('lab.alone', 'lab.alone_why')");
      const grouped = (table: string, order: string): Promise<unknown[]> =>
        database.rows(
          `select row from (select to_jsonb(one) - array['gid', 'course', 'term'] as row from lab.grouped${table} as one
           where gid = ${gid}) as listed order by ${order}`,
        );
      const alone = (table: string, order: string): Promise<unknown[]> =>
        database.rows(
          `select row from (select to_jsonb(one) as row from lab.alone${table} as one) as listed order by ${order}`,
        );
      expect(await grouped("", "(row ->> 'node')::int")).toEqual(await alone("", "(row ->> 'node')::int"));
      expect(await grouped("_why", "row ->> 'feature'")).toEqual(await alone("_why", "row ->> 'feature'"));
      expect(
        await database.rows("select * from lab.grouped_out where id in (select id from lab.part) order by id"),
      ).toEqual(await database.rows("select * from lab.alone_out order by id"));
    }
    expect(await database.value("select count(*)::int from lab.grouped_out")).toBe(600);
  });

  test("a group without a model has the reason, and its rows no prediction", async () => {
    await database.query(
      `select ml.tree_train('lab.golf', 'lab.outlooks', 'id', '"class"', 'temperature, humidity, windy', null, 'gini', 'outlook', null,
        min_split => 2, min_bucket => 1)`,
    );
    expect(
      await database.rows(
        `select outlook, dependent_var_levels, num_rows_processed::int as rows, failure, (select count(*)::int from lab.outlooks as node where node.gid = summary.gid) > 1 as grown
         from lab.outlooks_summary as summary order by gid`,
      ),
    ).toEqual([
      {
        outlook: "overcast",
        dependent_var_levels: null,
        rows: null,
        failure: '""class"" holds one class only, Play',
        grown: false,
      },
      { outlook: "rain", dependent_var_levels: ["Don't Play", "Play"], rows: 5, failure: null, grown: true },
      { outlook: "sunny", dependent_var_levels: ["Don't Play", "Play"], rows: 5, failure: null, grown: true },
    ]);
    await database.query(
      "create view lab.days as select * from lab.golf union all select 15, 'snow', 1, 1, false, null",
    );
    await database.query("select ml.tree_predict('lab.outlooks', 'lab.days', 'lab.outlooks_out')");
    expect(
      (await database.rows("select estimated_class from lab.outlooks_out order by id")).map(
        (row) => row["estimated_class"],
      ),
    ).toEqual([...golf.map((day) => (day[1] === "overcast" ? null : day[5])), null]);
  });
});

describe("invalid input is refused by name", () => {
  test("arguments, data and models", async () => {
    const refuse = async (call: string): Promise<string | undefined> =>
      (await database.rejects(`select ml.${call}`)).code;
    expect(await refuse(`tree_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', null, 'mse')`)).toBe("CF001");
    expect(
      await refuse(`tree_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', grouping_cols => 'winds')`),
    ).toBe("CF002");
    await database.query("create view lab.noded as select *, windy as node from lab.golf");
    expect(
      await refuse(`tree_train('lab.noded', 'lab.bad', 'id', '"class"', 'outlook', grouping_cols => 'node')`),
    ).toBe("CF001");
    // Each outlook but rain has one class among the windy days; overcast has one class on all days.
    await database.query("create view lab.overcast as select * from lab.golf where outlook = 'overcast'");
    expect(
      await refuse(`tree_train('lab.overcast', 'lab.bad', 'id', '"class"', 'humidity', grouping_cols => 'windy')`),
    ).toBe("CF004");
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
