import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, type Pair, scored } from "./assessment.ts";

const database = await lab();
const { load, refused, single } = assessing(database);

// The textbook definitions, pair by pair.
function areaUnderRoc(pairs: readonly Pair[]): number {
  const positives = pairs.filter((pair) => pair.observed === 1);
  const negatives = pairs.filter((pair) => pair.observed === 0);
  let won = 0;
  for (const positive of positives) {
    for (const negative of negatives) {
      won += positive.prediction > negative.prediction ? 1 : positive.prediction === negative.prediction ? 0.5 : 0;
    }
  }
  return won / (positives.length * negatives.length);
}

describe("measures of a score", () => {
  test("area and average precision are those of the definitions, in any order of rows, duplicated or rescaled", async () => {
    await fc.assert(
      fc.asyncProperty(scored, async (pairs) => {
        await load(pairs);
        const area = await single("area_under_roc");
        expect(area).toBeCloseTo(areaUnderRoc(pairs), 12);
        await load([...pairs, ...pairs].reverse().map((pair) => ({ ...pair, prediction: 7 * pair.prediction - 3 })));
        expect(await single("area_under_roc")).toBeCloseTo(area, 12);
        await load(pairs.map((pair) => ({ ...pair, prediction: -pair.prediction })));
        expect(await single("area_under_roc")).toBeCloseTo(1 - area, 12);
      }),
      { numRuns: 20 },
    );
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([{ prediction: 0.5, observed: 1 }]);
    expect(await refused("area_under_roc")).toBe("CF004");
  });

  test("odd names work, and a caller gains no rights", async () => {
    await database.query('create table lab."odd; name" ("the ""score""" float8, "was; so" boolean)');
    await database.query('insert into lab."odd; name" values (0.2, false), (0.7, true)');
    await database.query(
      `select ml.area_under_roc('lab."odd; name"', 'lab."out; put"', '"the ""score"""', '"was; so"')`,
    );
    expect(await database.value('select area_under_roc from lab."out; put"')).toBe(1);
    await database.query("grant usage, create on schema lab to insights_worker");
    await database.as("insights_worker", {}, async (db) => {
      expect(
        await db.rejects(`select ml.area_under_roc('lab."odd; name"', 'lab.mine', '"the ""score"""', '"was; so"')`),
      ).toMatchObject({ code: "CF005" });
    });
  });
});
