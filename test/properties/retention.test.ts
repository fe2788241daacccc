import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";
import { pairs, valuePairs } from "./rollups.ts";

/*
 * After any history of events, rules of retention, runs and refreshes, all that is derived is what the events that are
 * left give, and the events that are left are those of the rules. With sums that stay, the sums of the deleted months
 * are those that were there before.
 */
const database = await testDatabase();

const users = ["u1", "u2", "u3", "u4", "u5", "u6", "u7"] as const;
const browsers = ["b1", "b2"];
const types = ["Page Viewed", "Heartbeat", "Task Submitted", "Ad Seen", "Rare Event", "Task Graded"] as const;
const items = ["course-1", "page-1", "page-2", "page-3", "named"];
const purposes = ["analytics", "service"] as const;
const user = fc.constantFrom(...users);

const event = fc.record({
  who: fc.constantFrom(...users, ...browsers),
  /** Days before the test. */
  age: fc.integer({ min: 0, max: 150 }),
  minute: fc.integer({ min: 0, max: 90 }),
  /** Days after the event. */
  delay: fc.constantFrom(0, 0, 0, 20, 70),
  type: fc.constantFrom(...types),
  item: fc.constantFrom(null, ...items),
  refused: fc.boolean(),
});
const rule = fc.record({
  what: fc.constant("set" as const),
  days: fc.integer({ min: 20, max: 140 }),
  purpose: fc.constantFrom(null, ...purposes),
  counted: fc.constantFrom("event", "event", "arrival"),
  method: fc.constantFrom("delete", "delete", "anonymize"),
});
const other = [
  {
    weight: 8,
    arbitrary: fc.record({ what: fc.constant("events" as const), events: fc.array(event, { maxLength: 12 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("identify" as const),
      user,
      browser: fc.constantFrom(...browsers),
      age: fc.integer({ min: 0, max: 150 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("alias" as const), user, previous: user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("exclude" as const), user }) },
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constant("apply" as const),
      rows: fc.integer({ min: 1, max: 30 }),
      steps: fc.integer({ min: 1, max: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant("refresh" as const), people: fc.integer({ min: 1, max: 4 }) }),
  },
];
const step = fc.oneof(
  ...other,
  { weight: 3, arbitrary: rule },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant("drop" as const), purpose: fc.constantFrom(null, ...purposes) }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("restrict" as const), user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("lift" as const), user }) },
  { weight: 1, arbitrary: fc.constant({ what: "rebuild" as const }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const fiveMonthsOld = (who: (typeof users)[number], type: (typeof types)[number]) => ({
  who,
  age: 150,
  minute: 0,
  delay: 0 as const,
  type,
  item: null,
  refused: false,
});

const dayLength = 86_400_000;

async function begin(db: Queries): Promise<void> {
  await db.query(
    `create table public.catalogue as
     select * from (values ('course-1', 'course', null), ('page-1', 'page', 'course-1'), ('page-2', 'page', 'course-1'),
       ('page-3', 'page', null)) as row (external_id, kind, parent)`,
  );
  await db.query("select track.sync_items('public.catalogue')");
  await db.query(
    "insert into track.event_type (name, purpose) values ('Ad Seen', 'service'), ('Task Submitted', 'analytics')",
  );
  await db.query("select track.declare_property('Task Submitted', 'plan')");
}

async function perform(db: Queries, action: Step, index: number): Promise<void> {
  const now = (await db.value<Date>("select now() as at")).getTime();
  const exists = (name: string): Promise<boolean> =>
    db.value("select exists (select from track.identity where external_id = $1 and kind = 'user')", [name]);
  switch (action.what) {
    case "events":
      await ingest(
        db,
        action.events.map(({ who, age, minute, delay, type, item, refused }, number): Message => {
          const at = now - age * dayLength - minute * 60_000;
          return {
            type: "track",
            messageId: `${index}-${number}`,
            ...(browsers.includes(who) ? { anonymousId: who } : { userId: who }),
            event: type,
            timestamp: new Date(at).toISOString(),
            receivedAt: new Date(Math.min(at + delay * dayLength, now)).toISOString(),
            properties: { plan: `p${number % 3}`, ...(item === null ? {} : { item }) },
            ...(refused && number === 0 ? { context: { consent: { categoryPreferences: { analytics: false } } } } : {}),
          };
        }),
      );
      return;
    case "identify":
      await ingest(db, [
        {
          type: "identify",
          messageId: `${index}`,
          userId: action.user,
          anonymousId: action.browser,
          timestamp: new Date(now - action.age * dayLength).toISOString(),
        },
      ]);
      return;
    case "alias":
      await ingest(db, [{ type: "alias", messageId: `${index}`, userId: action.user, previousId: action.previous }]);
      return;
    case "exclude":
      if (await exists(action.user)) await db.query("select track.exclude_person($1, 'staff')", [action.user]);
      return;
    case "restrict":
      if (await exists(action.user)) await db.query("select privacy.restrict_person($1, 'claims')", [action.user]);
      return;
    case "lift":
      if (await exists(action.user)) await db.query("select privacy.lift_restriction($1)", [action.user]);
      return;
    case "set":
      await db.query("select privacy.set_retention('events', make_interval(days => $1), $2, $3, $4)", [
        action.days,
        action.purpose,
        action.counted,
        action.method,
      ]);
      return;
    case "drop":
      await db.query("select privacy.drop_retention('events', $1)", [action.purpose]);
      return;
    case "apply":
      for (let done = 0; done < action.steps; done++)
        await db.query("select privacy.apply_retention($1)", [action.rows]);
      return;
    case "rebuild":
      await db.query("select track.rebuild()");
      return;
    case "refresh":
      await db.query("select track.refresh($1)", [action.people]);
  }
}

async function refresh(db: Queries): Promise<void> {
  for (;;) {
    const done = await db.rows<{ failed: number }>("select * from track.refresh(1000)");
    if (done.length === 0) return;
    expect(done.filter(({ failed }) => failed > 0)).toEqual([]);
  }
}

async function applyAll(db: Queries, mostRows = 7): Promise<void> {
  // Each step deletes a row, a partition, or the sums of a month.
  for (let steps = 0; steps < 300; steps++) {
    const [done] = await db.rows<{ method: string }>("select * from privacy.apply_retention($1)", [mostRows]);
    if (done === undefined) return;
    expect(done.method).not.toBe("wait");
  }
  expect(await db.rows("select * from privacy.retention_plan()")).toBe("an end");
}

/** Tables that are derived from events and are not among the pairs. */
async function derived(db: Queries): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const table of ["track.session", "track.page_view", "track.person_set_block", "recommend.interaction"])
    found[table] = (await db.rows<{ row: string }>(`select one::text as row from ${table} as one order by 1`)).map(
      ({ row }) => row,
    );
  return found;
}

