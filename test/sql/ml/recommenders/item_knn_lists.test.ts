import fc from "fast-check";
import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { coding, uses } from "./neighbours.ts";

const database = await lab();
const { load } = await coding(database);

test("ml.item_knn_lists makes the lists of ml.item_knn_neighbours from sums that are stored in between", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 25 }),
      fc.integer({ min: 1, max: 10 }),
      fc.integer(),
      fc.constantFrom(
        ["", "", ""],
        [
          ", similarity => 'jaccard'",
          ", similarity => 'jaccard', shrinkage => 2",
          ", similarity => 'jaccard', shrinkage => 2",
        ],
        [
          ", max_items => 3",
          ", column_limit => 2, row_limit => 3",
          ", max_items => 3, column_limit => 2, row_limit => 3",
        ],
      ),
      async (people, items, seed, [counted = "", listed = "", all = ""]) => {
        // Weights whose products are whole numbers of the unit: no unit rounds them.
        await load(uses(people, items, seed).map((use) => ({ ...use, weight: Math.ceil(use.weight * 4) / 4 })));
        const pairs = await database.value<string>(`select ml.item_knn_pairs('lab.coded', 2.0 ^ -20 ${counted})`);
        await database.query("drop table if exists lab.stored");
        await database.query(`create table lab.stored as ${pairs}`);
        const lists = await database.value<string>(
          `select ml.item_knn_lists('select source_no, target_no, total::bigint from lab.stored', 2.0 ^ -20 ${listed})`,
        );
        expect(await database.rows(`select * from (${lists}) as list (item_no, neighbours, weights)`)).toEqual(
          await database.rows(`select * from ml.item_knn_neighbours('lab.coded' ${all})`),
        );
      },
    ),
    { numRuns: 20 },
  );
});

test("ml.item_knn_lists refuses invalid parameters", async () => {
  for (const [call, message] of [
    ["null, 1", "pairs is null"],
    ["'select', 0", "unit is 0"],
    ["'select', 1, 'sine'", "similarity is sine"],
    ["'select', 1, shrinkage => -1", "shrinkage is -1"],
    ["'select', 1, row_limit => 0", "row_limit is 0"],
  ])
    expect(await database.rejects(`select ml.item_knn_lists(${call})`)).toMatchObject({ code: "CF001", message });
});
