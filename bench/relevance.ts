/*
 * `monitor.relevance`, `monitor.position_bias` and `monitor.calibration` for admins and analysts, as ratios to a plain grouped scan of the same
 * rows in the same run: see `usage`.
 */
import { parseArgs } from "node:util";
import { benchDatabase } from "./database.ts";

const usage = `Relevance of recorded lists: the time of monitor.relevance, monitor.position_bias and monitor.calibration.

DATABASE_URL=postgres://… npm exec -- node bench/relevance.ts [--rows 1000000] [--rounds 5]

Lists of ten rows of 500 courses, by four versions and two bases, of one person per 100 rows, within eight weeks. Each
statement runs in turn, --rounds times; printed are the shortest time, and its ratio to the shortest time of a scan of the
same rows that counts rows and clicks by rank and bucket of people. Without DATABASE_URL, the database is embedded.`;

const { values: flags } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "5" },
    help: { type: "boolean", default: false },
  },
});
const [rows, rounds] = [Number(flags.rows), Number(flags.rounds)];
const isValid = Number.isInteger(rows) && rows >= 10_000 && rows <= 1e8 && Number.isInteger(rounds) && rounds > 0;
if (flags.help || !isValid) {
  console.log(usage);
  process.exit(flags.help ? 0 : 1);
}

const database = await benchDatabase();
try {
  const { client } = database;
  const people = Math.ceil(rows / 100);
  const lists = Math.ceil(rows / 10);
  await client.query(
    `insert into track.item (external_id, kind) select 'course ' || n, 'course' from generate_series(1, 500) as n;
     insert into ml.project (name, task, metric) values ('recommend.course', 'recommendation', 'ndcg_at_10');
     insert into ml.model (project_id, version, algorithm)
     select project_id, version, 'ease' from ml.project, generate_series(1, 4) as version;
     select setseed(0.3)`,
  );
  await client.query(
    `insert into track.person_set_block (name, block, people)
     select 'counted', block, bit_or(b'1'::bit(4096) >> (person_id % 4096)::int)
     from (select n::bigint as person_id, n / 4096 as block from generate_series(1, $1::int) as n) as person
     group by block`,
    [people],
  );
  // Good courses are nearer to the top; a click needs a rank that is examined and a course that is relevant.
  const chunk = 20_000;
  for (let start = 0; start < lists; start += chunk) {
    await client.query(
      `insert into recommend.impression (
         person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, seen_at, clicked_at, completed_at,
         dismissed_at, liking, score
       )
       select
         person_id, gen_random_uuid(), model_id, item_id, rank, case when random() < 0.1 then 'popular' else 'model' end,
         listed_at, true,
         case when random() < 0.5 then listed_at end,
         case when random() < power(rank, -0.8) * (0.6 - 0.001 * place) * activity then listed_at + interval '1 minute' end,
         case when random() < 0.02 then listed_at + interval '1 day' end,
         case when random() < 0.01 then listed_at + interval '1 day' end,
         case when random() < 0.02 then 1.0 end,
         (0.6 - 0.001 * place) * activity + 0.1 * random()
       from (
         select
           list.*, item.*,
           row_number() over (partition by list.n order by item.place * (1 + random()))::int as rank
         from (
           select
             n, 1 + n * 7919 % $3 as person_id, 0.2 + 1.2 * (n % 11) / 10.0 as activity,
             (select min(model_id) from ml.model) + (n * 4 / $4 + n % 2) % 4 as model_id,
             timestamptz '2025-01-06 00:00Z' + n * (interval '56 days' / $4) as listed_at
           from generate_series($1::bigint, $2::bigint - 1) as n
         ) as list
         cross join lateral (
           select distinct floor(500 * power(random(), 2) + 0 * list.n)::int as place from generate_series(1, 14)
         ) as drawn
         join (
           select item_id, row_number() over (order by item_id)::int - 1 as place from track.item
         ) as item using (place)
       ) as ranked
       where rank <= 10`,
      [start, Math.min(start + chunk, lists), people, lists],
    );
  }
  await client.query("vacuum analyze recommend.impression");
  await client.query("analyze track.item, ml.model");

  const period = "'2025-01-06Z', '2025-03-10Z'";
  const statements: [label: string, role: string, sql: string][] = [
    [
      "a grouped scan",
      "insights_reader",
      `select rank, person_id % 64, count(*), sum((clicked_at is not null)::int) from recommend.impression
       where listed_at >= '2025-01-06Z' and listed_at < '2025-03-10Z' group by 1, 2`,
    ],
    ...["insights_admin", "insights_analyst"].flatMap((role): [string, string, string][] => [
      [`position_bias, ${role.slice(9)}`, role, `select * from monitor.position_bias(${period})`],
      [`calibration, ${role.slice(9)}`, role, `select * from monitor.calibration(${period})`],
      [`relevance by model, ${role.slice(9)}`, role, `select * from monitor.relevance(${period})`],
      [
        `relevance by week, ${role.slice(9)}`,
        role,
        `select * from monitor.relevance(${period}, 'all', by_week => true)`,
      ],
    ]),
  ];
  const shortest = statements.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; round++) {
    for (const [n, [, role, sql]] of statements.entries()) {
      await client.query("begin");
      await client.query(`set local role ${role}`);
      const started = performance.now();
      await client.query(sql);
      shortest[n] = Math.min(shortest[n] ?? 0, performance.now() - started);
      await client.query("commit");
    }
  }
  const stored = await client.query("select count(*)::int as n from recommend.impression");
  console.log(`${stored.rows[0].n.toLocaleString("en")} rows, ${database.name}`);
  for (const [n, [label]] of statements.entries()) {
    const time = shortest[n] ?? 0;
    console.log(
      `${label.padEnd(32)} ${time.toFixed(0).padStart(7)} ms   ${(time / (shortest[0] ?? 1)).toFixed(1).padStart(6)}`,
    );
  }
} finally {
  await database.close();
}
