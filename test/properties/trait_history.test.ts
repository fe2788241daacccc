import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

const database = await testDatabase();

/** Of five hours around the turn of a year, with many equal times. */
const minute = fc.integer({ min: 0, max: 42 }).map((step) => step * 7);
const timeOf = (at: number): string => new Date(Date.parse("2025-12-31T21:30:00Z") + at * 60_000).toISOString();

const user = fc.constantFrom("ada", "ben", "eve");
const browser = fc.constantFrom("k1", "k2");
const plan = fc.constantFrom<unknown>("free", "pro", 1, null, "x".repeat(2000));
const zone = fc.constantFrom("Europe/Rome", "Asia/Kolkata");

const step = fc.oneof(
  // A user states traits.
  { weight: 4, arbitrary: fc.record({ type: fc.constant("identify"), userId: user, plan, at: minute }) },
  // A browser states traits.
  { weight: 4, arbitrary: fc.record({ type: fc.constant("identify"), anonymousId: browser, plan, at: minute }) },
  // A link of a browser to a user.
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("identify"),
      userId: user,
      anonymousId: browser,
      plan: fc.option(plan, { nil: undefined }),
      at: minute,
    }),
  },
  // Events with the time zone of the client.
  { weight: 3, arbitrary: fc.record({ type: fc.constant("track"), anonymousId: browser, zone, at: minute }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("track"), userId: user, zone, at: minute }) },
);
interface Step {
  type: string;
  userId?: string;
  anonymousId?: string;
  plan?: unknown;
  zone?: string;
  at: number;
}

const toMessage = ({ type, userId, anonymousId, plan: value, zone: timezone, at }: Step, index: number): Message => ({
  type,
  messageId: `t${index}`,
  userId,
  anonymousId,
  event: type === "track" ? "Task Submitted" : undefined,
  traits: type === "identify" && value !== undefined ? { plan: value } : undefined,
  context: timezone === undefined ? undefined : { timezone },
  timestamp: timeOf(at),
});

/** Links and their removals, between and after the messages. */
const change = fc.record({
  link: fc.boolean(),
  one: fc.constantFrom("ada", "ben", "eve"),
  other: fc.constantFrom("ada", "ben", "eve", "k1", "k2"),
  after: fc.nat({ max: 25 }),
});

async function apply(db: Queries, { link, one, other }: { link: boolean; one: string; other: string }): Promise<void> {
  const [known] = await db.rows<{ names: number; links: number }>(
    `select
       (select count(distinct external_id)::int from track.identity where external_id in ($1, $2)) as names,
       (select count(*)::int
        from track.identity_link
        join track.identity as own using (identity_id)
        join track.identity as linked on linked.identity_id = linked_identity_id
        where unlinked_at is null
          and ((own.external_id, linked.external_id) = ($1, $2) or (own.external_id, linked.external_id) = ($2, $1))
       ) as links`,
    [one, other],
  );
  // A link of a browser has the time of an identify, which the messages have.
  if (link && known?.names === 2 && !other.startsWith("k")) {
    await db.query("select track.link_identities($1, $2)", [one, other]);
  }
  if (!link && (known?.links ?? 0) > 0) await db.query("select track.unlink_identities($1, $2)", [one, other]);
}

/** The messages as a table, to which the history is compared by plain SQL. */
async function record(db: Queries, steps: readonly Step[]): Promise<void> {
  await db.query(
    "create temp table said (kind text, name text, is_stated boolean, sent_at timestamptz, trait text, value jsonb)",
  );
  await db.query(
    `insert into said
     select case when step ->> 'userId' is null then 'anonymous' else 'user' end,
       coalesce(step ->> 'userId', step ->> 'anonymousId'), step ->> 'type' = 'identify',
       timestamptz '2025-12-31 21:30:00Z' + (step ->> 'at')::int * interval '1 minute',
       trait.key, trait.value
     from jsonb_array_elements($1::jsonb) as step
     cross join lateral (
       select 'plan', step -> 'plan' where step ? 'plan' and step ->> 'type' = 'identify'
       union all
       select 'timezone', step -> 'zone' where step ? 'zone'
     ) as trait (key, value)`,
    [JSON.stringify(steps)],
  );
}

/** Each message with the identity to which it belongs by the links, at the time with which it is stored. */
const pointSql = `
  point as (
    select distinct on (kind, name, used_by, trait, set_at)
      kind, name, used_by, trait, set_at, case when length(value::text) > 1000 then 'null' else value end as value
    from said
    cross join lateral (select case when is_stated then sent_at else date_trunc('hour', sent_at, 'UTC') end as set_at) as stored
    cross join lateral (
      select case when said.kind = 'anonymous' then (
        select person.external_id
        from track.identity_link as link
        join track.identity as own on own.identity_id = link.identity_id
        join track.identity as person on person.identity_id = link.linked_identity_id
        where own.external_id = said.name and own.kind = 'anonymous' and link.unlinked_at is null
        order by
          link.linked_at > stored.set_at,
          case when link.linked_at <= stored.set_at then link.linked_at end desc,
          case when link.linked_at <= stored.set_at then person.external_id end desc,
          link.linked_at, person.external_id
        limit 1
      ) end as used_by
    ) as owner
    order by kind, name, used_by, trait, set_at,
      (case when length(value::text) > 1000 then 'null' else value end) desc
  )`;

