/*
 * The store of message hashes: bytes per message, and milliseconds for 10,000 new and 10,000 repeated messages, compared
 * with one table with a primary key that holds all hashes.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/messages.ts [messages …]
 *
 * Sizes: 1,000,000 and 10,000,000 messages unless given. The hashes are generated straight into the tables: one percent of
 * them is recent, about as many as arrive in half a week of a year. The two alternate batch by batch, each batch in a
 * transaction of its own. The WAL is that of the first batch after a checkpoint, with the full pages that the server writes.
 */
import { createHash, randomBytes } from "node:crypto";
import { benchDatabase } from "./database.ts";

const given = process.argv.slice(2).map(Number);
const sizes = given.length > 0 ? given : [1_000_000, 10_000_000];
const batchSize = 10_000;
const rounds = 8;
/** Beyond it, filling the one table takes longer than the rest. */
const largestPeer = 20_000_000;

const { client, name, close } = await benchDatabase();
const value = async <T>(sql: string, values: unknown[] = []): Promise<T> =>
  Object.values((await client.query(sql, values)).rows[0])[0] as T;

await client.query(`
  create table public.one_table (source_id smallint not null, message_hash uuid not null, primary key (source_id, message_hash));
  create table public.batch (messages track.parsed_message[], hashes uuid[]);
`);
const uuids = (): string[] =>
  Array.from({ length: batchSize }, () => createHash("sha256").update(randomBytes(16)).digest("hex").slice(0, 32));

/** Random hashes straight into the rows, as many in each, sorted as the product sorts them. */
async function fill(size: number): Promise<number> {
  const depth = Math.max(8, Math.ceil(Math.log2(size / 450)));
  const perRow = Math.round(size / 2 ** depth);
  await client.query("truncate track.packed_message, track.message, public.one_table");
  await client.query(
    `insert into track.packed_message (node, tags, remainders)
     select node,
       array_agg(tag order by tag, remainder),
       array_agg(remainder order by tag, remainder)
     from generate_series(1 << $1::int, (2 << $1::int) - 1) as node
     cross join lateral (
       select
         floor(random() * 65535)::int - 32767 as tag,
         -- The bits of the node after the first 8, then random ones.
         (((node::bigint << (32 - $1::int) & 16777215) + floor(random() * (1::bigint << (32 - $1::int)))::bigint) << 40)
           + floor(random() * 1099511627776)::bigint as remainder
       from generate_series(1, $2::int)
     ) as random_hash
     group by node`,
    [depth, perRow],
  );
  await client.query(
    "update track.message_packing set depth = $1, next_depth = $1, position = 0, step = step + 1, messages = $2",
    [depth, perRow * 2 ** depth],
  );
  await client.query(
    "insert into track.message select 1, md5('recent' || n)::uuid from generate_series(1, $1::int) as n",
    [size / 100],
  );
  if (size <= largestPeer) {
    await client.query(
      "insert into public.one_table select 1, hash from (select md5('old' || n)::uuid as hash from generate_series(1, $1::int) as n order by 1) as old",
      [size],
    );
  }
  for (const table of ["track.packed_message", "track.message", "public.one_table"])
    await client.query(`vacuum (analyze) ${table}`);
  return perRow * 2 ** depth;
}

async function prepare(hashes: readonly string[] | undefined): Promise<void> {
  await client.query("truncate public.batch");
  await client.query(
    `insert into public.batch
     select
       array_agg(jsonb_populate_record(null::track.parsed_message, jsonb_build_object('position', n, 'message_hash', hash)) order by n),
       array_agg(hash order by n)
     from ${
       hashes === undefined
         ? `(
              select
                (lpad(to_hex((node - (1 << depth)) >> (depth - 8)), 2, '0') || lpad(to_hex(remainders[place] # 1), 16, '0')
                  || lpad(to_hex(tags[place] + 32768), 4, '0') || repeat('0', 10))::uuid as hash,
                row_number() over () as n
              from track.message_packing
              cross join generate_series(1, ceil(${batchSize} / 2.0 ^ depth)::int) as place
              cross join (select * from track.packed_message order by hashint4(node) limit ${batchSize}) as packed
              limit ${batchSize}
            )`
         : "unnest($1::uuid[]) with ordinality"
     } as sent (hash, n)`,
    hashes === undefined ? [] : [hashes],
  );
}

const store = "select coalesce(cardinality(track._store_messages(messages, 1::smallint)), 0) from public.batch";
const peer = `with stored as (
    insert into public.one_table select 1, hash from public.batch, unnest(hashes) as hash order by hash on conflict do nothing returning 1
  )
  select count(*)::int from stored`;

const median = (times: readonly number[]): number =>
  times.toSorted((one, other) => one - other)[times.length >> 1] ?? 0;
async function timed(sql: string, times: number[], expected: number): Promise<void> {
  const started = performance.now();
  const stored = await value<number>(sql);
  times.push(performance.now() - started);
  if (stored !== expected) throw new Error(`stored ${stored} messages instead of ${expected}`);
}
async function walOf(sql: string): Promise<number> {
  await prepare(uuids());
  await client.query("checkpoint");
  const before = await value<string>("select pg_current_wal_insert_lsn()");
  await client.query(sql);
  return Number(await value("select pg_current_wal_insert_lsn() - $1::pg_lsn", [before]));
}
const bytes = async (table: string, rows: number): Promise<string> =>
  (Number(await value("select pg_total_relation_size($1)", [table])) / rows).toFixed(1);

console.log(`${name}: messages of ${batchSize.toLocaleString("en")} per batch, median of ${rounds}`);
for (const size of sizes) {
  const packed = await fill(size);
  const compared = size <= largestPeer;
  const times = { fresh: [] as number[], peer: [] as number[], repeated: [] as number[] };
  const wal = [await walOf(store), compared ? await walOf(peer) : Number.NaN].map((each) => (each / 1e6).toFixed(1));
  for (let round = 0; round < rounds; round++) {
    await prepare(uuids());
    await timed(store, times.fresh, batchSize);
    if (compared) await timed(peer, times.peer, batchSize);
  }
  for (let round = 0; round < rounds; round++) {
    await prepare(undefined);
    await timed(store, times.repeated, 0);
  }
  const one = median(times.peer);
  const own = median(times.fresh);
  console.log(
    [
      `${size.toLocaleString("en")} messages`,
      `  bytes per message       packed ${await bytes("track.packed_message", packed)}, recent ${await bytes("track.message", size / 100 + (rounds + 1) * batchSize)}` +
        (compared ? `, in one table ${await bytes("public.one_table", size + (rounds + 1) * batchSize)}` : ""),
      `  10,000 new messages     ${own.toFixed(0)} ms${compared ? `, in one table ${one.toFixed(0)} ms, ratio ${(own / one).toFixed(2)}` : ""}`,
      `  their WAL               ${wal[0]} MB${compared ? `, in one table ${wal[1]} MB` : ""}`,
      `  10,000 repeated ones    ${median(times.repeated).toFixed(0)} ms`,
    ].join("\n"),
  );
}
await close();
