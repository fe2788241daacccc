import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import pg from "pg";
import { signToken } from "../src/api/authentication.ts";
import { authenticationOptions, startApi } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { generator } from "../test/support/matrix.ts";
import { nativeDatabase } from "./database.ts";

const usage = `Serving by size: lists with reasons for people with 20 and with 100 items, out of 1,000, 10,000 and 100,000 items.

DATABASE_URL=postgres://… npm exec -- node bench/serving.ts [--record] [1000 10000 100000]

Needs a PostgreSQL server. The events of 200 people per size of history go through track.ingest; the items that they
take are drawn with a preference for popular ones. The weights are not learned: each target has 200 neighbours on
average, a source at most 1,000, as a training keeps them, so that the popular sources have 1,000. Times are measured
by the caller, one request at a time, every person once, in random order, after 20 requests that do not count. The
first call is that of a new connection, with everything in memory: median of 20 connections.

--record   only what the record of a list of 10, 20 and 50 rows costs, of 50 people per size of history, and of 1,000
           items unless sizes are given. For each person in turn, the list without and with its record, in an order that alternates, so that
           both have the same load of the machine. The ratio of each round of all people is one observation: printed
           are the mean of 12 rounds and its 95 % interval, of processor time of the server's process where that can be
           read (Linux, the machine of the server), otherwise of elapsed time. Without --record, of 10 rows.`;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { record: { type: "boolean", default: false }, help: { type: "boolean", default: false } },
});
const sizes = positionals.map(Number);
if (flags.help || sizes.some((size) => !Number.isInteger(size) || size < 100)) {
  console.log(usage);
  process.exit(flags.help ? 0 : 1);
}
const peoplePerHistory = flags.record ? 50 : 200;
const rounds = 12;
const histories = [20, 100];

function report(label: string, times: number[]): void {
  times.sort((a, b) => a - b);
  const at = (part: number): string =>
    `${(times[Math.floor(part * (times.length - 1))] ?? 0).toFixed(1).padStart(6)} ms`;
  console.log(`${label.padEnd(52)} median ${at(0.5)}   95 % ${at(0.95)}   longest ${at(1)}`);
}

async function measure<T>(label: string, callers: readonly T[], request: (caller: T) => Promise<unknown>) {
  for (const caller of callers.slice(0, 20)) await request(caller);
  const times: number[] = [];
  for (const caller of callers) {
    const started = performance.now();
    await request(caller);
    times.push(performance.now() - started);
  }
  report(label, times);
}

/** Processor time of a process in milliseconds, or null where the system does not tell it. */
function processorTime(pid: number): number | null {
  const file = `/proc/${pid}/schedstat`;
  return existsSync(file) ? Number(readFileSync(file, "utf8").split(" ")[0]) / 1e6 : null;
}

/** One list after the other, without its record and with it, in an order that alternates. */
async function record(client: pg.Client, label: string, people: readonly string[], lists: readonly [string, string]) {
  const { rows } = await client.query(
    "select pg_backend_pid() as pid, inet_server_addr() is null or host(inet_server_addr()) like '127.%' as is_here",
  );
  const isProcessor = rows[0].is_here && processorTime(rows[0].pid) !== null;
  const clock = (): number => (isProcessor ? (processorTime(rows[0].pid) ?? 0) : performance.now());
  const means: [number, number][] = [];
  for (let round = 0; round <= rounds; round++) {
    const taken: [number, number] = [0, 0];
    for (const [n, person] of people.entries()) {
      await client.query(
        "select set_config('insights.person', $1, false), set_config('insights.person_id', track.current_person_id()::text, false)",
        [person],
      );
      for (const which of n % 2 === round % 2 ? ([0, 1] as const) : ([1, 0] as const)) {
        const list = lists[which];
        const started = clock();
        await client.query({
          name: list,
          text: `select to_json(r) from recommend.${list} as r`,
          values: list.includes("$1") ? [person] : [],
        });
        taken[which] += clock() - started;
      }
    }
    // The first one prepares plans and fills caches.
    if (round > 0) means.push([taken[0] / people.length, taken[1] / people.length]);
  }
  const logs = means.map(([without, recorded]) => Math.log(recorded / without));
  const mean = logs.reduce((sum, one) => sum + one) / logs.length;
  const error = Math.sqrt(logs.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (logs.length - 1) / logs.length);
  const average = (which: 0 | 1): string => (means.reduce((sum, one) => sum + one[which], 0) / means.length).toFixed(2);
  // The quantile of Student's t for 12 rounds.
  const [lower, middle, upper] = [-2.201, 0, 2.201].map((t) => Math.exp(mean + t * error).toFixed(3));
  console.log(
    `${label.padEnd(52)} ${average(0)} and ${average(1)} ms of ${isProcessor ? "processor" : "elapsed"} time, ` +
      `ratio ${middle} (${lower} to ${upper})`,
  );
}

