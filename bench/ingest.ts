/*
 * Events per second through track.ingest, compared with the same rows by "insert … select from unnest" into a bare
 * table.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/ingest.ts [learners] [batch]
 *
 * Without DATABASE_URL it runs on the embedded database. The events are those of a simulated population. The bare table
 * has the columns of track.event and the message's hash, jsonb included, and the same two unique keys, but no other
 * index, no look-up of names, no validation, no consent. The two alternate batch by batch, each batch in a transaction
 * of its own. Every second batch of track.ingest is sent with a write key.
 */
import { createHash } from "node:crypto";
import type { Message } from "../src/importer/message.ts";
import { Options } from "../src/simulator/options.ts";
import { Simulation } from "../src/simulator/simulation.ts";
import { benchDatabase } from "./database.ts";

const learners = Number(process.argv[2] ?? 200);
const size = Number(process.argv[3] ?? 1_000);
const warmUp = 10;

const until = new Date("2026-03-02");
const seen = new Set<string>();
const messages: Message[] = [];
for (const delivery of new Simulation(Options.parse({ learners, until })).deliveries()) {
  for (const message of delivery.messages) {
    if (seen.has(message.messageId) || message.type === "identify") continue;
    seen.add(message.messageId);
    messages.push(message);
  }
}

const people = new Map<string, number>();
const items = new Map<string, number>();
const types = new Map<string, number>();
const number = (known: Map<string, number>, name: string): number => {
  const found = known.get(name) ?? known.size + 1;
  known.set(name, found);
  return found;
};

/** An array as PostgreSQL reads it, so that neither side pays for the driver's conversion of parameters. */
const literal = (values: readonly (string | number)[]): string =>
  `{${values.map((value) => `"${String(value).replaceAll(/["\\]/g, "\\$&")}"`).join(",")}}`;

function columnsOf(batch: readonly Message[]): string[] {
  const rows = batch.map((message) => {
    const received = Date.parse(message.receivedAt ?? "");
    const occurred = received - (Date.parse(message.sentAt ?? "") - Date.parse(message.timestamp));
    const hash = createHash("sha256").update(message.messageId).digest("hex").slice(0, 32);
    return {
      person: number(people, message.userId ?? message.anonymousId ?? ""),
      occurred: new Date(occurred).toISOString(),
      event: `${occurred.toString(16).padStart(12, "0")}7${hash.slice(0, 3)}8${hash.slice(3, 18)}`,
      type: number(types, message.event ?? message.type),
      item: number(items, String(message.properties?.["item"])),
      received: message.receivedAt ?? "",
      properties: JSON.stringify(message.properties),
      hash,
    };
  });
  return [
    literal(rows.map(({ person }) => person)),
    literal(rows.map(({ occurred }) => occurred)),
    literal(rows.map(({ event }) => event)),
    literal(rows.map(({ person }) => person)),
    literal(rows.map(({ type }) => type)),
    literal(rows.map(({ item }) => item)),
    literal(rows.map(({ received }) => received)),
    literal(rows.map(() => 1)),
    literal(rows.map(({ properties }) => properties)),
    literal(rows.map(({ hash }) => hash)),
  ];
}

const batches = Array.from({ length: Math.floor(messages.length / size) }, (_, index) => {
  const batch = messages.slice(index * size, (index + 1) * size);
  return { json: JSON.stringify(batch), columns: columnsOf(batch) };
});

const { client, name, close } = await benchDatabase();
await client.query(`
  create table public.bare (
    person_id bigint not null,
    occurred_at timestamptz not null,
    event_id uuid not null,
    identity_id bigint not null,
    event_type_id int not null,
    item_id bigint,
    received_at timestamptz not null,
    source_id smallint not null,
    properties jsonb,
    message_hash uuid not null,
    primary key (person_id, occurred_at, event_id),
    unique (source_id, message_hash)
  )
`);

const ways = {
  "insert … select from unnest": ({ columns }: (typeof batches)[number]) =>
    client.query({
      name: "bare",
      text: `
        insert into public.bare
        select * from unnest(
          $1::bigint[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::int[], $6::bigint[], $7::timestamptz[], $8::smallint[], $9::jsonb[],
          $10::uuid[]
        )
        on conflict do nothing`,
      values: columns,
    }),
  "track.ingest": ({ json }: (typeof batches)[number]) =>
    client.query({ name: "ingest", text: "select * from track.ingest($1)", values: [json] }),
};

const { rows: keys } = await client.query(
  "select encode(sha256(convert_to(write_key, 'UTF8')), 'hex') as hash from track.create_write_key('bench', 'server')",
);
const keyHash: string = keys[0].hash;
const withKey = async (hash: string): Promise<unknown> =>
  await client.query({ name: "key", text: "select set_config('insights.write_key', $1, false)", values: [hash] });

const spent: Record<string, number[]> = {
  "insert … select from unnest": [],
  "track.ingest": [],
  "track.ingest with a write key": [],
  "track.ingest, all duplicates": [],
};
const timed = async (label: string, work: Promise<unknown>): Promise<void> => {
  const started = performance.now();
  await work;
  spent[label]?.push(performance.now() - started);
};
for (const [index, batch] of batches.entries()) {
  const keyed = index % 2 === 1;
  await timed("insert … select from unnest", ways["insert … select from unnest"](batch));
  await withKey(keyed ? keyHash : "");
  await timed(keyed ? "track.ingest with a write key" : "track.ingest", ways["track.ingest"](batch));
}
for (const [index, batch] of batches.entries()) {
  await withKey(index % 2 === 1 ? keyHash : "");
  await timed("track.ingest, all duplicates", ways["track.ingest"](batch));
}

const { rows } = await client.query(
  "select (select count(*)::int from track.event) as events, (select count(*)::int from public.bare) as bare",
);
const expected = batches.length * size;
if (rows[0].events !== expected || rows[0].bare !== expected) {
  throw new Error(`stored ${rows[0].events} and ${rows[0].bare} events instead of ${expected}`);
}

const rate = (label: string): number => {
  const times = (spent[label] ?? []).slice(warmUp);
  return (1_000 * size * times.length) / times.reduce((sum, each) => sum + each, 0);
};
const peer = rate("insert … select from unnest");
console.log(`${name}: ${batches.length} batches of ${size} events, the first ${warmUp} not counted`);
for (const label of Object.keys(spent)) {
  const own = rate(label);
  console.log(
    `${label.padEnd(30)} ${Math.round(own).toLocaleString("en").padStart(9)} events per second  ${(own / peer).toFixed(2)}`,
  );
}
await close();
