import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * One definition of person, event and bucket: after any history, refreshed or not, the numbers of people of cohorts,
 * retention, lifecycle, stickiness, active people, trend, the first step of funnels and the nodes of paths are those of plain
 * SQL over the events, and equal each other: of all people for admins and for analysts, of a set of people for admins. Items,
 * features and transitions of a set are read from other tables than those of all people, and are the same.
 */
const database = await testDatabase();

const monday = Date.UTC(2026, 0, 26);
const DAY = 86_400_000;
const WEEKS = 4;
const users = ["ada", "ben", "cleo", "dan", "eve"];
const browsers = ["b1", "b2"];
const names = ["Task Submitted", "Task Submited", "Page Viewed", "Task Graded"];
const at = (days: number): string => new Date(monday + days * DAY).toISOString();

const event = fc.record({
  who: fc.constantFrom(...users, ...browsers),
  // Also before the period and after it.
  hour: fc.integer({ min: -24 * 20, max: 24 * (WEEKS * 7 + 3) }),
  event: fc.constantFrom(...names),
  item: fc.constantFrom("course", "page", "other"),
});
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant("events" as const),
      events: fc.array(event, { minLength: 3, maxLength: 25 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constant("identify" as const),
      user: fc.constantFrom(...users),
      browser: fc.constantFrom(...browsers),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("alias" as const),
      user: fc.constantFrom(...users),
      previous: fc.constantFrom(...users),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("unlink" as const),
      user: fc.constantFrom(...users),
      browser: fc.constantFrom(...browsers),
    }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("exclude" as const), user: fc.constantFrom(...users) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("include" as const), user: fc.constantFrom(...users) }) },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant("delete" as const), fraction: fc.integer({ min: 2, max: 5 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ what: "merge" as const }) },
  { weight: 1, arbitrary: fc.constant({ what: "unmerge" as const }) },
  { weight: 1, arbitrary: fc.constant({ what: "items" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant("refresh" as const), people: fc.integer({ min: 1, max: 4 }) }),
  },
);
const history = fc.record({
  steps: fc.array(step, { minLength: 2, maxLength: 12 }),
  refreshed: fc.boolean(),
  name: fc.constantFrom(null, ...names),
  zone: fc.constantFrom("UTC", "UTC", "Europe/Berlin", "Asia/Kolkata"),
  among: fc.constantFrom(null, null, "pilot", "~pilot", "counted & ~pilot"),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function perform(db: Queries, action: Step, key: string): Promise<void> {
  const exists = async (name: string): Promise<boolean> =>
    (await db.value("select exists (select from track.identity where external_id = $1 and kind = 'user')", [name])) ===
    true;
  switch (action.what) {
    case "events":
      await ingest(
        db,
        action.events.map(
          ({ who, hour, event: type, item }, index): Message => ({
            type: "track",
            messageId: `${key}-${index}`,
            ...(browsers.includes(who) ? { anonymousId: who } : { userId: who }),
            event: type,
            timestamp: new Date(monday + hour * 3_600_000).toISOString(),
            properties: { item },
          }),
        ),
      );
      return;
    case "identify":
      await ingest(db, [{ type: "identify", messageId: key, userId: action.user, anonymousId: action.browser }]);
      return;
    case "alias":
      await ingest(db, [{ type: "alias", messageId: key, userId: action.user, previousId: action.previous }]);
      return;
    case "unlink":
      if (
        (await db.value(
          `select exists (
             select from track.identity_link as link
             join track.identity as one using (identity_id)
             join track.identity as other on other.identity_id = linked_identity_id
             where link.unlinked_at is null and one.external_id = $1 and other.external_id = $2)`,
          [action.browser, action.user],
        )) === true
      )
        await db.query("select track.unlink_identities($1, $2)", [action.browser, action.user]);
      return;
    case "exclude":
      if (await exists(action.user)) await db.query("select track.exclude_person($1, 'staff')", [action.user]);
      return;
    case "include":
      if (
        (await db.value(
          "select exists (select from track.exclusion join track.identity using (identity_id) where external_id = $1)",
          [action.user],
        )) === true
      )
        await db.query("select track.include_person($1)", [action.user]);
      return;
    case "delete":
      await db.query(
        `with deleted as (
           delete from track.event where abs(hashtext(event_id::text)) % $1 = 0 returning person_id, occurred_at
         )
         insert into track.stale (person_id, since, until)
         select person_id, min(occurred_at), max(occurred_at) from deleted group by person_id`,
        [action.fraction],
      );
      return;
    case "merge":
      if (
        (await db.value("select merged_event_type_id is null from track.event_type where name = 'Task Submited'")) ===
        true
      )
        await db.query("select track.merge_events('Task Submited', 'Task Submitted')");
      return;
    case "unmerge":
      if (
        (await db.value(
          "select merged_event_type_id is not null from track.event_type where name = 'Task Submited'",
        )) === true
      )
        await db.query("select track.unmerge_events('Task Submited')");
      return;
    case "items":
      if ((await db.value("select merged_item_id is null from track.item where external_id = 'other'")) === true)
        await db.query("select track.merge_items('other', 'page')");
      return;
    case "refresh":
      await db.query("select track.refresh($1)", [action.people]);
  }
}

/** Those of the set `pilot`, at the end of the history. */
const pilots = `select person_id from track.identity where external_id in ('ada', 'ben', 'b1')`;

/** People (of `among`) who are not excluded, with an event of the name, or with any that is not automatic, per bucket of the zone. */
const plain = `
  select bucket, date_trunc($2, occurred_at, $3) as bucket_start, person_id
  from (select $2::text as bucket) as asked
  join track.event on person_id <> 0 and occurred_at >= $4 and occurred_at < $5
  join track.event_type using (event_type_id)
  join track.source using (source_id)
  where case
      when $1::text is null then not (event_type.is_automatic or source.is_automatic)
      else event_type_id = (select coalesce(merged_event_type_id, event_type_id) from track.event_type where name = $1)
    end
    and not exists (
      select from track.exclusion join track.identity using (identity_id) where identity.person_id = event.person_id
    )
    and case $6::text
      when 'pilot' then person_id in (${pilots})
      when '~pilot' then person_id not in (${pilots})
      when 'counted & ~pilot' then person_id not in (${pilots})
        and person_id in (select person_id from track.identity where kind = 'user')
      else true
    end
  group by 1, 2, 3`;

type Counts = Record<string, number>;
const counts = async (db: Queries, sql: string, values: readonly unknown[]): Promise<Counts> =>
  Object.fromEntries(
    (await db.rows<{ bucket_start: Date; people: string }>(sql, values))
      .filter(({ people }) => Number(people) > 0)
      .map(({ bucket_start, people }) => [bucket_start.toISOString(), Number(people)]),
  );

/** The numbers of people per bucket, as each function gives them. */
async function answers(
  db: Queries,
  name: string | null,
  bucket: string,
  zone: string,
  since: string,
  until: string,
  among: string | null,
): Promise<Record<string, Counts>> {
  const values = [name, bucket, zone, since, until, among];
  const days = bucket === "day" ? 1 : 7;
  return {
    retention: await counts(
      db,
      `select distinct cohort_start as bucket_start, cohort_size as people
       from analytics.retention($1, null, $2, $4, $5, $3, periods => 2, among => $6) where cohort_start is not null`,
      values,
    ),
    "active people": await counts(
      db,
      `select date_trunc($2, bucket_start, $3) as bucket_start, person_count as people
       from analytics.active_people($1, $4, $5, $3, array[$7::int], among => $6)
       where $7 = 1 or extract(isodow from bucket_start at time zone $3) = 7`,
      [...values, days],
    ),
    // A bucket of its own each time: by day, the period as a whole.
    ...(bucket === "day"
      ? {}
      : {
          stickiness: await counts(
            db,
            `select asked.bucket_start, sum(sticky.person_count) as people
             from generate_series($4::timestamptz, $5::timestamptz - interval '1 microsecond', interval '7 days') as moment
             cross join lateral (select date_trunc($2, moment, $3) as bucket_start) as asked
             cross join lateral analytics.stickiness(
               $1, $2, asked.bucket_start, asked.bucket_start + interval '1 hour', $3, among => $6
             ) as sticky
             group by 1`,
            values,
          ),
        }),
    "first step of a funnel": await counts(
      db,
      `select bucket_start, entered_count as people
       from analytics.funnel_trend(
         jsonb_build_array(jsonb_build_object('event', $1::text), jsonb_build_object('event', 'Task Graded')),
         $2, $4, $5, $3, among => $6
       )`,
      values,
    ),
    trend: await counts(
      db,
      "select bucket_start, person_count as people from analytics.trend($1, $2, $4, $5, zone => $3, among => $6)",
      values,
    ),
  };
}

const lifecycle = (db: Queries, values: readonly unknown[]): Promise<Counts> =>
  counts(
    db,
    `select bucket_start, new_people + returning_people + resurrecting_people as people
     from analytics.lifecycle($1, $2, $4, $5, $3, among => $6)`,
    values,
  );

const FLOOR = 2;
const [since, until] = [at(0), at(WEEKS * 7)];

test("retention, lifecycle, stickiness, active people and trend agree after any history", {
  timeout: 600_000,
}, async () => {
  let told = 0;
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(history, async ({ steps, refreshed, name, zone, among }) => {
      await database.as("postgres", {}, async (db) => {
        await db.query("update analytics.setting set smallest_group = $1", [FLOOR]);
        await ingest(
          db,
          names.map((name, index) => ({
            type: "track",
            messageId: `name-${index}`,
            userId: "catalogue",
            event: name,
            timestamp: at(-300),
            properties: {
              item: ["course", "page", "other", "course"][index],
              ...(index === 1 ? { parent: "course" } : {}),
              ...(index === 0 ? { itemKind: "course" } : {}),
            },
          })),
        );
        // A cohort of the people of the period, which follows all that happens from now on.
        await db.query(
          `select analytics.define_cohort('truth', jsonb_build_object('event', $1::text, 'since', since, 'until', until))
           from (
             select timezone($2, $3::timestamptz at time zone 'UTC') as since, timezone($2, $4::timestamptz at time zone 'UTC') as until
           ) as period`,
          [name, zone, since, until],
        );
        // Each week contains a group for analysts, on two days; all other events are random.
        await ingest(
          db,
          users.flatMap((userId, person) =>
            [0, 1, 2, 3].flatMap((week) =>
              names.map((name, index) => ({
                type: "track",
                messageId: `base-${userId}-${week}-${index}`,
                userId,
                event: name,
                timestamp: at(week * 7 + (person % 2) + 0.5),
              })),
            ),
          ),
        );
        for (const [index, one] of steps.entries()) await perform(db, one, `${index}`);
        await db.query(`select track.set_person_set('pilot', array(${pilots}))`);
        if (refreshed) await refresh(db);

        for (const bucket of ["day", "week"]) {
          // From the beginning of a Monday of the zone.
          const [from, to] = (await db.value(
            "select array[timezone($1, $2::timestamptz at time zone 'UTC'), timezone($1, $3::timestamptz at time zone 'UTC')]",
            [zone, since, until],
          )) as Date[];
          const values = [name, bucket, zone, (from as Date).toISOString(), (to as Date).toISOString(), among] as const;
          const truth = await counts(
            db,
            `select bucket_start, count(*) as people from (${plain}) as active group by 1`,
            values,
          );
          const given = await answers(db, ...values);
          const expected = Object.fromEntries(Object.keys(given).map((key) => [key, truth]));
          expect([name, bucket, zone, given]).toEqual([name, bucket, zone, expected]);
          expect(await lifecycle(db, values)).toEqual(truth);

          // All people of the period, and those of first-time cohorts.
          const total = Number(await db.value(`select count(distinct person_id) from (${plain}) as active`, values));
          const first = Number(
            await db.value(
              `with active as (${plain})
                   select count(*) from (select person_id from active group by 1 having min(bucket_start) >= $7) as began`,
              [name, bucket, zone, at(-400), values[4], among, values[3]],
            ),
          );
          expect(
            await db.rows(
              `select
                     (select sum(person_count)::int from analytics.stickiness($1, $2, $4, $5, $3, among => $6)) as sticky,
                     (select person_count::int from analytics.active_people($1, $5::timestamptz - interval '1 hour', $5, $3, $7, among => $6)) as active,
                     (
                       select coalesce(sum(cohort_size), 0)::int from analytics.retention($1, null, $2, $4, $5, $3, periods => 1, first_time => true, among => $6)
                       where cohort_start is not null and period = 0
                     ) as first,
                     case
                       when $6 is null
                         then (select person_count::int from analytics.cohorts() where name = 'cohort.truth')
                       else (select count(*)::int from analytics.cohort_people('truth', $6))
                     end as cohort`,
              [...values, [WEEKS * 7]],
            ),
          ).toEqual([{ sticky: total, active: total, first, cohort: total }]);

          // From the sums, and from the journeys and sessions of people: of all counted people, both ways give the same.
          if (zone === "UTC" && bucket === "day")
            for (const [call, set] of [
              ["popular_items(null, $1, $2, among => $3)", "counted"],
              ["popular_items('course', $1, $2, '3 days', measure => 'events', among => $3)", "counted"],
              ["popular_courses($1, $2, among => $3)", "counted"],
              [
                "trending_items(null, greatest($1, $2::timestamptz - interval '7 days'), $2, bias => 1, among => $3)",
                "counted",
              ],
              ["feature_usage(null, null, $1, $2, among => $3)", "~excluded"],
              ["transitions($1, $2, among => $3)", "counted"],
            ])
              for (const role of ["insights_admin", "insights_analyst"]) {
                await db.query(`set local role ${role}`);
                const rows = (given: string | null): Promise<object[]> =>
                  db.rows(`select * from analytics.${call}`, [values[3], values[4], given]);
                const both = [await rows(null), await rows(set as string)];
                await db.query("reset role");
                expect([call, role, both[1]]).toEqual([call, role, both[0]]);
                compared += both[0]?.length ?? 0;
              }

          // Paths as of the refresh, by days of UTC. Grades are automatic, and not in paths.
          if (refreshed && zone === "UTC" && name !== "Task Graded")
            expect(
              await db.value(
                `select count(distinct path.person_id)::int
                 from analytics._numbered_nodes('event', '{}', '{}') as numbered
                 cross join lateral analytics._session_paths(
                   $2, $3, numbered.node_of, numbered.node_of_type, null, null, 20, false, $4, null, null
                 ) as path
                 where path.is_member
                   and (
                     $1::text is null
                     or array_position(
                       numbered.names,
                       (
                         select coalesce(merged.name, type.name)
                         from track.event_type as type
                         left join track.event_type as merged on merged.event_type_id = type.merged_event_type_id
                         where type.name = $1
                       )
                     ) = any (path.nodes)
                   )`,
                [name, values[3], values[4], among],
              ),
            ).toBe(total);

          // For analysts without a set of people.
          if (among !== null) continue;
          await db.query("set local role insights_analyst");
          const shown = await answers(db, ...values);
          const parts = await lifecycle(db, values);
          await db.query("reset role");
          const [any] = Object.values(shown) as [Counts];
          expect([name, bucket, zone, shown]).toEqual([
            name,
            bucket,
            zone,
            Object.fromEntries(Object.keys(shown).map((key) => [key, any])),
          ]);
          // Three rounded numbers, and a rounded sum.
          for (const key of Object.keys({ ...parts, ...any }))
            expect(Math.abs((parts[key] ?? 0) - (any[key] ?? 0))).toBeLessThanOrEqual(3 * (FLOOR - 1) + FLOOR / 2);
          for (const people of Object.values(any)) expect(people % FLOOR).toBe(0);
          if (Object.keys(any).length > 0) told += 1;
        }
      });
    }),
    {
      numRuns: runs(10, 2, database.native),
      // Random histories may exclude almost all people.
      examples: [[{ steps: [{ what: "refresh", people: 4 }], refreshed: true, name: null, zone: "UTC", among: null }]],
    },
  );
  // The answers of analysts are not empty for want of people.
  expect(told).toBeGreaterThan(0);
  expect(compared).toBeGreaterThan(0);
});