/** Eight requests at a time. */
async function concurrently(label: string, callers: readonly string[], request: (caller: string) => Promise<unknown>) {
  const times: number[] = [];
  const waiting = [...callers, ...callers];
  const started = performance.now();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let caller = waiting.pop(); caller !== undefined; caller = waiting.pop()) {
        const one = performance.now();
        await request(caller);
        times.push(performance.now() - one);
      }
    }),
  );
  const perSecond = (times.length / (performance.now() - started)) * 1_000;
  report(`${label} (${perSecond.toFixed(0)} a second)`, times);
}

async function bench(size: number): Promise<void> {
  const { client, url, name, close } = await nativeDatabase(`insights_bench_${randomBytes(4).toString("hex")}`);
  try {
    console.log(`\n${size.toLocaleString("en")} items, ${name}`);
    await client.query(
      `insert into track.item (external_id, kind, title, attributes)
       select 'course-' || n, 'course', 'Course ' || n, jsonb_build_object('subject', 'subject ' || n % 50)
       from generate_series(1, $1) as n`,
      [size],
    );
    await client.query("select from track.item_ancestor limit 1");
    await client.query(
      `insert into track.item_ancestor (item_id, ancestor_item_id, depth)
       select item_id, item_id, 0 from track.item on conflict do nothing`,
    );
    const next = generator(size);
    const people: { person: string; taken: number }[] = [];
    const messages: object[] = [];
    for (const taken of histories) {
      for (let n = 0; n < peoplePerHistory; n++) {
        const person = `p-${taken}-${n}`;
        people.push({ person, taken });
        const items = new Set<number>();
        while (items.size < taken) items.add(1 + Math.floor(size * next() ** 3));
        for (const item of items) {
          messages.push({
            type: "track",
            messageId: `${person}-${item}`,
            userId: person,
            event: "Course Enrolled",
            timestamp: new Date(Date.UTC(2026, 0, 1) + Math.floor(next() * 8_000_000) * 1_000).toISOString(),
            properties: { item: `course-${item}` },
          });
        }
      }
    }
    for (let start = 0; start < messages.length; start += 1_000) {
      const batch = messages.slice(start, start + 1_000);
      const { rows } = await client.query("select accepted, errors from track.ingest($1)", [JSON.stringify(batch)]);
      if (rows[0].accepted !== batch.length) throw new Error(JSON.stringify(rows[0].errors));
    }
    await client.query("select track.refresh(100000)");
    await client.query("select analytics.refresh_views(), recommend.refresh_lists()");
    await client.query(
      `select ml.register_model('recommend.course', task => 'recommendation', algorithm => 'ease', document => null,
         metrics => '{"ndcg_at_10": 0.5}', parameters => '{}', metric => 'ndcg_at_10', row_count => 1,
         description => 'Weights that are not learned')`,
    );
    await client
      .query("select ml.deploy('recommend.course', 1, 'first')")
      .catch(() =>
        client.query(
          "insert into ml.deployment (project_id, model_id, strategy) select project_id, model_id, 'first' from ml.model",
        ),
      );
    await client.query(
      "insert into recommend.model_part (model_id, part, algorithm) select model_id, 1, 'ease' from ml.model",
    );
    // The length of a row falls with the popularity of its item, from 1,000; 200 on average.
    await client.query(
      `insert into recommend.neighbours (model_id, part, item_id, person_count, neighbour_ids, weights)
       select model.model_id, 1, item.item_id, 100, entry.ids, entry.weights
       from ml.model
       cross join track.item
       cross join lateral (
         select array_agg(listed.item_id order by listed.item_id) as ids,
           array_agg((random() ^ 4 * 0.2 - 0.01)::real order by listed.item_id) as weights
         from (
           select distinct 1 + floor(random() * $1)::bigint as item_id
           from generate_series(1, least(1000, $1 * 0.9, greatest(60, 1000 * exp(-5.0 * item.item_id / $1)))::int)
           where item.item_id > 0
         ) as listed
       ) as entry`,
      [size],
    );
    const { rows: stored } = await client.query(
      `select round(avg(cardinality(neighbour_ids))) as mean, pg_size_pretty(pg_total_relation_size('recommend.neighbours')) as size
       from recommend.neighbours`,
    );
    console.log(`  ${stored[0].mean} neighbours per item, ${stored[0].size}`);
    await client.query("vacuum analyze");

    const shuffled = people.map((one) => ({ ...one, order: next() })).sort((a, b) => a.order - b.order);
    const serve = (top: number) => (person: string) =>
      client.query({
        name: "serve",
        text: "select to_json(r) from recommend.for_person($1, $2) as r",
        values: [person, top],
      });
    const of = (taken: number) => shuffled.filter((one) => one.taken === taken).map(({ person }) => person);
    for (const taken of histories) {
      for (const top of flags.record ? [10, 20, 50] : [10]) {
        const what = `${top} rows, ${taken} items taken`;
        await client.query("set role insights_worker");
        await record(client, `serve_person and for_person, ${what}`, of(taken), [
          `for_person($1, ${top})`,
          `serve_person($1, ${top})`,
        ]);
        await client.query("set role insights_learner");
        await record(client, `serve_me and for_me, ${what}`, of(taken), [`for_me(${top})`, `serve_me(${top})`]);
        await client.query("reset role");
      }
    }
    if (flags.record) return;
    await measure("select 1", of(20), () => client.query({ name: "one", text: "select 1 as one" }));
    for (const taken of histories) await measure(`recommend.for_person, ${taken} items taken`, of(taken), serve(10));
    await measure(
      "  of an unknown person",
      of(20).map((person) => `unknown ${person}`),
      serve(10),
    );
    await measure("recommend.for_items, 3 items", of(20), () =>
      client.query({
        name: "basket",
        text: "select to_json(r) from recommend.for_items(array['course-1', 'course-20', 'course-300'], 10) as r",
      }),
    );
    const first: number[] = [];
    for (const person of of(20).slice(0, 20)) {
      const fresh = new pg.Client({ connectionString: url });
      await fresh.connect();
      await fresh.query("select 1");
      const started = performance.now();
      await fresh.query("select to_json(r) from recommend.for_person($1, 10) as r", [person]);
      first.push(performance.now() - started);
      await fresh.end();
    }
    report("  the first call of a connection", first);

    const config = { ...readConfig(), port: 0, jwtSecret: randomBytes(32).toString("hex") };
    const api = await startApi(config, { url, embedded: false, pooler: false, own: false, close: async () => {} });
    const options = await authenticationOptions(config);
    const tokens = new Map<string, string>();
    for (const { person } of people)
      tokens.set(person, await signToken({ role: "learner", person, source: undefined }, options));
    const ask = (query: string) => async (person: string) => {
      const response = await fetch(`${api.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${tokens.get(person)}` },
        body: JSON.stringify({ query }),
      });
      const body = (await response.json()) as { errors?: unknown };
      if (body.errors !== undefined) throw new Error(JSON.stringify(body.errors));
    };
    const list =
      "{ recommendForMe(top: 10) { nodes { rank item title score basis reasons { kind item title contribution } servingId } } }";
    for (const [label, query] of [
      ["POST /graphql, 8 at a time, { __typename }", "{ __typename }"],
      ["POST /graphql, 8 at a time, recommendForMe", list],
    ] as const) {
      for (const person of of(20).slice(0, 20)) await ask(query)(person);
      await concurrently(label, of(20), ask(query));
    }
    await api.close();
  } finally {
    await close();
  }
}

for (const size of sizes.length > 0 ? sizes : flags.record ? [1_000] : [1_000, 10_000, 100_000]) await bench(size);
