import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

const database = await testDatabase();

const user = fc.constantFrom("ada", "ben", "eve");
const browser = fc.constantFrom("b1", "b2", "b3", "b4");
/** Long ago, or later than any `unlink_identities` of this run. */
const time = fc.constantFrom("2026-03-01T10:00:00Z", "2026-03-01T12:00:00Z", "later");
/** Automatic events are in no session; some are far from all sessions. */
const event = fc.constantFrom("Task Submitted", "Task Graded");
const eventTime = fc.oneof(time, fc.constantFrom("2025-11-01T10:00:00Z", "2026-01-31T23:59:59Z"));

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant("identify"), userId: user, anonymousId: browser, time }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("alias"), userId: user, previousId: fc.oneof(user, browser), time }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("track"), userId: user, event, time: eventTime }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("track"), anonymousId: browser, event, time: eventTime }) },
);

const unlink = fc.tuple(fc.oneof(user, browser), fc.oneof(user, browser));

/** Ahead of the clock: messages of such a time also give it as that of their arrival, or it would be corrected. */
let later = "";

function toMessage({ time: at, ...fields }: { type: string; time: string }, index: number): Message {
  return {
    ...fields,
    messageId: `m${index}`,
    properties: fields.type === "track" ? { message: `m${index}` } : undefined,
    traits: fields.type === "identify" ? { step: index } : undefined,
    timestamp: at === "later" ? later : at,
    receivedAt: at === "later" ? later : undefined,
  };
}

/** People, links, events and traits by names, because the keys depend on the order of arrival. */
const read = async (db: Queries): Promise<object> => ({
  people: (
    await db.rows<{ names: string[] }>(
      "select array_agg(kind || ' ' || external_id order by 1) as names from track.identity group by person_id",
    )
  )
    .map(({ names }) => names.toSorted().join(", "))
    .toSorted(),
  links: await db.rows(
    // A time that is ahead of the clock becomes the time of arrival, which differs between the two ways.
    `select one.kind as from_kind, one.external_id as from_name, other.external_id as to_name, link.kind,
       case when link.linked_at < '2026-04-01' then link.linked_at end as linked_at
     from track.identity_link as link
     join track.identity as one using (identity_id)
     join track.identity as other on other.identity_id = linked_identity_id
     -- Links that were ended have no effect; the number of their rows depends on the batches.
     where link.unlinked_at is null
     order by 1, 2, 3, 5, 4`,
  ),
  traits: await db.rows(
    "select kind, external_id, name, value from track.trait join track.identity using (identity_id) order by 1, 2, 3",
  ),
  events: await db.rows(
    `select message, kind, external_id,
       (select external_id from track.identity as person where person.identity_id = identity.user_identity_id) as used_by
     from track.event
     join track.identity using (identity_id)
     cross join lateral (select properties ->> 'message' as message) as sent
     order by 1`,
  ),
});

/** Invariants, each as a query for its violations. */
const broken = {
  "a person is a component of the links that hold, named after the oldest user, or else the oldest identity": `
    with recursive reached (start_id, identity_id) as (
      select identity_id, identity_id from track.identity
      union
      select start_id, case reached.identity_id when link.identity_id then link.linked_identity_id else link.identity_id end
      from reached
      join track.identity_link as link
        on reached.identity_id in (link.identity_id, link.linked_identity_id) and link.kind <> 'claim' and link.unlinked_at is null
    ), named as (
      select distinct on (start_id) start_id as identity_id, identity.identity_id as person_id
      from reached join track.identity using (identity_id)
      order by start_id, identity.kind = 'user' desc, identity.identity_id
    )
    select count(*) from named join track.identity using (identity_id) where identity.person_id <> named.person_id`,
  "each person has identities, and each identity a person": `
    select count(*) from track.person full join (select distinct person_id from track.identity) as named using (person_id)
    where person is null or named is null`,
  "events are with the person of their identity":
    "select count(*) from track.event join track.identity using (identity_id) where event.person_id <> identity.person_id",
  "traits are with the person of their identity":
    "select count(*) from track.trait join track.identity using (identity_id) where trait.person_id <> identity.person_id",
  "decisions are with the person of their identity":
    "select count(*) from privacy.consent join track.identity using (identity_id) where consent.person_id <> identity.person_id",
  "each event is in a session, in the period of the automatic ones, or queued for a refresh": `
    select count(*) from track.event
    where person_id <> 0
      and not exists (select from track.stale where stale.person_id = event.person_id and occurred_at between since and until)
      and not exists (
        select from track.session where session.person_id = event.person_id and occurred_at between started_at and ended_at
      )
      and not exists (
        select from track.automatic_period as period
        where period.person_id = event.person_id and occurred_at between since and until
      )`,
};

