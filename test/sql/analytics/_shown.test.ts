import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown as reference } from "../../support/floor.ts";

const database = await testDatabase();

const shown = (figure: number, people: number, floor: number | null, whole: number | null = null) =>
  database.value<number>("select analytics._shown($1, $2, $3, $4)", [figure, people, floor, whole]);
const mean = (figure: number | null, people: number, floor: number | null, of: number | null = null) =>
  database.value<number | null>("select analytics._shown_mean($1, $2, $3, $4)", [figure, people, floor, of]);

describe("the rounding methodology of HESA", () => {
  test.each([
    [0, 0],
    [1, 0],
    [2, 0],
    [5, 5],
    [7, 5],
    [8, 10],
    [12, 10],
    [13, 15],
    [22, 20],
    [23, 25],
    [102, 100],
    [103, 105],
    [12_342, 12_340],
  ])("of numbers of people: %s is shown as %s", async (people, rounded) => {
    expect(await shown(people, people, 5)).toBe(rounded);
  });

  test("halves are rounded upwards", async () => {
    for (const [people, floor, rounded] of [
      [5, 2, 6],
      [7, 2, 8],
      [6, 4, 8],
      [15, 10, 20],
    ] as const)
      expect(await shown(people, people, floor)).toBe(rounded);
  });

  test("but groups of 3 and 4, which HESA shows as 5, are below the floor", async () => {
    for (const people of [3, 4]) expect(await shown(people, people, 5)).toBe(0);
  });

  test("averages of 7 or fewer are suppressed, and percentages of fewer than 22.5", async () => {
    expect([await mean(0.5, 7, 5), await mean(0.5, 8, 5)]).toEqual([null, 0.5]);
    expect([await mean(0.5, 22, 5, 0.5), await mean(0.5, 23, 5, 0.5)]).toEqual([null, 0.5]);
  });
});

describe("sums", () => {
  test.each([
    // A sum, of how many, rounded to a multiple of five times the average, as a power of two.
    [6, 6, 5],
    [36, 6, 40],
    [86, 7, 80],
    [40, 5, 40],
    [41, 5, 80],
    [1000, 100, 1040],
    [1_000_000, 50_000, 1_000_000],
    [0.3, 6, 0.3125],
    [0, 9, 0],
  ])("%s of %s people is %s", async (sum, people, rounded) => {
    expect(await shown(sum, people, 5)).toBe(rounded);
  });

  test("a group of the floor or more is never shown as none, and each figure is that of the reference", async () => {
    const rows = await database.rows<{ figure: number; people: number; floor: number; shown: number; part: number }>(
      `select figure, people, floor, analytics._shown(figure, people, floor) as shown,
         analytics._shown(figure / 3, people, floor, figure) as part
       from generate_series(1, 40) as people
       cross join unnest(array[2, 5, 10]) as floor
       cross join lateral (
         select people * factor as figure from unnest(array[1, 1.01, 1.5, 2, 3.9, 7, 64, 1e6]::float8[]) as factor
       ) as sum`,
    );
    for (const { figure, people, floor, shown: value, part } of rows) {
      expect(value > 0).toBe(people >= floor);
      expect(value, `${figure} of ${people}, floor ${floor}`).toBe(reference(figure, people, floor));
      expect(part, `part of ${figure} of ${people}, floor ${floor}`).toBe(reference(figure / 3, people, floor, figure));
    }
  });

  test("a part, as with a half-life, is rounded like the whole: what one person adds is not seen", async () => {
    // Of fifty people in a month, one was there today.
    expect(await shown(1, 50, 5, 50)).toBe(0);
    expect(await shown(4, 50, 5, 50)).toBe(0);
    expect(await shown(6, 50, 5, 50)).toBe(5);
  });
});

test("a floor of one, or none, shows exact figures", async () => {
  for (const floor of [1, null]) {
    expect(await shown(1.5, 1, floor)).toBe(1.5);
    expect(await mean(0.123, 1, floor)).toBe(0.123);
    expect(await mean(0.123, 1, floor, 0.2)).toBe(0.123);
  }
});

test("a mean of nothing is null, not 0", async () => {
  for (const of of [null, 1]) expect(await mean(null, 30, 5, of)).toBe(null);
  expect(await database.value("select analytics._shown_time(null, 30, 5)")).toBe(null);
});

test("a mean is as precise as a sum", async () => {
  expect(await mean(0.31, 20, 5)).toBe(0.25);
  expect(await mean(0.31, 20_000, 5)).toBeCloseTo(0.31, 3);
  expect(await mean(0.31, 20_000, 5)).not.toBe(0.31);
  expect(await mean(0, 20, 5)).toBe(0);
});
