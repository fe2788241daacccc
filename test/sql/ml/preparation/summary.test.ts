import { describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { making } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("summary", () => {
  test("describes numeric and text columns, by group too", async () => {
    await load(database, "lab.things", "size float8, name text, kind text", [
      { size: 1, name: "oak", kind: "a" },
      { size: -2, name: "ash", kind: "a" },
      { size: 0, name: "oak", kind: "b" },
      { size: null, name: " ", kind: "b" },
      { size: 5, name: null, kind: "b" },
    ]);
    const [size, name] = await make(
      "summary('lab.things', 'lab.made', 'size, name', ntile_array => array[0, 0.5, 1], how_many_mfv => 1)",
    );
    expect(size).toMatchObject({
      target_column: "size",
      column_number: 1,
      data_type: "double precision",
      row_count: "5",
      distinct_values: "4",
      missing_values: "1",
      blank_values: null,
      fraction_missing: 0.2,
      positive_values: "2",
      negative_values: "1",
      zero_values: "1",
      mean: 1,
      min: -2,
      max: 5,
      first_quartile: -0.5,
      median: 0.5,
      third_quartile: 2,
      quantile_array: [-2, 0.5, 5],
      group_by: null,
    });
    expect(size?.["variance"]).toBeCloseTo(26 / 3, 12);
    expect((size?.["confidence_interval"] as number[] | undefined)?.[1]).toBeCloseTo(
      1 + 1.959964 * Math.sqrt(26 / 12),
      12,
    );
    expect(name).toMatchObject({
      blank_values: "1",
      fraction_blank: 0.2,
      min: 1,
      max: 3,
      most_frequent_values: ["oak"],
      mfv_frequencies: ["2"],
      positive_values: null,
    });
    const grouped = await make("summary('lab.things', 'lab.made', 'size', 'kind')");
    expect(grouped.map((row) => [row["group_by"], row["group_by_value"], row["row_count"], row["mean"]])).toEqual([
      ["kind", "a", "2", -0.5],
      ["kind", "b", "3", 2.5],
    ]);
    expect((await make("summary('lab.things', 'lab.made')")).length).toBe(3);
    // MADlib's arguments in MADlib's order.
    expect(await make("summary('lab.things', 'lab.made', 'size', 'kind', true, true, null, 10, false, 15)")).toEqual(
      grouped,
    );
  });

  test("refuses what it cannot summarize, by name", async () => {
    await load(database, "lab.things", "size float8, name text", [{ size: 1, name: "oak" }]);
    expect(await refuse("summary('lab.thing', 'lab.made')")).toEqual({
      code: "CF002",
      hint: 'Did you mean "lab.things"?',
    });
    expect(await refuse("summary('lab.things', 'lab.made', 'sise')")).toEqual({
      code: "CF002",
      hint: 'Did you mean "size"?',
    });
    expect((await refuse("summary('lab.things', 'lab.things')")).code).toBe("CF003");
    expect((await refuse("summary('lab.things', 'lab.made', ntile_array => array[0.5, 2])")).code).toBe("CF001");
  });
});
