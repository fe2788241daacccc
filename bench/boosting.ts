/*
 * Gradient boosting in SQL on Friedman's function (Multivariate adaptive regression splines, Annals of Statistics 19,
 * 1991), whose noise of variance 1 is the lowest squared error that any method can reach: accuracy on held-out rows,
 * time per tree as a multiple of `select count(*), avg(y)` over the same table in the same run, the plan of a
 * histogram, and the same histogram in DuckDB.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/boosting.ts [rows] [trees]
 */
import { DuckDBInstance } from "@duckdb/node-api";
import { benchDatabase } from "./database.ts";

const database = await benchDatabase();
const { client } = database;
const rows = Number(process.argv[2] ?? (database.embedded ? 20_000 : 200_000));
const trees = Number(process.argv[3] ?? 40);

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function value(sql: string): Promise<number> {
  const { rows: found, fields } = await client.query(sql);
  return Number(found[0]?.[fields[0]?.name ?? ""]);
}

const factors = [
  7919, 104_729, 15_485_863, 32_452_843, 49_979_687, 67_867_967, 86_028_121, 104_395_301, 122_949_823, 141_650_939,
];
const uniform = (factor: number): string => `((i * ${factor}) % 1000003) / 1000003.0::float8`;
const x = factors.map((_, j) => `x${j + 1}`);

try {
  await client.query(`
    create table public.friedman as
    select
      i as id, ${x.join(", ")},
      10 * sin(pi() * x1 * x2) + 20 * (x3 - 0.5) ^ 2 + 10 * x4 + 5 * x5 + sqrt(-2 * ln(u)) * cos(2 * pi() * v) as y
    from (
      select i, ${factors.map((factor, j) => `${uniform(factor)} as x${j + 1}`).join(", ")}, (${uniform(179_424_673)} + 1e-7) as u, ${uniform(198_491_317)} as v
      from generate_series(1::bigint, ${rows + 20_000}) as i
    ) as drawn`);
  await client.query(`create view public.known as select * from public.friedman where id <= ${rows}`);
  await client.query(`create view public.unseen as select * from public.friedman where id > ${rows}`);
  await client.query("vacuum analyze public.friedman");
  /** The best of three. */
  const best = async (work: () => Promise<unknown>): Promise<number> =>
    Math.min(await seconds(work), await seconds(work), await seconds(work));
  const scan = await best(() => client.query("select count(*), avg(y) from public.friedman"));
  console.log(
    `${database.name}, ${rows} rows to train on, 10 features, ${trees} trees of depth 6; a scan (count, avg) takes ${(1000 * scan).toFixed(1)} ms`,
  );

  const report = [];
  for (const [name, options] of [
    ["all rows", ""],
    ["half of rows and features per tree", ", row_sample => 0.5, feature_sample => 0.5"],
    ["32 bins", ", max_bins => 32"],
  ] as const) {
    await client.query("drop table if exists public.boosted, public.boosted_summary, public.predicted");
    const train = await seconds(() =>
      client.query(
        `select ml.gbm_train('public.known', 'public.boosted', 'id', 'y', '*', num_trees => ${trees}, learning_rate => ${4 / trees} ${options})`,
      ),
    );
    const predict = await seconds(() =>
      client.query("select ml.gbm_predict('public.boosted', 'public.unseen', 'public.predicted')"),
    );
    report.push({
      method: name,
      "s per tree": (train / trees).toFixed(3),
      "scans per tree": (train / trees / scan).toFixed(0),
      "ns per row, feature and tree": ((1e9 * train) / trees / rows / 10).toFixed(0),
      "squared error, held out": (
        await value("select avg((prediction - y) ^ 2) from public.predicted join public.friedman using (id)")
      ).toFixed(3),
      "rows predicted per second": (20_000 / predict).toFixed(0),
    });
  }
  console.table(report);
  console.log(
    `squared error of the mean: ${(await value("select var_pop(y) from public.unseen")).toFixed(2)}; of the true function:  ${(await value("select avg((10 * sin(pi() * x1 * x2) + 20 * (x3 - 0.5) ^ 2 + 10 * x4 + 5 * x5 - y) ^ 2) from public.unseen")).toFixed(3)}`,
  );

  // One level of one tree, as the training computes it.
  const bins = x.map((name, j) => `(${(j + 1) * 1024} + 1 + floor(${name} * 64))::int as f${j + 1}`).join(", ");
  const sets = x.map((_, j) => `(node, f${j + 1})`).join(", ");
  const codes = x.map((_, j) => `f${j + 1}`).join(", ");
  await client.query(`create temp table binned as select y - 14 as s1, 1::float8 as h, ${bins} from public.known`);
  await client.query("analyze pg_temp.binned");
  await client.query("set work_mem to '256MB'");
  await client.query("set jit to off");
  const histogram = `select node, coalesce(${codes}), sum(s1), sum(h), count(*) from (select case when f1 < 1056 then case when f2 < 2080 then 3 else 4 end else case when f3 < 3104 then 5 else 6 end end as node, s1, h, ${codes} from binned offset 0) as placed group by grouping sets (${sets})`;
  const here = await best(() => client.query(histogram));
  const { rows: plan } = await client.query(`explain (costs off) ${histogram}`);
  console.log(plan.map((line) => line["QUERY PLAN"]).join("\n"));
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const duck = await instance.connect();
  await duck.run(`
    create table binned as
    select y - 14 as s1, 1::double as h, ${x.map((name, j) => `cast(${(j + 1) * 1024} + 1 + floor(${name} * 64) as integer) as f${j + 1}`).join(", ")}
    from (
      select 10 * sin(pi() * x1 * x2) + 10 * x4 + 5 * x5 as y, *
      from (select ${factors.map((factor, j) => `((i * ${factor}) % 1000003) / 1000003.0::double as x${j + 1}`).join(", ")} from range(1, ${rows + 1}) as source(i))
    )`);
  const elsewhere = histogram.replace("offset 0", "");
  const there = await best(() => duck.runAndReadAll(elsewhere));
  console.log(
    `histogram of 4 nodes, 10 features, 64 bins over ${rows} rows: ${(1000 * here).toFixed(0)} ms, ${((1e9 * here) / rows / 10).toFixed(0)} ns per row and feature; ` +
      `DuckDB, one thread: ${(1000 * there).toFixed(0)} ms (PostgreSQL takes ${(here / there).toFixed(1)} times as long)`,
  );
} finally {
  await database.close();
}
