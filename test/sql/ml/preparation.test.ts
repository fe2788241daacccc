import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();
await database.query("create schema lab");

type Row = Record<string, unknown>;

async function table(name: string, columns: string, rows: readonly object[]): Promise<void> {
  await database.query(`drop table if exists lab.${name} cascade`);
  await database.query(`create table lab.${name} (${columns})`);
  await database.query(`insert into lab.${name} select * from jsonb_to_recordset($1) as row (${columns})`, [
    JSON.stringify(rows),
  ]);
}

/** Calls a function that makes lab.made from lab.<name> and returns that table. */
async function make(call: string): Promise<Row[]> {
  await database.query(
    "drop table if exists lab.made, lab.made_summary, lab.made_dictionary, lab.made_train, lab.made_test",
  );
  await database.query(`select ml.${call}`);
  return (await database.value("select to_regclass('lab.made') is not null"))
    ? database.rows("select * from lab.made")
    : [];
}

const refuse = async (call: string): Promise<{ code: string | undefined; hint: string | undefined }> => {
  await database.query(
    "drop table if exists lab.made, lab.made_summary, lab.made_dictionary, lab.made_train, lab.made_test",
  );
  const { code, hint } = await database.rejects(`select ml.${call}`);
  expect(
    await database.value(
      "select count(*)::int from pg_class where relnamespace = 'lab'::regnamespace and relname like 'made%'",
    ),
  ).toBe(0);
  return { code, hint };
};

describe("summary", () => {
  test("says of numbers and texts what is in them, by group too", async () => {
    await table("things", "size float8, name text, kind text", [
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
  });
});

describe("correlation and covariance", () => {
  test("are those of the definitions, in the lower triangle, unmoved by order, shift and scale", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.integer({ min: -50, max: 50 }),
            fc.integer({ min: -50, max: 50 }),
            fc.integer({ min: -50, max: 50 }),
          ),
          { minLength: 3, maxLength: 30 },
        ),
        async (rows) => {
          const center = (k: 0 | 1 | 2): number[] =>
            rows.map((row) => row[k] - rows.reduce((sum, other) => sum + other[k], 0) / rows.length);
          const product = (i: 0 | 1 | 2, j: 0 | 1 | 2): number =>
            center(i).reduce((sum, x, n) => sum + x * (center(j)[n] ?? 0), 0);
          fc.pre(product(0, 0) > 0 && product(1, 1) > 0 && product(2, 2) > 0);
          await table(
            "numbers",
            "a float8, b float8, c float8",
            rows.map(([a, b, c]) => ({ a, b, c })),
          );
          const covariance = await make("covariance('lab.numbers', 'lab.made')");
          expect(covariance.map((row) => row["variable"])).toEqual(["a", "b", "c"]);
          expect(covariance[0]?.["b"]).toBeNull();
          expect(covariance[2]?.["b"]).toBeCloseTo(product(2, 1) / (rows.length - 1), 8);
          expect(covariance[1]?.["b"]).toBeCloseTo(product(1, 1) / (rows.length - 1), 8);
          await table(
            "numbers",
            "a float8, b float8, c float8",
            rows.map(([a, b, c]) => ({ a, b: 7 * b + 1000, c: -c })).reverse(),
          );
          const correlation = await make("correlation('lab.numbers', 'lab.made', 'a, b, c')");
          expect(correlation[1]?.["a"]).toBeCloseTo(product(1, 0) / Math.sqrt(product(0, 0) * product(1, 1)), 10);
          expect(correlation[2]?.["b"]).toBeCloseTo(-product(2, 1) / Math.sqrt(product(1, 1) * product(2, 2)), 10);
        },
      ),
      { numRuns: 10 },
    );
  });

  test("leave rows with a null out and count them; by group", async () => {
    await table("numbers", "kind text, a float8, b float8", [
      { kind: "x", a: 1, b: 2 },
      { kind: "x", a: 2, b: 4 },
      { kind: "x", a: 3, b: null },
      { kind: "y", a: 1, b: 5 },
      { kind: "y", a: 2, b: 3 },
    ]);
    const rows = await make("correlation('lab.numbers', 'lab.made', 'a, b', false, 'kind')");
    expect(rows.map((row) => [row["kind"], row["variable"], row["a"]])).toEqual([
      ["x", "a", 1],
      ["x", "b", 1],
      ["y", "a", 1],
      ["y", "b", -1],
    ]);
    expect(await database.rows("select total_rows_processed, total_rows_skipped from lab.made_summary")).toEqual([
      { total_rows_processed: "4", total_rows_skipped: "1" },
    ]);
    expect((await refuse("correlation('lab.numbers', 'lab.made', 'a, kind')")).code).toBe("CF001");
    expect((await refuse("correlation('lab.numbers', 'lab.made', 'a')")).code).toBe("CF004");
  });
});

