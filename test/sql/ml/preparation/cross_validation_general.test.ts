import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { making } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("cross_validation_general", () => {
  test("finds the depth that serves best, with whole courses in a fold", async () => {
    await database.query(`
      create table lab.learners as
      select id, id % 12 as course, (hashint4(id) & 1023) / 1024.0 as a, (hashint4(-id) & 1023) / 1024.0 as b, 0::float8 as y from generate_series(1, 600) as id`);
    await database.query(
      "update lab.learners set y = (case when (a > 0.5) = (b > 0.5) then 1 else 0 end) + 0.05 * (id % 7)",
    );
    const rows = await make(`cross_validation_general(
      'ml.tree_train', array['%data%', '%model%', '%id%', 'y', 'a, b', 'max_depth => depth'], array['text', 'text', 'text', 'text', 'text', 'int'], 'depth', array['1', '3'],
      'ml.tree_predict', array['%model%', '%data%', '%prediction%'], array['text', 'text', 'text'],
      'ml.mean_squared_error', array['%scored%', '%error%', 'estimated_y', 'y'], array['text', 'text', 'text', 'text'],
      'lab.learners', 'id', false, 'lab.made', null, 4, 'course')`);
    expect(rows.map((row) => row["depth"])).toEqual(["1", "3"]);
    expect(rows[0]?.["error_avg"] as number).toBeGreaterThan(0.2);
    expect(rows[1]?.["error_avg"] as number).toBeLessThan(0.05);
    expect(rows[1]?.["error_stddev"] as number).toBeGreaterThan(0);
    expect(await database.value("select count(*)::int from pg_class where relname like '\\_ml\\_cv%'")).toBe(0);
  });

  test("refuses unknown functions and parameters", async () => {
    const broken = (
      model: string,
      explored: string,
    ): string => `cross_validation_general('${model}', array['%data%', 'depth'], array['text', 'text'], '${explored}', array['1'],
      'ml.tree_predict', array['%model%'], array['text'], 'ml.mean_squared_error', array['%error%'], array['text'], 'lab.learners', 'id', false, 'lab.made')`;
    expect((await refuse(broken("ml.tree_trian", "depth"))).code).toBe("CF002");
    expect((await refuse(broken("ml.tree_train", "width"))).code).toBe("CF001");
  });
});
