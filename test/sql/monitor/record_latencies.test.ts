import { randomUUID } from "node:crypto";
import pg from "pg";
import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const counts = (bucket: number, calls = 1): string =>
  `{${Array.from({ length: 38 }, (_, index) => (index === bucket ? calls : 0))}}`;

const record = (
  db: Pick<Queries, "value">,
  writer: string,
  flush: number,
  operations: readonly string[],
  { calls = 1, age = "0 s" } = {},
): Promise<number> =>
  db.value<number>(
    `select monitor.record_latencies($1, $2, $4, array(
       select row(operation, $5, 1, 2, 0.25)::monitor.latency_counts from unnest($3::text[]) as operation
     ))::int`,
    [writer, flush, operations, age, counts(3, calls)],
  );

const stored = (db: Pick<Queries, "rows">): Promise<object[]> =>
  db.rows(
    `select operation, counts[4]::int as calls, failures::int, messages::int, seconds
     from monitor.latency order by hour_at, operation`,
  );

test("counts of several processes are added, a repeated flush is not", async () => {
  await database.as("insights_worker", {}, async (db) => {
    const [one, other] = [randomUUID(), randomUUID()];
    expect(await record(db, one, 1, ["trackIngest", "/healthz"])).toBe(2);
    expect(await record(db, other, 1, ["trackIngest"], { calls: 5 })).toBe(1);
    expect(await record(db, one, 1, ["trackIngest", "/healthz"])).toBe(0);
    expect(await record(db, one, 2, ["trackIngest"])).toBe(1);
    // Late and out of order.
    expect(await record(db, one, 1, ["trackIngest"])).toBe(0);
    expect(await stored(db)).toEqual([
      { operation: "/healthz", calls: 1, failures: 1, messages: 2, seconds: 0.25 },
      { operation: "trackIngest", calls: 7, failures: 3, messages: 6, seconds: 0.75 },
    ]);
  });
});

test("the hour is that of the first call, by the clock of the database", async () => {
  await database.as("insights_worker", {}, async (db) => {
    await db.query("set local timezone to 'Asia/Kathmandu'");
    await record(db, randomUUID(), 1, ["trackIngest"], { age: "3 hours" });
    await record(db, randomUUID(), 1, ["trackIngest"]);
    expect(
      await db.rows(
        `select (date_trunc('hour', now(), 'UTC') - hour_at)::text as age, extract(minute from hour_at at time zone 'UTC')::int as minute
         from monitor.latency order by 1`,
      ),
    ).toEqual([
      { age: "00:00:00", minute: 0 },
      { age: "03:00:00", minute: 0 },
    ]);
  });
});

const good = `row('trackIngest', '${counts(1)}', 0, 0, 0.1)::monitor.latency_counts`;
test.each<readonly [string, string | null]>([
  ["null, 1, '0 s', array[good]", "the writer is null, the flush 1"],
  ["gen_random_uuid(), 0, '0 s', array[good]", null],
  ["gen_random_uuid(), null, '0 s', array[good]", null],
  ["gen_random_uuid(), 1, null, array[good]", "age is null"],
  ["gen_random_uuid(), 1, '-1 s', array[good]", "age is -00:00:01"],
  ["gen_random_uuid(), 1, 'infinity', array[good]", null],
  ["gen_random_uuid(), 1, '0 s', null", "there are null latencies"],
  ["gen_random_uuid(), 1, '0 s', '{}'", "there are 0 latencies"],
  ["gen_random_uuid(), 1, '0 s', array_fill(good, array[5001])", "there are 5001 latencies"],
  ["gen_random_uuid(), 1, '0 s', array[good, null]", 'the latency of operation "null" is invalid'],
  ...[
    `row(null, '${counts(1)}', 0, 0, 0.1)`,
    `row('a"b', '${counts(1)}', 0, 0, 0.1)`,
    `row('a${"\\n"}b', '${counts(1)}', 0, 0, 0.1)`,
    `row('${"x".repeat(101)}', '${counts(1)}', 0, 0, 0.1)`,
    "row('a', '{1,2}', 0, 0, 0.1)",
    "row('a', null, 0, 0, 0.1)",
    `row('a', '[0:37]=${counts(1)}', 0, 0, 0.1)`,
    `row('a', '{${counts(1)}}', 0, 0, 0.1)`,
    `row('a', '${counts(1, -1)}', 0, 0, 0.1)`,
    `row('a', '${counts(1).replace("1", "null")}', 0, 0, 0.1)`,
    `row('a', '${counts(1, 9e18)}', 0, 0, 0.1)`,
    `row('a', '${counts(1)}', -1, 0, 0.1)`,
    `row('a', '${counts(1)}', 0, null, 0.1)`,
    `row('a', '${counts(1)}', 0, 0, 'NaN')`,
    `row('a', '${counts(1)}', 0, 0, 'infinity')`,
    `row('a', '${counts(1)}', 0, 0, -0.1)`,
  ].map((row) => [`gen_random_uuid(), 1, '0 s', array[${row}::monitor.latency_counts]`, null] as const),
])("%s is refused and leaves nothing", async (parameters, message) => {
  const error = await database.rejects(`select monitor.record_latencies(${parameters.replaceAll("good", good)})`);
  expect(error.code).toBe("CF001");
  if (message !== null) expect(error.message).toBe(message);
  expect(error.message.length).toBeLessThan(200);
  expect(await database.value("select count(*)::int from monitor.latency_writer")).toBe(0);
});

test.skipIf(!database.native)(
  "two processes that write the same hour at once lose nothing and do not block",
  async () => {
    const names = Array.from({ length: 60 }, (_, index) => `operation_${index}`);
    const clients = await Promise.all(
      Array.from({ length: 2 }, async () => {
        const client = new pg.Client({ connectionString: database.url() });
        await client.connect();
        return client;
      }),
    );
    await Promise.all(
      clients.map(async (client, index) => {
        const writer = randomUUID();
        for (let flush = 1; flush <= 40; flush += 1) {
          await client.query(
            `select monitor.record_latencies($1, $2, '0 s', array(
             select row(operation, $4, 0, 1, 0.5)::monitor.latency_counts from unnest($3::text[]) as operation
           ))`,
            // In opposite orders.
            [writer, flush, index === 0 ? names : [...names].reverse(), counts(5)],
          );
        }
      }),
    );
    await Promise.all(clients.map((client) => client.end()));
    expect(
      await database.rows(
        `select distinct sums.* from (
         select operation, sum(counts[6])::int as calls, sum(messages)::int as messages, sum(seconds) as seconds
         from monitor.latency where operation like 'operation%' group by operation
       ) as named (operation, calls, messages, seconds)
       cross join lateral (select named.calls, named.messages, named.seconds) as sums`,
      ),
    ).toEqual([{ calls: 80, messages: 80, seconds: 40 }]);
  },
);

test("only workers may record them", async () => {
  expect(
    await rolesThatMay(database, `select monitor.record_latencies(gen_random_uuid(), 1, '0 s', array[${good}])`),
  ).toEqual(["worker"]);
});
