import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ingest, type Message } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";

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

function toMessage({ time: at, ...fields }: { type: string; time: string }, index: number): Message {
  return {
    ...fields,
    messageId: `m${index}`,
    traits: fields.type === "identify" ? { step: index } : undefined,
    timestamp: at === "later" ? new Date(Date.now() + 30 * 60_000).toISOString().slice(0, 15).concat("0:00Z") : at,
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
       case when link.linked_at < '2026-04-01' then link.linked_at end as linked_at, link.unlinked_at is null as holds
     from track.identity_link as link
     join track.identity as one using (identity_id)
     join track.identity as other on other.identity_id = linked_identity_id
     order by 1, 2, 3`,
  ),
  traits: await db.rows(
    "select kind, external_id, name, value from track.trait join track.identity using (identity_id) order by 1, 2, 3",
  ),
  events: await db.value("select count(*) from track.event"),
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
        on reached.identity_id in (link.identity_id, link.linked_identity_id) and link.unlinked_at is null
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
      { numRuns: database.native ? 100 : 40 },
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
