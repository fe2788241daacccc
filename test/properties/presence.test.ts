import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";
import { byValue, day, events, isCounted, isExcluded, pairs, valued, valuePairs } from "./rollups.ts";

/* Journeys, presence and sums after any history are those of plain SQL over the events. */
const database = await testDatabase();

const start = Date.UTC(2025, 11, 20);
const users = ["ada", "ben", "cleo", "dan"];
const browsers = ["b1", "b2"];
const items = ["course-1", "module-1", "page-1", "page-2", "course-2", "page-3"];
const person = fc.constantFrom(...users, ...browsers);
/** The type and the key of a declared property. */
const declarable: [string, string][] = [
  ["Task Submitted", "plan"],
  ["Task Submitted", "grade"],
  ["Page Viewed", "plan"],
  ["Task Sent", "plan"],
];
const long = "x".repeat(200);
const values = [null, 1, "1", 1.5, true, "pro", "free", "other", "", "ä", ["list"], { a: 1 }, long, `${long}y`];

const event = fc.record({
  who: person,
  hour: fc.integer({ min: 0, max: 24 * 60 }),
  event: fc.constantFrom("Page Viewed", "Page Viewed", "Heartbeat", "Task Submitted", "Task Sent", "Task Graded"),
  item: fc.constantFrom(null, ...items),
  view: fc.constantFrom("v", "w"),
  refused: fc.boolean(),
  properties: fc.record(
    { plan: fc.constantFrom(...values), grade: fc.constantFrom(...values.slice(0, 4)) },
    { requiredKeys: [] },
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
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("delete" as const), fraction: fc.integer({ min: 2, max: 5 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("move" as const),
      item: fc.constantFrom("module-1", "page-1", "page-2", "page-3"),
      parent: fc.constantFrom("course-1", "course-2"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("kind" as const),
      item: fc.constantFrom("module-1", "course-2"),
      kind: fc.constantFrom("course", "module"),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ what: "merge" as const }) },
  { weight: 1, arbitrary: fc.constantFrom({ what: "merge event" as const }, { what: "unmerge event" as const }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("declare" as const), property: fc.constantFrom(...declarable) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant("undeclare" as const), property: fc.constantFrom(...declarable) }),
  },
  { weight: 1, arbitrary: fc.constant({ what: "rebuild" as const }) },
  { weight: 1, arbitrary: fc.constant({ what: "upgrade" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constant("refresh" as const),
      people: fc.integer({ min: 1, max: 3 }),
      step: fc.constantFrom(
        null,
        "track.session",
        "track.person_set",
        "track.property",
        "track.transition",
        "track.name",
      ),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function makeItems(db: Queries): Promise<void> {
  await db.query(
    `create table public.catalogue as
     select * from (values ('course-1', 'course', null), ('module-1', 'module', 'course-1'), ('page-1', 'page', 'module-1'),
       ('page-2', 'page', 'course-1'), ('course-2', 'course', null), ('page-3', 'page', 'course-2')) as row (external_id, kind, parent)`,
  );
  await db.query("select track.sync_items('public.catalogue')");
  await db.query("insert into track.event_type (name) values ('Task Submitted'), ('Task Sent')");
}

async function upgrade(db: Queries): Promise<void> {
  await db.query(
    `truncate track.step, track.presence, track.item_month, track.item_day, track.course_presence, track.step_value,
       track.value_presence, track.property_value, track.item_transition`,
  );
  await db.query(
    `insert into track.stale_transition_month
     select distinct date_trunc('month', occurred_at at time zone 'UTC')::date from track.event on conflict do nothing`,
  );
  await db.query(
    "insert into track.stale (person_id, since, until) select person_id, '-infinity', 'infinity' from track.person",
  );
}

async function perform(db: Queries, action: Step, key: string): Promise<void> {
  const exists = (name: string): Promise<unknown> =>
    db.value("select exists (select from track.identity where external_id = $1 and kind = 'user')", [name]);
  switch (action.what) {
    case "events":
      await ingest(
        db,
        action.events.map(
          ({ who, hour, event: type, item, view, refused, properties }, index): Message => ({
            type: "track",
            messageId: `${key}-${index}`,
            ...(browsers.includes(who) ? { anonymousId: who } : { userId: who }),
            event: type,
            timestamp: new Date(start + hour * 3_600_000).toISOString(),
            properties: { viewId: view, ...(item === null ? {} : { item }), ...properties },
            ...(refused && index === 0 ? { context: { consent: { categoryPreferences: { analytics: false } } } } : {}),
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
    case "move":
      await db.query(
        `update track.item set parent_item_id = (select item_id from track.item where external_id = $2)
         where external_id = $1 and merged_item_id is null`,
        [action.item, action.parent],
      );
      return;
    case "kind":
      await db.query("update track.item set kind = $2 where external_id = $1 and merged_item_id is null", [
        action.item,
        action.kind,
      ]);
      return;
    case "merge":
      if ((await db.value("select merged_item_id is null from track.item where external_id = 'page-2'")) === true)
        await db.query("select track.merge_items('page-2', 'page-3')");
      return;
    case "merge event":
    case "unmerge event": {
      const merged = await db.value(
        "select target_event_type_id is not null from track.event_type where name = 'Task Sent'",
      );
      if (merged === (action.what === "unmerge event"))
        await db.query(
          merged === true
            ? "select track.unmerge_events('Task Sent', 3)"
            : "select track.merge_events('Task Sent', 'Task Submitted', 3)",
        );
      return;
    }
    case "declare":
      await db.query("select track.declare_property($1, $2, 3)", action.property);
      return;
    case "undeclare":
      await db.query("select track.undeclare_property($1, $2)", action.property);
      return;
    case "rebuild":
      await db.query("select track.rebuild()");
      return;
    // As after an upgrade from a release without these tables: sessions and page views are there, and all are queued.
    case "upgrade":
      await upgrade(db);
      return;
    case "refresh":
      await db.query("select track.refresh($1, $2)", [action.people, action.step]);
  }
}

/** Values by property, and the most frequent ones of the whole time, of which the tables themselves know nothing. */
const shown = `(
    with counted as (
      select property_id, value, most_values, count(*) filter (where not ${isExcluded("event.person_id")}) as events,
        count(*) filter (where ${isCounted("event.person_id")}) as counted
      from ${valued} where value is not null group by 1, 2, 3
    ), ranked as (
      select *, row_number() over (partition by property_id order by events desc, value collate "C") as by_events,
        row_number() over (partition by property_id order by counted desc, value collate "C") as by_counted
      from counted
    )
    select event.*, coalesce(least(by_events, by_counted) > event.most_values, false) as is_other,
      case when least(by_events, by_counted) <= event.most_values then event.value end as shown
    from ${valued} left join ranked using (property_id, value)
  ) as event`;

/** Answers to readers at any moment, of the properties that are complete. */
const readers: [string, string] = [
  byValue(
    `select property_id, read.value, read.is_other, read.day::text, read.events, read.counted, read.people
     from track.declared_property
     cross join lateral (
       select days.value, days.is_other, days.day, (sum(days.event_count) filter (where number = 1))::int as events,
         (sum(days.counted_count) filter (where number = 1))::int as counted,
         array_agg(person_id order by person_id) filter (where person_id is not null) as people
       from (
         select days.*, person_id, row_number() over (partition by days.value, days.is_other, days.day, days.block) as number
         from track.value_days(event_type_id, property, '2025-12-01', '2026-03-01') as days
         left join track.person
           on person_id / 4096 = days.block and get_bit(days.people, (person_id % 4096)::int) <> 0
       ) as days
       group by days.value, days.is_other, days.day
     ) as read
     where track.is_property_complete(event_type_id, property)`,
    ", is_other, day",
  ),
  byValue(
    `select property_id, shown as value, is_other, day::text,
       (count(*) filter (where not ${isExcluded("event.person_id")}))::int as events,
       (count(*) filter (where ${isCounted("event.person_id")}))::int as counted,
       array_agg(distinct person_id order by person_id) filter (where person_id <> 0) as people
     from ${shown} join track.declared_property using (property_id)
     where track.is_property_complete(declared_property.event_type_id, property)
     group by property_id, shown, is_other, day`,
    ", is_other, day",
  ),
];

/** The same in buckets of any length, of all people. */
const valueBuckets: [string, string] = [
  `select property_id, person_id, bucket, value, sum(event_count)::int as events from track.declared_property
   cross join lateral track.value_buckets(event_type_id, property, $1::timestamptz[])
   where track.is_property_complete(event_type_id, property)
   group by 1, 2, 3, 4 order by 1, 2, 3, value collate "C"`,
  `select property_id, person_id, width_bucket(occurred_at, $1::timestamptz[]) as bucket, value, count(*)::int as events
   from ${valued} join track.declared_property using (property_id)
   where occurred_at >= ($1::timestamptz[])[1] and occurred_at < ($1::timestamptz[])[4]
     and track.is_property_complete(declared_property.event_type_id, declared_property.property)
   group by 1, 2, 3, 4 order by 1, 2, 3, value collate "C"`,
];
const cuts = ["2025-12-21T07:30:00Z", "2025-12-23T00:00:00.000001Z", "2026-01-01T00:00:00Z", "2026-01-09T13:00:00Z"];

/** The number of cells that the check of the rollups would repair, in all months and on all days. */
const differing = `
  select (
    select sum(
      (track._check_steps(month, 0, false)).differing + (track._check_presence(month, 0, false)).differing
        + (track._check_item_months(month, 0, false)).differing + (track._check_course_presence(month, 0, false)).differing
        + (track._check_step_values(month, 0, false)).differing + (track._check_value_presence(month, 0, false)).differing
        + (track._check_item_sums(month, array(select item_id from track.item), false)).differing
        + (track._check_transitions(month, array(select item_id from track.item), false)).differing
    )
    from (values (date '2025-12-01'), ('2026-01-01'), ('2026-02-01')) as listed (month)
  ) + coalesce(
    (
      select sum((track._check_item_days(day, false)).differing)
      from (select distinct ${day("occurred_at")} as day from track.event union select day from track.item_day) as listed
    ),
    0
  )`;

test("journeys, presence and sums are those of the events after any history", async () => {
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(step, { minLength: 1, maxLength: 14 }), async (isDeclared, steps) => {
      await database.as("postgres", {}, async (db) => {
        await makeItems(db);
        if (isDeclared) {
          for (const property of declarable) await db.query("select track.declare_property($1, $2, 3)", property);
          await refresh(db);
        }
        for (const [index, one] of steps.entries()) await perform(db, one, `${index}`);
        // Queued changes are not differences for the check of the rollups.
        expect(await db.value(differing)).toBe("0");
        for (const isRefreshed of [false, true]) {
          if (isRefreshed) await refresh(db);
          const [read, happened] = readers;
          expect(await db.rows(read)).toEqual(await db.rows(happened));
          const [kept, counted] = valueBuckets;
          expect(await db.rows(kept, [cuts])).toEqual(await db.rows(counted, [cuts]));
        }
        expect(await db.value(differing)).toBe("0");
        for (const [name, [stored, computed]] of Object.entries({ ...pairs, ...valuePairs }))
          expect([name, await db.rows(stored)]).toEqual([name, await db.rows(computed)]);
        // No row is left over without content, and no queue.
        expect(await db.value("select count(*)::int from track.stale_course")).toBe(0);
        expect(await db.value("select count(*)::int from track.stale_transition_month")).toBe(0);
        expect(await db.value("select count(*)::int from track.stale_property")).toBe(0);
        expect(await db.value("select count(*)::int from track.declared_property where not is_queued")).toBe(0);
      });
    }),
    { numRuns: runs(15, 4, database.native) },
  );
});

/** One event of each type and of each item. */
const everyEvent: Step = {
  what: "events",
  events: ["Page Viewed", "Task Submitted", "Task Graded"].map((type, index) => ({
    who: "ada",
    hour: index,
    event: type as "Page Viewed",
    item: "page-1",
    view: "v" as const,
    refused: false,
    properties: {},
  })),
};

/** People and numbers of events by bucket, of any type, item and bounds: as the analyses read them, and from the events. */
const buckets: [string, string] = [
  `select bucket, person.person_id from analytics._presence($1, $2::timestamptz[], $3)
   join track.person on person.person_id / 4096 = block and get_bit(people, (person.person_id % 4096)::int) <> 0
   order by 1, 2`,
  `select distinct width_bucket(at, $2::timestamptz[]) as bucket, person_id from (
     select person_id, occurred_at as at, item_id, event_type_id, is_automatic from ${events}
     union all
     select person_id, started_at, item_id, 0, true from track.page_view where $1 = 0 and $3::bigint is not null
   ) as used
   where at >= ($2::timestamptz[])[1] and at < ($2::timestamptz[])[cardinality($2::timestamptz[])]
     and case when $1 <> 0 then event_type_id = $1 else $3::bigint is not null or not is_automatic end
     and ($3::bigint is null or item_id in (select item_id from track.item_ancestor where ancestor_item_id = $3))
     and person_id <> 0 and not ${isExcluded("used.person_id")}
   order by 1, 2`,
];
const counts: [string, string] = [
  "select person_id, bucket, event_count::int from analytics._person_buckets($1, $2, $3) where event_count > 0 order by 1, 2",
  `select person_id, width_bucket(occurred_at, $2::timestamptz[]) as bucket, count(*)::int as event_count from ${events}
   where occurred_at >= ($2::timestamptz[])[1] and occurred_at < ($2::timestamptz[])[cardinality($2::timestamptz[])]
     and case when $1 <> 0 then event_type_id = $1 else $3::bigint is not null or not is_automatic end
     and ($3::bigint is null or item_id in (select item_id from track.item_ancestor where ancestor_item_id = $3))
     and ($3::bigint is null or person_id <> 0)
     and not ${isExcluded("event.person_id")}
   group by 1, 2 order by 1, 2`,
];

test("people and events by bucket are those of the events, in any zone and before and after a refresh", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 14 }),
      fc.array(
        fc.record({
          event: fc.constantFrom(null, "Page Viewed", "Task Submitted", "Task Graded"),
          item: fc.constantFrom(null, null, ...items),
          bucket: fc.constantFrom("hour", "day", "week", "month"),
          zone: fc.constantFrom("UTC", "UTC", "Europe/Berlin", "Asia/Kathmandu"),
          since: fc.integer({ min: -48, max: 700 }),
          hours: fc.integer({ min: 1, max: 400 }),
          ever: fc.boolean(),
        }),
        { minLength: 4, maxLength: 4 },
      ),
      async (steps, questions) => {
        await database.as("postgres", {}, async (db) => {
          await makeItems(db);
          await perform(db, everyEvent, "first");
          for (const [index, one] of steps.entries()) await perform(db, one, `${index}`);
          for (const isRefreshed of [false, true]) {
            if (isRefreshed) await refresh(db);
            for (const { event: name, item, bucket, zone, since, hours, ever } of questions) {
              // The page views of people who are queued are those of the last refresh.
              if (!isRefreshed && name === null && item !== null) continue;
              const values = await db.rows(
                `select analytics._event_type_id($1) as type, analytics._item_id($2) as item,
                   (case when $7 then array['-infinity'::timestamptz] else '{}' end
                     || analytics._bounds($3, $4, $5, $6))::text as bounds`,
                [
                  name,
                  item,
                  bucket,
                  new Date(start + since * 3_600_000),
                  new Date(start + (since + hours) * 3_600_000),
                  zone,
                  ever,
                ],
              );
              const { type, item: itemId, bounds } = values[0] as Record<string, unknown>;
              for (const [stored, computed] of [buckets, counts]) {
                expect(await db.rows(stored, [type, bounds, itemId])).toEqual(
                  await db.rows(computed, [type, bounds, itemId]),
                );
              }
            }
          }
        });
      },
    ),
    { numRuns: runs(15, 4, database.native) },
  );
});

test("an upgrade adds the page views of people to the sums, also of people who are excluded before the refresh", async () => {
  await database.as("postgres", {}, async (db) => {
    await makeItems(db);
    const view = (who: string, minute: number, item: string): Step => ({
      what: "events",
      events: ["Page Viewed", "Task Submitted"].map((type, index) => ({
        who,
        hour: (minute + index) / 60,
        event: type as "Page Viewed",
        item: index === 0 ? item : null,
        view: "v" as const,
        refused: false,
        properties: {},
      })),
    });
    for (const [index, who] of users.entries()) await perform(db, view(who, index, "page-1"), `view-${index}`);
    await refresh(db);
    await upgrade(db);
    await perform(db, { what: "exclude", user: "ada" }, "exclude");
    await perform(db, { what: "refresh", people: 3, step: "track.person_set" } as Step, "sets");
    await db.query("select track.declare_property('Page Viewed', 'item')");
    await refresh(db);
    expect(await db.value("select sum(engaged)::text from track.item_day where not with_parts")).toBe("00:03:00");
    for (const [name, [stored, computed]] of Object.entries({ ...pairs, ...valuePairs }))
      expect([name, await db.rows(stored)]).toEqual([name, await db.rows(computed)]);
  });
});

test("sums follow when hundreds of people join or leave a set at once", async () => {
  await database.as("postgres", {}, async (db) => {
    await makeItems(db);
    await ingest(
      db,
      Array.from(
        { length: 230 },
        (_, index): Message => ({
          type: "track",
          messageId: `many-${index}`,
          userId: `many-${index}`,
          event: "Page Viewed",
          timestamp: new Date(start).toISOString(),
          properties: { item: "page-1" },
        }),
      ),
    );
    await refresh(db);
    await db.query("select track.declare_property('Page Viewed', 'item')");
    await refresh(db);
    const sum = "select coalesce(sum(event_count), 0)::int from track.item_day where not with_parts";
    expect(await db.value(sum)).toBe(230);
    await db.query("select track.exclude_person('many-' || number, 'staff') from generate_series(0, 219) as number");
    await refresh(db);
    expect(await db.value(sum)).toBe(10);
    await db.query("select track.include_person('many-' || number) from generate_series(0, 104) as number");
    await refresh(db);
    for (const [name, [stored, computed]] of Object.entries({ ...pairs, ...valuePairs }))
      expect([name, await db.rows(stored)]).toEqual([name, await db.rows(computed)]);
    expect(await db.value(sum)).toBe(115);
  });
});
