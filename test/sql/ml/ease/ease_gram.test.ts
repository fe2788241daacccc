import fc from "fast-check";
import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import * as algebra from "../../../support/matrix.ts";
import { easing, matrix, some } from "./ease.ts";

const database = await lab();
const { load } = await easing(database);

const gram = async (more = ""): Promise<{ items: string[]; gram: number[][] }> => {
  const [row] = await database.rows<{ items: string[]; gram: string[] }>(
    `select items, gram::text[] from ml.ease_gram('lab.interaction', 'person', 'item'${more})`,
  );
  return { items: row?.items ?? [], gram: algebra.fromSql(row?.gram ?? []) };
};

test("is the matrix of people and items times itself, with the items in their order", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 25 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer(),
      async (people, items, seed) => {
        const interactions = some(people, items, seed);
        await load(interactions);
        const x = matrix(interactions);
        const weighted = await gram(", 'weight'");
        // Quarters, so that every sum is exact.
        expect(weighted.gram).toEqual(algebra.multiply(algebra.transpose(x), x));
        expect(weighted.items).toEqual(
          [...new Set(interactions.map(({ item }) => item))].sort((a, b) => a - b).map(String),
        );
        const present = matrix(interactions.map(({ person, item }) => ({ person, item })));
        expect((await gram()).gram).toEqual(algebra.multiply(algebra.transpose(present), present));
      },
    ),
    { numRuns: 15 },
  );
});

test.each([
  ["an unknown table", "'lab.interactions'", "CF002"],
  ["an unknown column", "'lab.interaction', 'persona', 'item'", "CF002"],
  ["a weight that is no number", "'lab.interaction', 'person', 'item', 'person'", "CF001"],
  ["an infinite weight", "'lab.interaction', 'person', 'item', 'weight * ''Infinity''::real'", "CF001"],
  ["no interaction", "'lab.nobody', 'person', 'item'", "CF004"],
])("%s is refused", async (_, parameters, code) => {
  await load([{ person: "ada", item: 1 }]);
  await database.query("create or replace view lab.nobody as select * from lab.interaction where false");
  expect(await database.rejects(`select ml.ease_gram(${parameters})`)).toMatchObject({ code });
});

test("reads nothing that its caller may not read", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects("select ml.ease_gram('track.event')")).toMatchObject({ code: "CF005" });
  });
});