async function expectSound(db: Queries): Promise<void> {
  for (const [rule, sql] of Object.entries(broken)) expect([rule, await db.value(sql)]).toEqual([rule, "0"]);
}

describe("links of a batch", () => {
  test("have the effect of the same messages one after another, whatever was linked and unlinked before", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 8 }),
        fc.array(unlink, { maxLength: 3 }),
        fc.boolean(),
        fc.array(step, { minLength: 1, maxLength: 14 }),
        async (before, unlinks, refreshed, steps) => {
          later = new Date(Date.now() + 4 * 60_000).toISOString();
          const messages = steps.map(toMessage);
          const ways = [[messages], messages.map((one) => [one])];
          const states = [];
          for (const batches of ways) {
            states.push(
              await database.as("postgres", {}, async (db) => {
                for (const [index, one] of before.entries()) await ingest(db, [toMessage(one, -1 - index)]);
                if (refreshed) await db.query("select track.refresh_sessions()");
                for (const pair of unlinks) {
                  const { count } = (
                    await db.rows<{ count: number }>(
                      `select count(*)::int from track.identity_link
                       join track.identity as one using (identity_id)
                       join track.identity as other on other.identity_id = linked_identity_id
                       where unlinked_at is null
                         and ((one.external_id, other.external_id) = ($1, $2) or (one.external_id, other.external_id) = ($2, $1))`,
                      pair,
                    )
                  )[0] ?? { count: 0 };
                  if (count > 0) await db.query("select track.unlink_identities($1, $2)", pair);
                }
                await expectSound(db);
                for (const batch of batches) await ingest(db, batch);
                await expectSound(db);
                const state = await read(db);
                await db.query("select track.refresh_sessions()");
                await expectSound(db);
                expect(
                  await db.rows(
                    "select from track.automatic_period where person_id not in (select person_id from track.person)",
                  ),
                ).toEqual([]);
                // The periods cover those of a computation from scratch; after an unlink they may be longer.
                await db.query("create temp table kept as select * from track.automatic_period");
                await db.query("select track.rebuild()");
                await db.query("select track.refresh_sessions()");
                expect(
                  await db.rows(
                    `select from track.automatic_period as scratch left join kept using (person_id)
                     where (kept.since <= scratch.since and kept.until >= scratch.until) is not true`,
                  ),
                ).toEqual([]);
                await db.query("drop table kept");
                return state;
              }),
            );
          }
          expect(states[0]).toEqual(states[1]);
        },
      ),
      { numRuns: runs(25, 10, database.native) },
    );
  });

  test("a chain of names in any order is one person, named after the oldest", async () => {
    await database.as("postgres", {}, async (db) => {
      const alias = (index: number): Message => ({
        type: "alias",
        messageId: `chain-${index}`,
        previousId: `u${index}`,
        userId: `u${index + 1}`,
      });
      // Neighbours, then the joints between every four, eight, …: linked people are linked again and again.
      const order = Array.from({ length: 500 }, (_, index) => index).toSorted(
        (one, other) => (one & -one) - (other & -other) || one - other,
      );
      await ingest(db, order.map(alias));
      expect(
        await db.rows(
          "select count(distinct person_id)::int as people, min(person_id) = min(identity_id) as oldest from track.identity where kind = 'user'",
        ),
      ).toEqual([{ people: 1, oldest: true }]);
    });
  });
});

/** Messages of a browser of several people, in three days. */
const kioskStep = fc.record({
  type: fc.constantFrom("identify", "alias", "track", "track", "decide", "say"),
  browser: fc.constantFrom("k1", "k2"),
  userId: fc.constantFrom("ada", "ben", "eve"),
  hour: fc.integer({ min: 0, max: 71 }),
  granted: fc.boolean(),
});
type KioskStep = typeof kioskStep extends fc.Arbitrary<infer T> ? T : never;

const hourOf = (hour: number): string => new Date(Date.parse("2026-03-01T00:00:00Z") + hour * 3_600_000).toISOString();

