import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import * as algebra from "../../../support/matrix.ts";
import { easing, type Row, some } from "./ease.ts";

const database = await lab();
const { load, train } = await easing(database);

describe("ml.ease_train", () => {
  test("learns and unlearns a learner exactly, without training again", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.constantFrom(5, 100), async (seed, lambda) => {
        const people = some(25, 8, seed);
        const [leaver] = people;
        const others = people.filter((row) => row.person !== leaver?.person);
        // An item that only the leaver has would vanish from the others' model.
        const items = new Set(others.map((row) => row.item));
        const kept = people.filter((row) => items.has(row.item));
        fc.pre(others.length > 0 && kept.some((row) => row.person === leaver?.person));
        const x = [...items]
          .sort((a, b) => a - b)
          .map((item) => kept.find((row) => row.person === leaver?.person && row.item === item)?.weight ?? 0);

        await load(others);
        const without = await train(`, 'weight', ${lambda}`);
        await load(kept);
        const complete = await train(`, 'weight', ${lambda}`);
        const updated = async (rows: Row[], weight: number): Promise<number[][]> =>
          algebra.fromSql(
            await database.value<string[]>(
              "select ml.ease_weights(ml.rank_one_update($1::text[]::vector[], $2::text::vector, $3))::text[]",
              [rows.map((row) => row.inverse), JSON.stringify(x), weight],
            ),
          );
        expect(
          algebra.difference(await updated(without, 1), algebra.fromSql(complete.map((row) => row.weights))),
        ).toBeLessThan(1e-5);
        expect(
          algebra.difference(await updated(complete, -1), algebra.fromSql(without.map((row) => row.weights))),
        ).toBeLessThan(1e-5);
      }),
      { numRuns: 20 },
    );
  });
});

describe("ml.ease_weights", () => {
  const weights = async (inverse: algebra.Matrix): Promise<number[][]> =>
    algebra.fromSql(
      await database.value<string[]>("select ml.ease_weights($1::text[]::vector[])::text[]", [algebra.toSql(inverse)]),
    );

  test("divides each column by the negative of its diagonal, and leaves zeros on it", async () => {
    expect(
      await weights([
        [2, 0.5, -1],
        [0.5, 4, 0.25],
        [-1, 0.25, 0.5],
      ]),
    ).toEqual([
      [0, -0.125, 2],
      [-0.25, 0, -0.5],
      [0.5, -0.0625, 0],
    ]);
    expect(await weights([[3]])).toEqual([[0]]);
  });

  test("refuses what is not a square matrix", async () => {
    for (const [inverse, code] of [
      ["'{\"[1,2]\"}'", "CF001"],
      ['\'{"[1,2]", "[1]"}\'', "CF001"],
      ["'{\"[0]\"}'", "CF007"],
      ['\'{"[1,2]", "[2,-1]"}\'', "CF007"],
      ["'{\"[1e-40]\"}'", "CF007"],
      ['\'{"[1e38,1e38]", "[1e38,1e-30]"}\'', "CF007"],
      ["'{}'", "CF004"],
      ["null", "CF004"],
    ] as const) {
      expect(await database.rejects(`select ml.ease_weights(${inverse})`), inverse).toMatchObject({ code });
    }
  });
});
