import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { growing } from "./trees.ts";

const database = await lab();
const { predict, tree } = await growing(database);

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
      "select ml.forest_train('lab.known', 'lab.model', 'id', 'corner', 'x, y, n1, n2, n3', num_trees => 15, max_tree_depth => 9, min_split => 4)",
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

describe("by groups", () => {
  test("each group has the forest that it has alone", async () => {
    await database.query(`
      create table lab.terms as
      select id, 1 + id % 3 as term, hashint4(id) % 40 as x, hashint4(id + 1000) % 40 as z,
        chr(97 + abs(hashint4(id) % 40 + hashint4(id + 3000) % 30) / (12 + id % 3 * 6)) as class
      from generate_series(1, 900) as id`);
    const options = "num_trees => 5, max_tree_depth => 6, min_split => 4, seed => 8";
    await database.query(
      `select ml.forest_train('lab.terms', 'lab.grouped', 'id', 'class', 'x, z', null, 'term', ${options})`,
    );
    await database.query("select ml.forest_predict('lab.grouped', 'lab.terms', 'lab.grouped_out', 'prob')");
    const levels: string[] = await database.value("select array_agg(distinct class order by class) from lab.terms");
    for (const term of [1, 2, 3]) {
      await database.query("drop table if exists lab.alone, lab.alone_summary, lab.alone_out");
      await database.query("drop view if exists lab.part");
      await database.query(`create view lab.part as select id, x, z, class from lab.terms where term = ${term}`);
      await database.query(
        `select ml.forest_train('lab.part', 'lab.alone', 'id', 'class', 'x, z', null, null, ${options})`,
      );
      await database.query("select ml.forest_predict('lab.alone', 'lab.part', 'lab.alone_out', 'prob')");
      expect(
        await database.rows(
          `select to_jsonb(grown) - array['gid', 'term'] as row from lab.grouped as grown where term = ${term} order by tree, node`,
        ),
      ).toEqual(await database.rows("select to_jsonb(grown) as row from lab.alone as grown order by tree, node"));
      const measures = "oob_error, num_rows_processed, dependent_var_levels, independent_vartypes, categories";
      expect(await database.rows(`select ${measures} from lab.grouped_summary where term = ${term}`)).toEqual(
        await database.rows(`select ${measures} from lab.alone_summary`),
      );
      // A class that the group does not have is impossible.
      const alone = await database.rows<Record<string, number>>("select * from lab.alone_out order by id");
      expect(
        await database.rows("select * from lab.grouped_out where id in (select id from lab.part) order by id"),
      ).toEqual(
        alone.map((row) =>
          Object.fromEntries([
            ["id", row["id"]],
            ...levels.map((level) => [`estimated_prob_${level}`, row[`estimated_prob_${level}`] ?? 0]),
          ]),
        ),
      );
    }
  });
});

describe("invalid input is refused by name", () => {
  test("more trees than one transaction can hold", async () => {
    await database.query("create view lab.each as select id, id as own, x, class from lab.terms");
    expect(
      await database.rejects(
        "select ml.forest_train('lab.each', 'lab.bad', 'id', 'class', 'x', null, 'own', num_trees => 12)",
      ),
    ).toMatchObject({ code: "CF008", message: "900 groups of 12 trees" });
  });

  test("arguments, data and models", async () => {
    const refuse = async (call: string): Promise<string | undefined> =>
      (await database.rejects(`select ml.${call}`)).code;
    await database.query("create view lab.nothing as select * from lab.golf where false");
    expect(await refuse(`forest_train('lab.nothing', 'lab.bad', 'id', '"class"', 'outlook')`)).toBe("CF004");
    expect(await refuse(`forest_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', num_trees => 0)`)).toBe(
      "CF001",
    );
    expect(await refuse(`forest_train('lab.golf', 'lab.bad', 'id', '"class"', 'outlook', sample_ratio => 2)`)).toBe(
      "CF001",
    );
    expect(
      await database.value("select to_regclass('lab.bad') is null and to_regclass('lab.bad_summary') is null"),
    ).toBe(true);
  });
});
