import { describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { making } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("pivot", () => {
  // The example of MADlib's page.
  const rows = [
    { id: 0, piv: 10, val: 1 },
    { id: 0, piv: 10, val: 2 },
    { id: 0, piv: 20, val: 3 },
    { id: 1, piv: 20, val: 4 },
    { id: 1, piv: 30, val: 5 },
    { id: 1, piv: 30, val: 6 },
    { id: 1, piv: 10, val: 7 },
    { id: null, piv: 10, val: 8 },
    { id: 1, piv: null, val: 9 },
    { id: 1, piv: 10, val: null },
  ];

  test("gives MADlib's table, with fills, several aggregates and nulls", async () => {
    await load(database, "lab.long", "id int, piv int, val float8", rows);
    expect(await make("pivot('lab.long', 'lab.made', 'id', 'piv', 'val')")).toEqual([
      { id: 0, val_avg_piv_10: 1.5, val_avg_piv_20: 3, val_avg_piv_30: null },
      { id: 1, val_avg_piv_10: 7, val_avg_piv_20: 4, val_avg_piv_30: 5.5 },
      { id: null, val_avg_piv_10: 8, val_avg_piv_20: null, val_avg_piv_30: null },
    ]);
    expect((await make("pivot('lab.long', 'lab.made', 'id', 'piv', 'val', 'sum', '111')"))[0]).toEqual({
      id: 0,
      val_sum_piv_10: 3,
      val_sum_piv_20: 3,
      val_sum_piv_30: 111,
    });
    const [, wide] = await make("pivot('lab.long', 'lab.made', 'id', 'piv', 'val', 'val=[sum, count]', null, true)");
    expect(wide).toMatchObject({ val_sum_piv_null: 9, val_count_piv_10: "1", val_count_piv_null: "1" });
    const dictionary = await make("pivot('lab.long', 'lab.made', 'id', 'piv', 'val', output_col_dictionary => true)");
    expect(dictionary[0]).toEqual({ id: 0, __p_1__: 1.5, __p_2__: 3, __p_3__: null });
    expect((await database.rows("select * from lab.made_dictionary"))[2]).toEqual({
      column_name: "__p_3__",
      pval: "val",
      agg: "avg",
      piv: "30",
    });
  });

  test("refuses a function that is not an aggregate", async () => {
    expect((await refuse("pivot('lab.long', 'lab.made', 'id', 'piv', 'val', 'median_of_all')")).code).toBe("CF002");
    expect(
      (await refuse("pivot('lab.long', 'lab.made', 'id', 'piv', 'val', 'avg(1) from pg_class; drop table x; --')"))
        .code,
    ).toBe("CF001");
    expect((await refuse("pivot('lab.long', 'lab.made', 'id', 'pivot', 'val')")).code).toBe("CF002");
    expect((await refuse("pivot('lab.long', 'lab.made', 'id', 'piv', '')")).code).toBe("CF001");
  });
});