describe("encode_categorical_variables", () => {
  const shells = [
    { id: 1, sex: "M", rings: 10, weight: 0.5 },
    { id: 2, sex: "F", rings: 9, weight: 0.6 },
    { id: 3, sex: "M", rings: 9, weight: 0.7 },
    { id: 4, sex: null, rings: 10, weight: 0.8 },
    { id: 5, sex: "I", rings: 9, weight: 0.9 },
  ];

  test("one-hot, dummy, null, most frequent", async () => {
    await table("shells", "id int, sex text, rings int, weight float8", shells);
    const plain = await make("encode_categorical_variables('lab.shells', 'lab.made', 'sex, rings')");
    expect(plain[1]).toEqual({ id: 2, weight: 0.6, sex_F: 1, sex_I: 0, sex_M: 0, rings_9: 1, rings_10: 0 });
    for (const row of plain)
      expect([0, 1]).toContain((row["sex_F"] as number) + (row["sex_I"] as number) + (row["sex_M"] as number));
    const dummy = await make(
      "encode_categorical_variables('lab.shells', 'lab.made', 'sex, rings', null, 'id', null, 'sex=M, rings=10', true)",
    );
    expect(dummy[3]).toEqual({ id: 4, sex_F: 0, sex_I: 0, sex_null: 1, rings_9: 0, rings_null: 0 });
    const top = await make("encode_categorical_variables('lab.shells', 'lab.made', 'sex', null, 'id', '1')");
    expect(top).toEqual(
      [1, 2, 3, 4, 5].map((id) => ({
        id,
        sex_M: [1, 3].includes(id) ? 1 : 0,
        sex__misc__: [2, 5].includes(id) ? 1 : 0,
      })),
    );
    const array = await make(
      "encode_categorical_variables('lab.shells', 'lab.made', 'sex', null, 'id', output_type => 'array')",
    );
    expect(array[0]).toEqual({ id: 1, encoded: [0, 0, 1] });
    expect((await database.rows("select * from lab.made_dictionary order by index"))[2]).toEqual({
      encoded_column_name: "sex_M",
      index: 3,
      variable: "sex",
      value: "M",
    });
  });

  test("values too long or too alike to be names are numbered; quotes are safe", async () => {
    await table("words", "id int, word text", [
      { id: 1, word: "x".repeat(80) },
      { id: 2, word: `a"; drop table lab.words; --'` },
    ]);
    await make("encode_categorical_variables('lab.words', 'lab.made', 'word')");
    expect(await database.rows("select word_1, word_2 from lab.made order by id")).toEqual([
      { word_1: 0, word_2: 1 },
      { word_1: 1, word_2: 0 },
    ]);
    expect((await refuse("encode_categorical_variables('lab.words', 'lab.made', 'wort')")).hint).toBe(
      'Did you mean "word"?',
    );
    expect(
      (await refuse("encode_categorical_variables('lab.words', 'lab.made', 'word', null, null, null, 'word=z')")).code,
    ).toBe("CF002");
    expect(
      (await refuse("encode_categorical_variables('lab.words', 'lab.made', 'word', null, null, 'many')")).code,
    ).toBe("CF001");
  });
});

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
    await table("long", "id int, piv int, val float8", rows);
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

  test("refuses what is no aggregate", async () => {
    expect((await refuse("pivot('lab.long', 'lab.made', 'id', 'piv', 'val', 'median_of_all')")).code).toBe("CF002");
    expect(
      (await refuse("pivot('lab.long', 'lab.made', 'id', 'piv', 'val', 'avg(1) from pg_class; drop table x; --')"))
        .code,
    ).toBe("CF001");
    expect((await refuse("pivot('lab.long', 'lab.made', 'id', 'pivot', 'val')")).code).toBe("CF002");
    expect((await refuse("pivot('lab.long', 'lab.made', 'id', 'piv', '')")).code).toBe("CF001");
  });
});

