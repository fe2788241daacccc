import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dataset, hasDataset } from "../../../support/datasets.ts";
import { lab } from "../../../support/lab.ts";
import * as algebra from "../../../support/matrix.ts";
import { easing, matrix, some } from "./ease.ts";

const database = await lab();
const { load, train } = await easing(database);

describe("ml.ease_train", () => {
  test("gives the weights of the closed form in double precision", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer(),
        fc.constantFrom(0.5, 10, 458),
        async (people, items, seed, lambda) => {
          const interactions = some(people, items, seed);
          await load(interactions);
          const weighted = await train(`, 'weight', ${lambda}`);
          expect(
            algebra.difference(
              algebra.fromSql(weighted.map((row) => row.weights)),
              algebra.ease(matrix(interactions), lambda),
            ),
          ).toBeLessThan(1e-4);
          const present = interactions.map(({ person, item }) => ({ person, item }));
          const plain = await train(`, lambda => ${lambda}`);
          expect(
            algebra.difference(algebra.fromSql(plain.map((row) => row.weights)), algebra.ease(matrix(present), lambda)),
          ).toBeLessThan(1e-4);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("counts a pair once, adds its weights, and leaves rows out that name nobody or nothing", async () => {
    await load(some(20, 6, 5));
    const once = await train(", lambda => 20");
    await database.query("insert into lab.interaction select * from lab.interaction");
    await database.query("insert into lab.interaction values (null, 10, 1), ('p1', null, 1)");
    expect(await train(", lambda => 20")).toEqual(once);
    const halved = await train(", 'weight / 2', 20");
    await load(some(20, 6, 5));
    expect(await train(", 'weight', 20")).toEqual(halved);
  });

  test("numbers the items in their own order and leaves none of them to recommend itself", async () => {
    await load(some(40, 15, 8));
    const rows = await train();
    expect(rows.map((row) => row.item)).toEqual(Array.from({ length: 15 }, (_, i) => String(10 * i)));
    expect(rows.map((row) => row.item_no)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1));
    rows.forEach((row, i) => {
      expect((JSON.parse(row.weights) as number[])[i]).toBe(0);
    });
  });

  test("refuses invalid input", async () => {
    await load([{ person: "ada", item: 1 }]);
    const refused = async (call: string): Promise<string> => {
      const error = await database.rejects(`select * from ml.ease_train(${call})`);
      expect(error.hint).toBeTruthy();
      return `${error.code} ${error.message}`;
    };
    expect(await refused("'lab.interaktion', 'person', 'item'")).toBe('CF002 there is no table "lab.interaktion"');
    expect(await refused("'lab.interaction', 'persona', 'item'")).toBe(
      'CF002 person column: "lab.interaction" has no column "persona"',
    );
    expect(await refused("'lab.interaction', 'person', 'item', 'wait'")).toBe(
      'CF002 weight column: "lab.interaction" has no column "wait"',
    );
    expect(await refused("'lab.interaction', 'person', 'item', lambda => 0")).toBe("CF001 lambda is 0");
    expect(await refused("'lab.interaction', 'person', 'item', lambda => 'NaN'")).toBe("CF001 lambda is NaN");
    await database.query("insert into lab.interaction values ('bob', 2, 'Infinity')");
    expect(await refused("'lab.interaction', 'person', 'item', 'weight'")).toBe(
      "CF001 lab.interaction has the weight Infinity",
    );
    await database.query("insert into lab.interaction select 'bob', i, 1 from generate_series(1, 16001) as i");
    expect(await refused("'lab.interaction', 'person', 'item'")).toBe("CF008 16001 items are too many");
    await database.query("truncate lab.interaction");
    expect(await refused("'lab.interaction', 'person', 'item'")).toBe(
      "CF004 lab.interaction has no row with a person, an item and a weight",
    );
  });

  test("reads nothing that its caller may not read", async () => {
    const error = await database.as("insights_analyst", {}, (db) =>
      db.rejects("select * from ml.ease_train('track.event', 'person_id', 'item_id')"),
    );
    expect(error.code).toBe("CF005");
  });

  test.skipIf(!hasDataset("movielens_100k/ratings"))("agrees with double precision on MovieLens-100k", async () => {
    // The 250 films with the lowest numbers; bench/ease.ts takes all 1,682.
    const interactions = dataset("movielens_100k/ratings")
      .map((row) => ({ person: row["user_id"] ?? "", item: Number(row["movie_id"]) }))
      .filter((row) => row.item <= 250);
    await load(interactions);
    const rows = await train(", lambda => 458");
    const people = new Map<string, number[]>();
    for (const { person, item } of interactions) {
      const x = people.get(person) ?? Array.from({ length: 250 }, () => 0);
      x[item - 1] = 1;
      people.set(person, x);
    }
    const expected = algebra.ease([...people.values()], 458);
    expect(algebra.difference(algebra.fromSql(rows.map((row) => row.weights)), expected)).toBeLessThan(1e-6);
  });
});