/** Events that a rule of the given days, as plain SQL, would delete. */
const expired = ({
  days,
  purpose,
  counted,
  method,
}: {
  days: number;
  purpose: string | null;
  counted: string;
  method: string;
}) =>
  `(event.${counted === "event" ? "occurred_at" : "received_at"}
      < (date_trunc('day', now() at time zone 'UTC') - interval '${days} days') at time zone 'UTC'
    and ${purpose === null ? "true" : `event_type.purpose = '${purpose}'`}
    and ${method === "delete" ? "true" : "event.person_id <> 0"}
    and event.person_id not in (select person_id from privacy.restriction))`;

test("what is left are the events that no rule deletes, and what they give", async () => {
  let deleted = 0;
  let anonymized = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 24 }), rule, async (steps, last) => {
      await database.as("postgres", {}, async (db) => {
        await begin(db);
        await db.query(
          "create table pg_temp.ever (event_id uuid primary key, at timestamptz, is_expired boolean default false)",
        );
        const rules = new Map<string, typeof last>();
        // Whether a rule that was set at some time may have deleted the event.
        const note = async (): Promise<void> => {
          await db.query(
            "insert into pg_temp.ever select event_id, occurred_at from track.event on conflict do nothing",
          );
          const conditions = [...rules.values()].map(expired);
          if (conditions.length > 0)
            await db.query(
              `update pg_temp.ever set is_expired = true from track.event join track.event_type using (event_type_id)
               where ever.event_id = event.event_id and (${conditions.join(" or ")})`,
            );
        };
        for (const [index, one] of [...steps, last].entries()) {
          if (one.what === "set") rules.set(one.purpose ?? "", one);
          if (one.what === "drop") rules.delete(one.purpose ?? "");
          await perform(db, one, index);
          await note();
        }
        await applyAll(db);
        expect(
          await db.rows(
            `select event.occurred_at from track.event join track.event_type using (event_type_id)
             where ${[...rules.values()].map(expired).join(" or ")}`,
          ),
        ).toEqual([]);
        // Nothing else was deleted, and what was anonymized is still there.
        expect(
          await db.rows(
            `select at from pg_temp.ever where not is_expired and not exists (
               select from track.event where event.event_id = ever.event_id)`,
          ),
        ).toEqual([]);
        expect(
          await db.rows(
            "select person_id from track.event where person_id = 0 and (properties is not null or identity_id <> 0)",
          ),
        ).toEqual([]);
        deleted += await db.value<number>(
          "select coalesce(sum(row_count) filter (where method = 'delete'), 0)::int from privacy.retention_total",
        );
        anonymized += await db.value<number>(
          "select coalesce(sum(row_count) filter (where method = 'anonymize'), 0)::int from privacy.retention_total",
        );
        expect(await db.value("select coalesce(sum(row_count), 0)::int from privacy.retention_plan()")).toBe(0);

        await refresh(db);
        for (const [name, [stored, computed]] of Object.entries({ ...pairs, ...valuePairs }))
          expect([name, await db.rows(stored)]).toEqual([name, await db.rows(computed)]);
        // The rest, such as sessions, interactions and sets, is what a refresh from scratch gives.
        const incremental = await derived(db);
        await db.query("truncate track.session, recommend.interaction");
        await db.query(
          "insert into track.stale (person_id, since, until) select person_id, '-infinity', 'infinity' from track.person",
        );
        await db.query("select track.queue_people('track.person_set', array(select person_id from track.person))");
        await refresh(db);
        expect(await derived(db)).toEqual(incremental);
      });
    }),
    {
      numRuns: runs(25, 4, database.native),
      // With few runs, random rules may find no old event: one is deleted, one is anonymized.
      examples: [
        [
          [
            { what: "events", events: [fiveMonthsOld("u1", "Task Submitted"), fiveMonthsOld("u2", "Ad Seen")] },
            { what: "set", days: 20, purpose: "analytics", counted: "event", method: "delete" },
          ],
          { what: "set", days: 20, purpose: "service", counted: "event", method: "anonymize" },
        ],
      ],
    },
  );
  expect(deleted).toBeGreaterThan(0);
  expect(anonymized).toBeGreaterThan(0);
});