describe("samples and splits", () => {
  test("keep the shares of the groups and each row once, whatever the order of rows", async () => {
    await database.query(
      "create table lab.people as select id, case when id % 10 = 0 then 'rare' else 'usual' end as kind from generate_series(1, 1000) as id",
    );
    await database.query("create table lab.shuffled as select * from lab.people order by md5(id::text)");
    const sample = await make("stratified_sample('lab.people', 'lab.made', 0.2, 'kind')");
    expect(sample.filter((row) => row["kind"] === "rare").length).toBe(20);
    expect(sample.length).toBe(200);
    const ids = (rows: Row[]): unknown[] => rows.map((row) => row["id"]).sort();
    expect(ids(await make("stratified_sample('lab.shuffled', 'lab.made', 0.2, 'kind')"))).toEqual(ids(sample));
    expect(ids(await make("stratified_sample('lab.people', 'lab.made', 0.2, 'kind', seed => 1)"))).not.toEqual(
      ids(sample),
    );
    const drawn = await make("stratified_sample('lab.people', 'lab.made', 1, 'kind', 'id', true)");
    expect(drawn.length).toBe(1000);
    const distinct = new Set(drawn.map((row) => row["id"])).size;
    expect(Math.abs(distinct / 1000 - (1 - Math.exp(-1)))).toBeLessThan(0.05);
  });

  test("train_test_split", async () => {
    const rows = await make("train_test_split('lab.people', 'lab.made', 0.7, null, 'kind')");
    expect(rows.length).toBe(1000);
    expect(rows.filter((row) => row["split"] === 1 && row["kind"] === "rare").length).toBe(70);
    expect((await make("train_test_split('lab.people', 'lab.made', 0.5, 0.1)")).length).toBe(600);
    await make("train_test_split('lab.people', 'lab.made', 0.9, separate_output_tables => true, target_cols => 'id')");
    expect(
      await database.value(
        "select count(*)::int from (select id from lab.made_train union select id from lab.made_test) as parts",
      ),
    ).toBe(1000);
    expect(await database.value("select count(*)::int from lab.made_test")).toBe(100);
    expect((await refuse("train_test_split('lab.people', 'lab.made', 1.2)")).code).toBe("CF001");
    expect((await refuse("train_test_split('lab.people', 'lab.made', 0.5, with_replacement => true)")).code).toBe(
      "CF001",
    );
    expect((await refuse("stratified_sample('lab.people', 'lab.made', 0)")).code).toBe("CF001");
  });
});

