/*
 * Time of privacy.erase_person for a person with many events among a million, and for an ordinary one.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/erase.ts [events] [events of the person] [people]
 *
 * Without DATABASE_URL it runs on the embedded database. The peer is the refresh that computes everything that is
 * derived from the events of such a person for the first time: an erasure computes the same differences, and deletes.
 */
import { benchDatabase } from "./database.ts";

const events = Number(process.argv[2] ?? 1_000_000);
const many = Number(process.argv[3] ?? 10_000);
const people = Number(process.argv[4] ?? 5_000);
const days = 365;

/** A small generator (Park and Miller, 1988), so that each run has the same events. */
let state = 7;
const random = (below: number): number => {
  state = (state * 48_271) % 2_147_483_647;
  return state % below;
};

const names = [
  "Page Viewed",
  "Course Viewed",
  "Video Content Playing",
  "Task Submitted",
  "Task Graded",
  "Note Written",
];
const start = Date.UTC(2025, 9, 1);
function message(person: string, index: number): object {
  const course = Math.floor(random(60) ** 2 / 60);
  const item = random(3) === 0 ? `course-${course}` : `page-${course}-${random(30)}`;
  return {
    type: "track",
    messageId: `${person} ${index}`,
    userId: person,
    event: names[random(names.length)],
    timestamp: new Date(start + random(days * 86_400) * 1000).toISOString(),
    properties: { item, ...(item.startsWith("course") ? { itemKind: "course" } : { parent: `course-${course}` }) },
  };
}

const { client, name, close } = await benchDatabase();
const send = async (messages: readonly object[]): Promise<void> => {
  await client.query("select track.ingest($1)", [JSON.stringify(messages)]);
};
const refresh = async (): Promise<number> => {
  const started = performance.now();
  for (;;) {
    const { rows } = await client.query("select people from track.refresh(2000)");
    if (!rows.some(({ people: done }) => done > 0)) return performance.now() - started;
  }
};

const size = 5_000;
const ordinary = Math.floor((events - 2 * many) / people);
for (let first = 0; first < people; first += Math.floor(size / ordinary)) {
  const batch: object[] = [];
  for (let person = first; person < Math.min(people, first + Math.floor(size / ordinary)); person += 1) {
    for (let index = 0; index < ordinary; index += 1) batch.push(message(`person-${person}`, index));
  }
  await send(batch);
}
await refresh();
await client.query("vacuum analyze");
const large = async (person: string): Promise<number> => {
  for (let first = 0; first < many; first += size) {
    await send(Array.from({ length: Math.min(size, many - first) }, (_, index) => message(person, first + index)));
  }
  return await refresh();
};
const refreshed = [await large("large-1"), await large("large-2")];
await client.query("analyze");

const { rows: totals } = await client.query(
  "select count(*)::int as events, count(distinct person_id)::int as people from track.event",
);
console.log(
  `${name}: ${totals[0].events.toLocaleString("en")} events of ${totals[0].people.toLocaleString("en")} people`,
);
const timed = async (sql: string): Promise<number> => {
  const started = performance.now();
  await client.query(sql);
  return performance.now() - started;
};
const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;
const erase = async (person: string): Promise<{ spent: number; counts: Record<string, Record<string, number>> }> => {
  const started = performance.now();
  const { rows } = await client.query("select counts from privacy.erase_person($1)", [person]);
  return { spent: performance.now() - started, counts: rows[0].counts };
};
const exported = await timed("select length(privacy.export_person('large-1')::text)");
const bare = await timed(
  "select length(jsonb_agg(to_jsonb(event))::text) from track.event where person_id = track.find_person('large-1')",
);
console.log(
  `export of ${many.toLocaleString("en")} events: ${seconds(exported)}, ${(exported / bare).toFixed(1)} of the JSON of the events alone (${seconds(bare)})`,
);
for (const [index, peer] of refreshed.entries()) {
  const { spent, counts } = await erase(`large-${index + 1}`);
  console.log(
    `erasure of ${counts["track.event"]?.["deleted"]?.toLocaleString("en")} events: ${seconds(spent)}, ` +
      `${(spent / peer).toFixed(2)} of their first refresh (${seconds(peer)})`,
  );
}
const small: number[] = [];
for (let person = 0; person < 20; person += 1) small.push((await erase(`person-${person}`)).spent);
small.sort((a, b) => a - b);
console.log(
  `erasure of ${ordinary} events: median ${seconds(small[10] ?? Number.NaN)} of 20, longest ${seconds(small.at(-1) ?? Number.NaN)}`,
);
await close();
