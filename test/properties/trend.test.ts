import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/* Trends of any event, item, zone, set and value, after any history, are those of the events counted one by one. */
const database = await testDatabase();

/** Berlin puts its clocks forward on 2026-03-29, Chatham back on 2026-04-05. */
const start = Date.UTC(2026, 2, 27);
const users = ["ada", "ben", "cleo", "dan"];
const browsers = ["b1", "b2"];
const items = ["course-1", "page-1", "page-2", "course-2", "loner"];
const parents: Record<string, string> = { "page-1": "course-1", "page-2": "course-1" };

const event = fc.record({
  who: fc.constantFrom(...users, ...browsers),
  minute: fc.integer({ min: 0, max: 60 * 24 * 14 }),
  event: fc.constantFrom("Task Submitted", "Task Submitted", "Course Rated", "Task Graded"),
  item: fc.constantFrom(null, ...items),
  score: fc.constantFrom<(string | number | boolean | null | object)[]>(
    1,
    "1",
    2.5,
    true,
    "other",
    null,
    { a: 1 },
    "'x",
  ),
});
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ what: fc.constant("events" as const), events: fc.array(event, { maxLength: 9 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constant("identify" as const),
      user: fc.constantFrom(...users),
      browser: fc.constantFrom(...browsers),
      plan: fc.constantFrom("free", "pro", 7, null),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("exclude" as const), user: fc.constantFrom(...users) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("pilot" as const), user: fc.constantFrom(...users) }) },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant("delete" as const), fraction: fc.integer({ min: 2, max: 5 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("refresh" as const), people: fc.integer({ min: 1, max: 4 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function perform(db: Queries, { what, ...given }: Step, key: string): Promise<void> {
  if ("events" in given) {
    await ingest(
      db,
      given.events.map(
        ({ who, minute, event: name, item, score }, index): Message => ({
          type: "track",
          messageId: `${key} ${index}`,
          ...(browsers.includes(who) ? { anonymousId: who } : { userId: who }),
          event: name,
          timestamp: new Date(start + minute * 60_000).toISOString(),
          properties: { ...(item === null ? {} : { item }), ...(score === null ? {} : { score }) },
        }),
      ),
    );
  } else if ("plan" in given) {
    await ingest(db, [
      {
        type: "identify",
        messageId: key,
        userId: given.user,
        anonymousId: given.browser,
        traits: { plan: given.plan },
      },
    ]);
  } else if ("fraction" in given) {
    await db.query("delete from track.event where abs(hashtext(event_id::text)) % $1 = 0", [given.fraction]);
    await db.query("select track.rebuild()");
  } else if ("people" in given) {
    await db.query("select track.refresh($1)", [given.people]);
  } else if (await db.value("select exists (select from track.identity where external_id = $1)", [given.user])) {
    await db.query(
      what === "exclude"
        ? "select track.exclude_person($1, 'test')"
        : "select track.add_to_person_set('pilot', array[track.find_person($1)])",
      [given.user],
    );
  }
}

interface Occurrence {
  bucket: string;
  person: string;
  event: string;
  is_automatic: boolean;
  items: string[];
  item: string | null;
  score: string | null;
  plan: string | null;
  is_excluded: boolean;
  is_counted: boolean;
  is_pilot: boolean;
}

/** Each event, with its bucket and what is known about the person. */
const occurrences = async (db: Queries, bucket: string, zone: string): Promise<Occurrence[]> =>
  await db.rows<Occurrence>(
    `with person as (
       select
         person_id,
         bool_or(identity_id in (select identity_id from track.exclusion)) as is_excluded,
         bool_or(kind = 'user') as has_user,
         bool_or(identity_id in (select identity_id from track.person_set_member where name = 'pilot')) as is_pilot
       from track.identity group by 1
     )
     select
       date_trunc($1, occurred_at, $2)::text as bucket, event.person_id::text as person, event_type.name as event,
       event_type.is_automatic or source.is_automatic as is_automatic,
       array(
         with recursive above as (
           select item.item_id, item.external_id, item.parent_item_id from track.item where item.item_id = event.item_id
           union all
           select item.item_id, item.external_id, item.parent_item_id
           from above join track.item on item.item_id = above.parent_item_id
         )
         select external_id from above
       ) as items,
       (select external_id from track.item where item.item_id = event.item_id) as item,
       properties ->> 'score' as score,
       (
         select value #>> '{}' from track.trait
         where trait.person_id = event.person_id and trait.name = 'plan'
         order by set_at desc, value desc, identity_id limit 1
       ) as plan,
       coalesce(is_excluded, false) as is_excluded, coalesce(has_user and not is_excluded, false) as is_counted,
       coalesce(is_pilot, false) as is_pilot
     from track.event
     join track.event_type using (event_type_id)
     join track.source using (source_id)
     left join person using (person_id)`,
    [bucket, zone],
  );

const question = fc.record({
  event: fc.constantFrom(null, "Task Submitted", "Course Rated", "Task Graded"),
  bucket: fc.constantFrom("minute", "hour", "day", "week", "month", "quarter", "year"),
  zone: fc.constantFrom(
    "UTC",
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",
    "America/St_Johns",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
  ),
  item: fc.constantFrom(null, null, ...items),
  among: fc.constantFrom(null, "counted", "pilot", "~pilot", "counted & ~pilot"),
  breakdown: fc.constantFrom(null, null, "item", "property.score", "trait.plan", "set.pilot", "set.counted"),
  top: fc.integer({ min: 1, max: 8 }),
});
type Question = typeof question extends fc.Arbitrary<infer T> ? T : never;

const breakdownValue = (one: Occurrence, breakdown: string | null): string | null => {
  switch (breakdown) {
    case "item":
      return one.item;
    case "property.score":
      return one.score;
    case "trait.plan":
      return one.plan;
    case "set.pilot":
      return String(one.is_pilot);
    case "set.counted":
      return String(one.is_counted);
    default:
      return null;
  }
};

const byCode = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

function expected(all: readonly Occurrence[], { event: name, item, among, breakdown, top }: Question): string[] {
  const kept = all.filter(
    (one) =>
      !one.is_excluded &&
      (name === null ? item !== null || !one.is_automatic : one.event === name) &&
      (item === null || (one.items.includes(item) && one.is_counted)) &&
      (among === null ||
        (one.person !== "0" &&
          among.split(" & ").every((term) => {
            const isIn = term.endsWith("pilot") ? one.is_pilot : one.is_counted;
            return isIn !== term.startsWith("~");
          }))),
  );
  const values = new Map<string | null, number>();
  for (const one of kept)
    values.set(breakdownValue(one, breakdown), (values.get(breakdownValue(one, breakdown)) ?? 0) + 1);
  const named = [...values]
    .toSorted(([a, of], [b, other]) => other - of || byCode(a === null ? "" : `=${a}`, b === null ? "" : `=${b}`))
    .slice(0, top)
    .map(([value]) => value);
  const rows = new Map<string, Occurrence[]>();
  for (const one of kept) {
    const value = breakdownValue(one, breakdown);
    const isNamed = breakdown === null || named.includes(value);
    const key = JSON.stringify([one.bucket, isNamed ? value : "other", !isNamed]);
    rows.set(key, [...(rows.get(key) ?? []), one]);
  }
  return [...rows]
    .map(([key, list]) =>
      JSON.stringify([
        ...JSON.parse(key),
        list.length,
        new Set(list.map(({ person }) => person).filter((person) => person !== "0")).size,
      ]),
    )
    .toSorted();
}

const answer = async (db: Queries, asked: Question): Promise<string[]> => {
  // Minutes of a year are more than 10,000: those of some days, which begin and end between events.
  const isMinute = asked.bucket === "minute";
  const rows = await db.rows<{ row: string }>(
    `select json_build_array(bucket_start::text, breakdown_value, is_other, event_count, person_count)::text as row
     from analytics.trend(
       $1, $2, $3, $4, zone => $5, item => $6, among => $7, breakdown => $8, top_values => $9
     )
     where event_count > 0`,
    [
      asked.event,
      asked.bucket,
      isMinute ? "2026-04-01 00:00Z" : "2026-03-01 00:00Z",
      isMinute ? "2026-04-04 00:00Z" : "2026-04-20 00:00Z",
      asked.zone,
      asked.item,
      asked.among,
      asked.breakdown,
      asked.top,
    ],
  );
  return rows.map(({ row }) => JSON.stringify(JSON.parse(row))).toSorted();
};

test("trends agree with the events at any moment before, between and after refreshes", {
  timeout: 900_000,
}, async () => {
  let told = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 4, maxLength: 14 }),
      fc.array(question, { minLength: 6, maxLength: 6 }),
      async (steps, questions) => {
        await database.as("postgres", {}, async (db) => {
          await db.query("set local timezone to 'UTC'");
          await ingest(
            db,
            items.map((item) => ({
              type: "track",
              messageId: `item ${item}`,
              userId: "ada",
              event: "Published",
              timestamp: "2025-06-01T00:00:00Z",
              properties: {
                item,
                itemKind: item.split("-")[0],
                ...(item in parents ? { parent: parents[item] } : {}),
              },
            })),
          );
          await ingest(
            db,
            ["Task Submitted", "Course Rated", "Task Graded"].map((name) => ({
              type: "track",
              messageId: `name ${name}`,
              userId: "ben",
              event: name,
              timestamp: "2025-06-01T00:00:00Z",
            })),
          );
          await db.query("select track.set_person_set('pilot', '{}', 'Pilot.')");
          for (const [index, one] of steps.entries()) await perform(db, one, `s${index}`);
          const check = async (): Promise<void> => {
            for (const asked of questions) {
              const all = (await occurrences(db, asked.bucket, asked.zone)).filter(
                ({ bucket }) =>
                  bucket >= "2025-12" &&
                  (asked.bucket !== "minute" || (bucket >= "2026-04-01" && bucket < "2026-04-04")),
              );
              const rows = expected(all, asked);
              expect(await answer(db, asked), JSON.stringify(asked)).toEqual(rows);
              told += rows.length;
            }
          };
          await check();
          await refresh(db);
          await check();
        });
      },
    ),
    {
      numRuns: runs(7, 2, database.native),
      // Random questions may be about nothing that happened.
      examples: [
        [
          [
            {
              what: "events",
              events: [{ who: "ada", minute: 700, event: "Task Submitted", item: "page-1", score: 1 }],
            },
          ],
          [{ event: null, bucket: "day", zone: "UTC", item: null, among: null, breakdown: null, top: 1 }],
        ],
      ],
    },
  );
  expect(told).toBeGreaterThan(0);
});