function kioskMessage({ type, browser: name, userId, hour, granted }: KioskStep, index: number): Message {
  const common = { messageId: `k${index}`, timestamp: hourOf(hour) };
  if (type === "identify") return { ...common, type, anonymousId: name, userId };
  if (type === "alias") return { ...common, type, previousId: name, userId };
  if (type === "track") return { ...common, type, anonymousId: name, event: "Task Submitted", properties: { index } };
  if (type === "say")
    return { ...common, type: "identify", anonymousId: name, traits: { said: index, always: granted } };
  return {
    ...common,
    type: "track",
    event: "Segment Consent Preference Updated",
    anonymousId: name,
    context: { consent: { categoryPreferences: { personalization: false } } },
  };
}

/** The user of a browser at an hour: the latest one who identified until then, or else the first one. */
function userAt(steps: readonly KioskStep[], name: string, hour: number): string | null {
  const links = steps
    .filter(({ type, browser }) => browser === name && (type === "identify" || type === "alias"))
    .toSorted((a, b) => a.hour - b.hour || (a.userId < b.userId ? -1 : 1));
  return (links.findLast((link) => link.hour <= hour) ?? links[0])?.userId ?? null;
}

describe("browsers of several people", () => {
  test("whatever the order of arrival and the batches, what each sent belongs to the user of that time", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc
          .array(kioskStep, { minLength: 1, maxLength: 25 })
          .chain((steps) =>
            fc.tuple(
              fc.constant(steps),
              fc.shuffledSubarray([...steps.keys()], { minLength: steps.length, maxLength: steps.length }),
              fc.array(fc.nat({ max: steps.length }), { maxLength: 4 }),
              fc.boolean(),
            ),
          ),
        async ([steps, order, cuts, refreshed]) => {
          await database.as("postgres", {}, async (db) => {
            const places = [0, ...cuts.toSorted((a, b) => a - b), steps.length];
            for (const [index, start] of places.slice(0, -1).entries()) {
              const part = order.slice(start, places[index + 1]);
              await ingest(
                db,
                part.map((place) => kioskMessage(steps[place] as KioskStep, place)),
              );
              if (refreshed) await refresh(db, 2);
            }
            await expectSound(db);

            const owner = (table: string) =>
              `join track.identity as own on own.identity_id = ${table}.identity_id
               left join track.identity as person on person.identity_id = own.user_identity_id`;
            const events = await db.rows<{ place: number; person: string | null }>(
              `select (properties ->> 'index')::int as place, person.external_id as person
               from track.event ${owner("event")} where properties ? 'index' order by 1`,
            );
            expect(events).toEqual(
              [...steps.entries()]
                .filter(([, { type }]) => type === "track")
                .map(([place, { browser: name, hour }]) => ({ place, person: userAt(steps, name, hour) })),
            );

            const traits = await db.rows(
              `select own.external_id as browser, trait.name, trait.value, person.external_id as person
               from track.trait ${owner("trait")} where own.kind = 'anonymous' order by 1, 2`,
            );
            const said = ["k1", "k2"].flatMap((name) => {
              const own = [...steps.entries()].filter(([, step]) => step.type === "say" && step.browser === name);
              const latest = (
                value: (place: number, step: KioskStep) => unknown,
                compare: (a: never, b: never) => number,
              ) =>
                own
                  .map(([place, step]) => ({ value: value(place, step), hour: step.hour }))
                  .toSorted((a, b) => a.hour - b.hour || compare(a.value as never, b.value as never))
                  .at(-1);
              const always = latest(
                (_, { granted }) => granted,
                (a: boolean, b: boolean) => Number(a) - Number(b),
              );
              const index = latest(
                (place) => place,
                (a: number, b: number) => a - b,
              );
              if (always === undefined || index === undefined) return [];
              return [
                { browser: name, name: "always", value: always.value, person: userAt(steps, name, always.hour) },
                { browser: name, name: "said", value: index.value, person: userAt(steps, name, index.hour) },
              ];
            });
            expect(traits).toEqual(said);

            const decisions = await db.rows(
              `select own.external_id as browser, to_char(decided_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at,
                 person.external_id as person
               from privacy.consent ${owner("consent")} order by 1, 2, 3`,
            );
            expect(decisions).toEqual(
              steps
                .filter(({ type }) => type === "decide")
                .map(({ browser: name, hour }) => ({
                  browser: name,
                  at: hourOf(hour),
                  person: userAt(steps, name, hour),
                }))
                .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
            );

            const incremental = await sessionsOf(db);
            await db.query("select track.rebuild()");
            expect(await sessionsOf(db)).toEqual(incremental);
          });
        },
      ),
      { numRuns: runs(25, 10, database.native) },
    );
  });
});

async function sessionsOf(db: Queries): Promise<object[]> {
  await refresh(db);
  return db.rows("select * from track.session order by person_id, session_id");
}
