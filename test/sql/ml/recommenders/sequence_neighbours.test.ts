import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { difference } from "../../../support/matrix.ts";
import { coding, shuffled, type Use, uses, zeros } from "./neighbours.ts";

const database = await lab();
const { load, rows, weights, refused } = await coding(database);

/** C by all pairs of rows of a person, then divided by the sums of its rows and columns. */
function sequence(
  made: readonly Use[],
  items: number,
  decay: (distance: number) => number,
  outExponent: number,
  inExponent: number,
  reach: number,
  saturation = 0,
): number[][] {
  const c = zeros(items);
  for (const a of made) {
    for (const b of made) {
      if (a.person !== b.person || a.item === b.item || a.position === null || b.position === null) continue;
      const distance = b.position - a.position;
      const row = c[a.item - 1];
      if (distance < 1 || distance > reach || row === undefined) continue;
      row[b.item - 1] = (row[b.item - 1] ?? 0) + a.weight * b.weight * decay(distance);
    }
  }
  const out = c.map((row) => row.reduce((sum, value) => sum + value, 0));
  const into = c.map((_, j) => c.reduce((sum, row) => sum + (row[j] ?? 0), 0));
  return c.map((row, i) =>
    row.map((value, j) => {
      if (value === 0) return 0;
      const share = value / (out[i] ?? 0) ** outExponent;
      return (saturation === 0 ? share : Math.log(1 + saturation * share)) / (into[j] ?? 0) ** inExponent;
    }),
  );
}

describe("ml.sequence_neighbours", () => {
  test("gives the weights of directed co-occurrence with decay", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 25 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer(),
        fc.constantFrom(["geometric", 0.5], ["geometric", 0], ["geometric", 1], ["reciprocal", 1], ["reciprocal", 0.3]),
        fc.constantFrom([1, 0.5], [1, 0], [0, 0], [0.3, 0.9]),
        fc.constantFrom(1, 3, 1000),
        fc.constantFrom(0, 0, 0.5, 500),
        async (people, items, seed, [form, decay], [out, into], reach, saturation) => {
          const made = uses(people, items, seed);
          await load(made);
          const rate = Number(decay);
          const factor = (d: number): number => (form === "geometric" ? rate ** (d - 1) : d ** -rate);
          const call = `ml.sequence_neighbours('lab.coded', '${form}', ${decay}, ${out}, ${into}, ${reach},
            saturation => ${saturation})`;
          const expected = sequence(made, items, factor, out ?? 0, into ?? 0, reach, saturation);
          // relative to the greatest weight: without normalisation they are sums, in single precision
          const unit = Math.max(1, ...expected.flat());
          expect(difference(await weights(call, items), expected) / unit).toBeLessThan(1e-6);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("with exponents 1 and 0 and a distance of 1 gives the transitions of a Markov chain", async () => {
    const path = (person: number, ...items: number[]): Use[] =>
      items.map((item, i) => ({ person, item, weight: 1, position: i + 1 }));
    await load([...path(1, 1, 2, 3), ...path(2, 1, 2), ...path(3, 1, 3), ...path(4, 1, 2, 1, 3)]);
    const lists = await rows("ml.sequence_neighbours('lab.coded', 'geometric', 0, 1, 0, 1)");
    expect(lists).toEqual([
      { item_no: 1, neighbours: [2, 3], weights: [0.6, 0.4] },
      { item_no: 2, neighbours: [1, 3], weights: [0.5, 0.5] },
    ]);
  });

  test("does not depend on the order of the rows or on the settings of the session", async () => {
    const made = uses(60, 12, 7).map((use) => ({ ...use, weight: use.weight / 3 }));
    await load(made);
    const call =
      "select item_no, neighbours, hash_array_extended(weights, 0) from ml.sequence_neighbours('lab.coded') as list";
    const before = await database.rows(call);
    await load(shuffled(made, 3));
    const settings = {
      work_mem: "64kB",
      enable_hashagg: "off",
      extra_float_digits: "0",
      DateStyle: "SQL, DMY",
      search_path: "pg_catalog",
    };
    expect(await database.as("insights_analyst", settings, (db) => db.rows(call))).toEqual(before);
  });

  test("keeps the strongest of each column, then of each row", async () => {
    const made = uses(80, 12, 11);
    await load(made);
    const all = await weights("ml.sequence_neighbours('lab.coded', row_limit => 1000)", 12);
    const limited = await weights("ml.sequence_neighbours('lab.coded', column_limit => 3, row_limit => 2)", 12);
    const byColumn = all.map((row, i) =>
      row.map((value, j) => {
        const stronger = all.filter((other, k) => (other[j] ?? 0) > value || (other[j] === value && k < i)).length;
        return stronger < 3 ? value : 0;
      }),
    );
    const expected = byColumn.map((row) =>
      row.map((value, j) => {
        const stronger = row.filter((other, k) => other > value || (other === value && k < j)).length;
        return stronger < 2 ? value : 0;
      }),
    );
    expect(limited).toEqual(expected);
  });

  test("is empty without pairs, and refuses invalid parameters", async () => {
    await load([]);
    expect(await rows("ml.sequence_neighbours('lab.coded')")).toEqual([]);
    await load([
      { person: 1, item: 1, weight: 1, position: 1 },
      { person: 2, item: 1, weight: 1, position: 1 },
      { person: 2, item: 1, weight: 1, position: 2 },
      { person: 3, item: 2, weight: 0, position: 1 },
      { person: 3, item: 1, weight: 1, position: 2 },
    ]);
    expect(await rows("ml.sequence_neighbours('lab.coded')")).toEqual([]);
    for (const [more, message] of [
      ["decay_form => 'linear'", "decay_form is linear"],
      ["decay_form => null", "decay_form is null"],
      ["decay => 1.5", "decay is 1.5"],
      ["decay => 'NaN'", "decay is NaN"],
      ["decay => -1, decay_form => 'reciprocal'", "decay is -1"],
      ["decay => 'Infinity', decay_form => 'reciprocal'", "decay is Infinity"],
      ["out_exponent => 'NaN'", "the exponents are NaN and 0.5"],
      ["in_exponent => -1", "the exponents are 1 and -1"],
      ["max_distance => 0", "max_distance is 0"],
      ["max_distance => 1001", "max_distance is 1001"],
      ["column_limit => 0", "column_limit is 0"],
      ["row_limit => null", "row_limit is null"],
    ]) {
      const error = await refused(`ml.sequence_neighbours('lab.coded', ${more})`);
      expect(error).toMatchObject({ code: "CF001", message });
      expect(error.hint).toBeTruthy();
    }
  });
});