/** Sums of days that stay, as plain SQL over events: of at least five people, from the first of a month back. */
const keptTypes = `
  select event_type_id, day::text, sum(event_count)::int as events, sum(counted_count)::int as counted
  from track.presence group by 1, 2 having $1 and sum(event_count) > 0
    or not $1 and sum(event_count) > 0 and sum(bit_count(people)) >= 5 order by 1, 2`;
const keptItems = `
  select item_id, with_parts, day::text, event_count, person_count, engaged::text from track.item_day
  where $1 or person_count >= 5 order by 1, 2, 3`;

test("sums of deleted months stay without people, whatever happens later", async () => {
  let kept = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(...other), { minLength: 2, maxLength: 10 }),
      // A day on which many are there, so that there are sums to keep.
      fc.array(fc.record({ age: fc.integer({ min: 60, max: 150 }), item: fc.constantFrom(...items) }), {
        minLength: 1,
        maxLength: 3,
      }),
      fc.integer({ min: 20, max: 100 }),
      fc.array(
        step.filter(({ what }) => what !== "set" && what !== "drop"),
        { minLength: 2, maxLength: 10 },
      ),
      async (before, crowded, keepDays, after) => {
        await database.as("postgres", {}, async (db) => {
          await begin(db);
          for (const [index, one] of before.entries()) await perform(db, one as Step, index);
          for (const [index, { age, item }] of crowded.entries())
            await perform(
              db,
              {
                what: "events",
                events: users.map((who, minute) => ({
                  who,
                  age,
                  minute: minute * 13,
                  delay: 0,
                  type: "Page Viewed" as const,
                  item,
                  refused: false,
                })),
              } as Step,
              1000 + index,
            );
          await refresh(db);
          await db.query("select privacy.set_retention('events', make_interval(days => $1), keeps_rollups => true)", [
            keepDays,
          ]);
          const horizon = await db.value<string>(
            `select date_trunc('month', (now() at time zone 'UTC')::date - ${keepDays})::date::text`,
          );
          const old = (rows: { day: string }[]): { day: string }[] => rows.filter(({ day }) => day < horizon);
          const sums = {
            types: old(await db.rows<{ day: string }>(keptTypes, [false])),
            items: old(await db.rows<{ day: string }>(keptItems, [false])),
          };
          kept += sums.types.length + sums.items.length;
          for (const [index, one] of after.entries()) {
            // An event that arrives before the first run is in the sums, too: the run comes first.
            if (index === 0) await applyAll(db);
            await perform(db, one, 2000 + index);
          }
          await applyAll(db);
          await refresh(db);
          expect(await db.value("select sums_kept_before::text from track.setting")).toBe(horizon);
          expect(old(await db.rows<{ day: string }>(keptTypes, [true]))).toEqual(sums.types);
          expect(old(await db.rows<{ day: string }>(keptItems, [true]))).toEqual(sums.items);
          // No bit, list or value of a person is left of these days.
          expect(
            await db.rows(
              `select day from track.presence where day < $1 and bit_count(people) > 0
               union all select month from track.item_month where month < $1
               union all select month from track.course_presence where month < $1
               union all select day from track.value_presence where day < $1`,
              [horizon],
            ),
          ).toEqual([]);
          // Only the events of people whose data is restricted.
          expect(
            await db.rows(
              `select person_id from track.event where occurred_at < $1::date::timestamp at time zone 'UTC'
               except select person_id from privacy.restriction`,
              [horizon],
            ),
          ).toEqual([]);
          for (const [name, [stored, computed]] of Object.entries(pairs)) {
            if (name === "step") continue;
            const recent = (rows: { day?: string; month?: string }[]): unknown[] =>
              rows.filter(({ day, month }) => (day ?? month ?? "") >= horizon);
            expect([name, recent(await db.rows(stored))]).toEqual([name, recent(await db.rows(computed))]);
          }
          // The check of the rollups does not repair them.
          await db.query("select track.check_rollups(20)");
          expect(old(await db.rows<{ day: string }>(keptTypes, [true]))).toEqual(sums.types);
          expect(old(await db.rows<{ day: string }>(keptItems, [true]))).toEqual(sums.items);

          // Without the sums, the rollups are those of the events that are left.
          await db.query("select privacy.set_retention('events', make_interval(days => $1))", [keepDays]);
          await applyAll(db);
          for (const [index, one] of users.entries()) await perform(db, { what: "lift", user: one }, 3000 + index);
          await applyAll(db);
          await refresh(db);
          for (const [name, [stored, computed]] of Object.entries({ ...pairs, ...valuePairs }))
            expect([name, await db.rows(stored)]).toEqual([name, await db.rows(computed)]);
        });
      },
    ),
    {
      numRuns: runs(20, 3, database.native),
      // With few runs, the days on which many are there may be those that no rule deletes.
      examples: [
        [
          [{ what: "events", events: [fiveMonthsOld("u1", "Page Viewed")] }],
          [{ age: 150, item: "course-1" }],
          20,
          [{ what: "refresh", people: 4 }],
        ],
      ],
    },
  );
  expect(kept).toBeGreaterThan(0);
});
