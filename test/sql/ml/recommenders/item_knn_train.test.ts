import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { generator } from "../../../support/matrix.ts";
import { largestError, trained } from "./training.ts";

const database = await lab();

interface Use {
  who: string;
  what: number;
  amount: number;
}

function uses(count: number, seed: number): Use[] {
  const next = generator(seed);
  return Array.from({ length: count }, () => ({
    who: `p${Math.floor(next() * 8)}`,
    what: 10 * Math.floor(next() * 7),
    amount: 0.5 + Math.floor(next() * 4),
  }));
}

/** Weight of each person and item. */
function weightsOf(rows: readonly Use[], weighted: boolean): (who: string, what: string) => number {
  return (who, what) => {
    const own = rows.filter((row) => row.who === who && String(row.what) === what);
    return weighted ? own.reduce((sum, row) => sum + row.amount, 0) : Math.min(own.length, 1);
  };
}

describe("ml.item_knn_train", () => {
  test("gives the cosine and the Jaccard similarity of the columns", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 60 }),
        fc.integer(),
        fc.constantFrom(0, 3),
        async (count, seed, shrinkage) => {
          const rows = uses(count, seed);
          await load(database, "lab.use", "who text, what int, amount numeric", rows);
          const people = [...new Set(rows.map((row) => row.who))];
          const items = [...new Set(rows.map((row) => String(row.what)))];
          const weight = weightsOf(rows, true);
          const product = (a: string, b: string): number =>
            people.reduce((sum, who) => sum + weight(who, a) * weight(who, b), 0);
          const cosine = await trained(
            database,
            `ml.item_knn_train('lab.use', 'who', 'what', 'amount', 'cosine', ${shrinkage})`,
          );
          expect(
            largestError(
              cosine,
              items,
              (a, b) => product(a, b) / (Math.sqrt(product(a, a) * product(b, b)) + shrinkage),
            ),
          ).toBeLessThan(1e-6);
          const jaccard = await trained(
            database,
            `ml.item_knn_train('lab.use', 'who', 'what', similarity => 'jaccard', shrinkage => ${shrinkage})`,
          );
          const has = weightsOf(rows, false);
          expect(
            largestError(jaccard, items, (a, b) => {
              const both = people.filter((who) => has(who, a) * has(who, b) > 0).length;
              return both / (people.filter((who) => has(who, a) + has(who, b) > 0).length + shrinkage);
            }),
          ).toBeLessThan(1e-6);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("keeps the nearest neighbours, and the last items of each person", async () => {
    await load(database, "lab.use", "who int, what text, at int", [
      { who: 1, what: "a", at: 3 },
      { who: 1, what: "b", at: 1 },
      { who: 1, what: "c", at: 2 },
      { who: 2, what: "a", at: 1 },
      { who: 2, what: "c", at: 1 },
      { who: 3, what: "a", at: 1 },
      { who: 3, what: "b", at: 1 },
    ]);
    const rows = (more: string): Promise<unknown> =>
      database.rows(`select item, neighbours from ml.item_knn_train('lab.use', 'who', 'what', ${more})`);
    expect(await rows("neighbour_count => 1")).toEqual([
      { item: "a", neighbours: ["b", "c"] },
      { item: "b", neighbours: ["a"] },
    ]);
    expect(await rows("order_column => 'at', max_items => 2")).toEqual([
      { item: "a", neighbours: ["c", "b"] },
      { item: "b", neighbours: ["a"] },
      { item: "c", neighbours: ["a"] },
    ]);
  });

  test("an all-same matrix makes all items equally near; one item has no neighbours", async () => {
    const same = [1, 2, 3].flatMap((who) => ["a", "b", "c"].map((what) => ({ who, what })));
    await load(database, "lab.use", "who int, what text", same);
    expect(await database.rows("select * from ml.item_knn_train('lab.use', 'who', 'what')")).toEqual([
      { item: "a", neighbours: ["b", "c"], weights: [1, 1] },
      { item: "b", neighbours: ["a", "c"], weights: [1, 1] },
      { item: "c", neighbours: ["a", "b"], weights: [1, 1] },
    ]);
    await load(database, "lab.use", "who int, what text", [{ who: 1, what: "a" }]);
    expect(await database.rows("select * from ml.item_knn_train('lab.use', 'who', 'what')")).toEqual([]);
  });

  test("holds more items than a dense model", async () => {
    await database.query("drop table if exists lab.many");
    await database.query("create table lab.many as select i / 3 as who, i as what from generate_series(0, 16199) as i");
    expect(await database.value("select count(*)::int from ml.item_knn_train('lab.many', 'who', 'what')")).toBe(16_200);
  });

  test("refuses invalid input", async () => {
    await load(database, "lab.use", "who int, what text, amount float8", [{ who: 1, what: "a", amount: -5 }]);
    const refused = async (more: string): Promise<string> => {
      const error = await database.rejects(`select * from ml.item_knn_train('lab.use', 'who', 'what'${more})`);
      expect(error.hint).toBeTruthy();
      return `${error.code} ${error.message}`;
    };
    expect(await refused(", 'amount'")).toBe("CF001 lab.use has the weight -5");
    expect(await refused(", similarity => 'euclid'")).toBe("CF001 similarity is euclid");
    expect(await refused(", shrinkage => '-Infinity'")).toBe("CF001 shrinkage is -Infinity");
    expect(await refused(", neighbour_count => 0")).toBe("CF001 neighbour_count is 0");
    await database.query("truncate lab.use");
    expect(await refused("")).toBe("CF004 lab.use has no row with a person, an item and a weight");
    const error = await database.as("insights_analyst", {}, (db) =>
      db.rejects("select * from ml.item_knn_train('track.event', 'person_id', 'item_id')"),
    );
    expect(error.code).toBe("CF005");
  });
});