const stored = (db: Queries): Promise<object[]> =>
  db.rows(
    `select own.kind, own.external_id as name, person.external_id as used_by, history.name as trait, since::text, set_at, value, repeated_at
     from track.trait_history as history
     join track.identity as own using (identity_id)
     left join track.identity as person on person.identity_id = own.user_identity_id
     order by 1, 2, 3, 4, 5`,
  );

const expected = (db: Queries, most: number): Promise<object[]> =>
  db.rows(
    `with ${pointSql}, ranked as (
       select *, date_trunc('year', set_at, 'UTC') as year,
         row_number() over (
           partition by kind, name, used_by, trait, date_trunc('year', set_at, 'UTC') order by set_at desc
         ) as place
       from point
     ), marked as (
       select *, lag(value) over (partition by kind, name, used_by, trait, year order by set_at) as previous
       from ranked
       where place <= $1
     )
     select kind, name, used_by, trait, to_char(year at time zone 'UTC', 'YYYY-MM-DD') as since,
       array_agg(set_at order by set_at) filter (where value is distinct from previous) as set_at,
       array_agg(value order by set_at) filter (where value is distinct from previous) as value,
       coalesce(array_agg(set_at order by set_at) filter (where value is not distinct from previous), '{}') as repeated_at
     from marked
     group by kind, name, used_by, trait, year
     order by 1, 2, 3, 4, 5`,
    [most],
  );

/** The value of each person at many times, by the rows and by the messages. */
const readSql = `
  with asked as (
    select person_id, timestamptz '2025-12-31 20:00:00Z' + step * interval '13 minutes' as at
    from track.person
    cross join generate_series(0, 40) as step
  )
  select name, person_id, at, value
  from unnest(array['plan', 'timezone']) as name
  cross join lateral (
    select *
    from track.traits_at((select array_agg(person_id) from asked), name, (select array_agg(at) from asked))
  ) as read
  order by 1, 2, 3`;

const askSql = `
  with ${pointSql}, asked as (
    select person_id, timestamptz '2025-12-31 20:00:00Z' + step * interval '13 minutes' as at
    from track.person
    cross join generate_series(0, 40) as step
  )
  select trait.name, person_id, at, (
    select point.value
    from point
    join track.identity as own on own.external_id = point.name and own.kind = point.kind
    left join track.identity as person on person.identity_id = own.user_identity_id
    where own.person_id = asked.person_id
      and person.external_id is not distinct from point.used_by
      and point.trait = trait.name
      and point.set_at <= asked.at
    order by point.set_at desc, point.value desc
    limit 1
  ) as value
  from asked
  cross join unnest(array['plan', 'timezone']) as trait (name)
  order by 1, 2, 3`;

test("whatever the order of arrival, links and their removals: the history is that of the messages", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 25 }),
      fc.array(change, { maxLength: 6 }),
      fc.array(fc.nat({ max: 25 }), { maxLength: 4 }),
      async (steps: Step[], changes, cuts) => {
        await database.as("postgres", {}, async (db) => {
          await record(db, steps);
          const places = [0, ...cuts.map((cut) => cut % steps.length).toSorted((a, b) => a - b), steps.length];
          for (const [index, start] of places.slice(0, -1).entries()) {
            await ingest(
              db,
              steps.slice(start, places[index + 1]).map((one, place) => toMessage(one, start + place)),
            );
            const until = places[index + 1] ?? 0;
            for (const one of changes.filter(({ after }) => after >= start && after < until)) await apply(db, one);
          }
          for (const one of changes.filter(({ after }) => after >= steps.length)) await apply(db, one);

          expect(await stored(db)).toEqual(await expected(db, 2000));
          expect(await db.rows(readSql)).toEqual(await db.rows(askSql));
          expect(
            await db.rows(
              "select from track.trait_history join track.identity using (identity_id) where trait_history.person_id <> identity.person_id",
            ),
          ).toEqual([]);
        });
      },
    ),
    { numRuns: runs(38, 10, database.native) },
  );
});

test("whatever the order of arrival, the latest times of each year are kept", async () => {
  const flood = fc.record({ type: fc.constant("identify"), userId: user, plan: fc.nat({ max: 30 }), at: minute });
  await fc.assert(
    fc.asyncProperty(
      fc.array(flood, { minLength: 1, maxLength: 40 }),
      fc.array(fc.nat({ max: 40 }), { maxLength: 4 }),
      fc.integer({ min: 1, max: 5 }),
      async (steps: Step[], cuts, most) => {
        await database.as("postgres", {}, async (db) => {
          await db.query("update track.setting set most_trait_times = $1", [most]);
          await record(db, steps);
          const places = [0, ...cuts.map((cut) => cut % steps.length).toSorted((a, b) => a - b), steps.length];
          for (const [index, start] of places.slice(0, -1).entries()) {
            await ingest(
              db,
              steps.slice(start, places[index + 1]).map((one, place) => toMessage(one, start + place)),
            );
          }
          expect(await stored(db)).toEqual(await expected(db, most));
        });
      },
    ),
    { numRuns: runs(25, 8, database.native) },
  );
});