describe("time_split", () => {
  const call = "time_split('lab.weeks', 'lab.made', 'scored_at', 'outcome_at', 'last_event_at'";

  test("trains on the past whose outcome was known, tests on the rest", async () => {
    await database.query(`
      create table lab.weeks as
      select day as id, timestamptz '2026-01-01' + day * interval '1 day' as scored_at, timestamptz '2026-01-01' + (day + 10) * interval '1 day' as outcome_at,
        timestamptz '2026-01-01' + day * interval '1 day' - interval '1 hour' as last_event_at
      from generate_series(0, 99) as day`);
    const rows = await make(`${call}, timestamptz '2026-01-01' + interval '60 days')`);
    const ids = (split: string): number[] =>
      rows.filter((row) => row["split"] === split).map((row) => row["id"] as number);
    expect(Math.max(...ids("train"))).toBe(50);
    expect(Math.min(...ids("test"))).toBe(60);
    expect(rows.length).toBe(51 + 40);
    expect((await make(`${call}, test_proportion => 0.25)`)).filter((row) => row["split"] === "test").length).toBe(26);
  });

  test("refuses a feature that saw the future, by name", async () => {
    await database.query("update lab.weeks set last_event_at = scored_at + interval '1 minute' where id = 17");
    await database.query("drop table lab.made");
    const error = await database.rejects(`select ml.${call})`);
    expect(error.code).toBe("CF001");
    expect(error.message).toContain('"last_event_at" leaks: 1 rows');
    await database.query("update lab.weeks set last_event_at = scored_at where id = 17");
    expect((await refuse("time_split('lab.weeks', 'lab.made', 'scored_at', 'outcome_at', '')")).code).toBe("CF001");
    expect((await refuse("time_split('lab.weeks', 'lab.made', 'outcome_at', 'scored_at', 'last_event_at')")).code).toBe(
      "CF001",
    );
    expect((await refuse("time_split('lab.weeks', 'lab.made', 'id', 'outcome_at', 'last_event_at')")).code).toBe(
      "CF001",
    );
    expect((await refuse(`${call}, timestamptz '2020-01-01')`)).code).toBe("CF004");
  });
});

describe("cross_validation_general", () => {
  test("finds the depth that serves best, with whole courses in a fold", async () => {
    await database.query(`
      create table lab.learners as
      select id, id % 12 as course, (hashint4(id) & 1023) / 1024.0 as a, (hashint4(-id) & 1023) / 1024.0 as b, 0::float8 as y from generate_series(1, 600) as id`);
    await database.query(
      "update lab.learners set y = (case when (a > 0.5) = (b > 0.5) then 1 else 0 end) + 0.05 * (id % 7)",
    );
    const rows = await make(`cross_validation_general(
      'ml.tree_train', array['%data%', '%model%', '%id%', 'y', 'a, b', 'max_depth => depth'], array['text', 'text', 'text', 'text', 'text', 'int'], 'depth', array['1', '3'],
      'ml.tree_predict', array['%model%', '%data%', '%prediction%'], array['text', 'text', 'text'],
      'ml.mean_squared_error', array['%scored%', '%error%', 'estimated_y', 'y'], array['text', 'text', 'text', 'text'],
      'lab.learners', 'id', false, 'lab.made', null, 4, 'course')`);
    expect(rows.map((row) => row["depth"])).toEqual(["1", "3"]);
    expect(rows[0]?.["error_avg"] as number).toBeGreaterThan(0.2);
    expect(rows[1]?.["error_avg"] as number).toBeLessThan(0.05);
    expect(rows[1]?.["error_stddev"] as number).toBeGreaterThan(0);
    expect(await database.value("select count(*)::int from pg_class where relname like '\\_ml\\_cv%'")).toBe(0);
  });

  test("refuses unknown functions and parameters", async () => {
    const broken = (
      model: string,
      explored: string,
    ): string => `cross_validation_general('${model}', array['%data%', 'depth'], array['text', 'text'], '${explored}', array['1'],
      'ml.tree_predict', array['%model%'], array['text'], 'ml.mean_squared_error', array['%error%'], array['text'], 'lab.learners', 'id', false, 'lab.made')`;
    expect((await refuse(broken("ml.tree_trian", "depth"))).code).toBe("CF002");
    expect((await refuse(broken("ml.tree_train", "width"))).code).toBe("CF001");
  });
});
