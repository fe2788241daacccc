import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query(`
  create table lab.small as
  select n as id, (n % 7)::float8 as a, (n % 5)::float8 as b, (n % 2 = 0) as y from generate_series(1, 60) as n;
  insert into track.item (external_id, kind) values ('algebra', 'course')`);

// Numbers are added to the seed, which the largest ones do not leave room for.
test.each([
  "ml.forest_train('lab.small', 'lab.model', 'id', 'y', 'a, b', num_trees => 2, seed => $1)",
  "ml.gbm_train('lab.small', 'lab.model', 'id', 'y', 'a, b', num_trees => 2, seed => $1)",
  "ml.kmeanspp('lab.small', 'array[a, b]', 2, seed => $1)",
  "analytics.train_predictions(seed => $1)",
  "recommend.start_evaluation(seed => $1)",
])("a seed without room for others is refused: %s", async (call) => {
  for (const seed of ["9223372036854775807", "-9223372036854775808"]) {
    expect(await database.rejects(`select * from ${call}`, [seed])).toMatchObject({
      code: "CF001",
      message: `seed is ${seed}`,
      hint: "Give a number from -1000000000000000000 to 1000000000000000000.",
    });
  }
});
