import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

const nearest = (name: string | null, candidates: readonly string[] | null): Promise<string | null> =>
  database.value("select common.nearest_name($1, $2)", [name, candidates]);

/** Dice's coefficient of the pairs of letters, with a blank at either end, as it is defined. */
function dice(a: string, b: string): number {
  const pairs = (text: string): Set<string> => {
    const padded = ` ${text.toLowerCase()} `;
    return new Set(Array.from({ length: padded.length - 1 }, (_, i) => padded.slice(i, i + 2)));
  };
  const [one, other] = [pairs(a), pairs(b)];
  return (2 * [...one].filter((pair) => other.has(pair)).length) / (one.size + other.size);
}

test("is the one of the largest share of common pairs of letters", async () => {
  const candidates = ["price", "prize", "size", "rooms", "bedroom", "tax", "bath", "lot"];
  for (const name of ["pric", "prices", "sise", "room", "bedrooms", "TAX", "bth"]) {
    const best = candidates.toSorted((a, b) => dice(name, b) - dice(name, a) || (a < b ? -1 : 1))[0] ?? "";
    expect(dice(name, best)).toBeGreaterThanOrEqual(0.3);
    expect(await nearest(name, candidates), name).toBe(best);
  }
});

test("is null if no name is near, or none is given", async () => {
  expect(await nearest("zzz", ["price", "size"])).toBeNull();
  expect(await nearest("price", [])).toBeNull();
  expect(await nearest("price", null)).toBeNull();
  expect(await nearest(null, ["price"])).toBeNull();
  expect(await nearest("", ["price"])).toBeNull();
});

test("does bounded work: long names and those after the thousandth are not compared", async () => {
  const long = "x".repeat(101);
  expect(await nearest(long, [long, long.slice(1)])).toBeNull();
  expect(await nearest(long.slice(1), [long, long.slice(1)])).toBe(long.slice(1));
  const many = Array.from({ length: 1000 }, (_, i) => `${i}`);
  expect(await nearest("price", [...many, "price"])).toBeNull();
  expect(await nearest("price", [...many.slice(1), "price"])).toBe("price");
});
