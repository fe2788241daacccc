import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";

const database = await testDatabase();
await database.query(`
  create schema lab;
  create table lab.taken as
  select person, item from generate_series(1, 40) as person, generate_series(1, 8) as item
  where hashint8extended(person * 100 + item, 1) & 3 = 0`);

test("the halves of a training make the whole, for each ridge on one reading of the table", async () => {
  for (const lambda of [0.5, 50, 500]) {
    const [row] = await database.rows<{ halves: string; whole: string }>(
      `with sums as materialized (select * from ml.ease_gram('lab.taken', 'person', 'item'))
       select ml.ease_weights(ml.ease_inverse(sums.gram, $1))::text as halves,
         (select array_agg(weights order by item_no)::text from ml.ease_train('lab.taken', 'person', 'item', lambda => $1)) as whole
       from sums`,
      [lambda],
    );
    expect(row?.halves).toBe(row?.whole);
  }
});

test("is the inverse of the sums with the ridge on the diagonal", async () => {
  const rows = await database.rows<{ row_: string }>(
    "select unnest(ml.ease_inverse(array['[3,1]', '[1,2]']::vector[], 1))::text as row_",
  );
  // (4 1; 1 3)⁻¹ = (3 -1; -1 4) / 11
  const inverse = rows.map(({ row_ }) => JSON.parse(row_) as number[]);
  expect(
    algebra.difference(inverse, [
      [3 / 11, -1 / 11],
      [-1 / 11, 4 / 11],
    ]),
  ).toBeLessThan(1e-6);
});

test.each(["0", "-1", "'NaN'", "'infinity'", "null"])("refuses the ridge %s", async (lambda) => {
  for (const call of [
    `ml.ease_inverse(array['[3,1]', '[1,2]']::vector[], ${lambda})`,
    `ml.ease_train('lab.taken', 'person', 'item', lambda => ${lambda})`,
  ])
    expect(await database.rejects(`select ${call}`)).toMatchObject({ code: "CF001" });
});

test("refuses what is not square or not symmetric, and nothing", async () => {
  for (const gram of ["'[3,1,2]', '[1,2,3]'", "'[3,1]', '[1]'", "'[3,1]'", "'[3,1]', '[2,2]'"]) {
    expect(await database.rejects(`select ml.ease_inverse(array[${gram}]::vector[], 1)`), gram).toMatchObject({
      code: "CF001",
    });
  }
  expect(await database.rejects("select ml.ease_inverse('{}', 1)")).toMatchObject({ code: "CF004" });
});
