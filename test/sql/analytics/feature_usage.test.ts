import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { dayOf, groupBy, ofGroups, people as peopleOf, shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { runs } from "../../support/runs.ts";
import { ingest, type Message, message, refresh } from "../track/messages.ts";
import { DAY, doings, iso, makeDoings, start, withFloor } from "./doings.ts";

const database = await testDatabase();

/**
 * The figures of each feature from the events, in plain SQL. $1 and $2: the days of the period, $3: return_days, $4: by
 * kind of item, $5: the people who count; null: all who are not excluded.
 */
const PLAIN = `
  with visible as (
    select
      event.person_id, event_type.name, (event.occurred_at at time zone 'UTC')::date as day,
      event_type.is_automatic or source.is_automatic as automatic,
      event_type.is_automatic or event_type.is_heartbeat or event_type.purpose = 'service' as hidden,
      case when $4::boolean then coalesce(item.kind, '') else '' end as kind
    from track.event
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    left join track.item using (item_id)
    where event.occurred_at < $2::date::timestamp at time zone 'UTC'
      and case
        when $5::bigint[] is not null then event.person_id = any ($5)
        else not exists (
          select from track.identity join track.exclusion using (identity_id) where person_id = event.person_id
        )
      end
  ),
  active as (
    select count(distinct person_id) as people from visible where not automatic and day >= $1::date and person_id <> 0
  ),
  by_person as (
    select
      name, kind, person_id,
      count(*) filter (where day >= $1::date) as events,
      count(*) filter (where day < $1::date and day >= $1::date - ($2::date - $1::date)) as previous_events,
      count(distinct day) filter (where day >= $1::date) as days,
      bool_or(day < $1::date) as is_known,
      min(day) as first_day, max(day) as last_day,
      min(day) filter (where day >= $1::date) as first_in_period
    from (select *, 1 from visible where not hidden) as used (person_id, name, day, automatic, hidden, kind)
    group by 1, 2, 3
  ),
  of_people as (select *, person_id <> 0 as is_person from by_person)
  select
    name as event, nullif(kind, '') as item_kind,
    sum(events)::int as event_count,
    count(*) filter (where is_person and events > 0)::int as person_count,
    (select people::int from active) as active_person_count,
    case when not $4::boolean then count(*) filter (where is_person and events > 0 and not is_known)::int end as new_person_count,
    percentile_cont(0.5) within group (order by events) filter (where is_person and events > 0) as median_events,
    coalesce(sum(days) filter (where is_person), 0)::int as person_days,
    count(*) filter (where is_person and first_in_period <= least($2::date, (now() at time zone 'UTC')::date + 1) - 1 - $3::int)::int
      as observed_person_count,
    count(*) filter (where is_person and first_in_period is not null and last_day - first_in_period >= $3::int)::int
      as returned_person_count,
    sum(previous_events)::int as previous_event_count,
    count(*) filter (where is_person and previous_events > 0)::int as previous_person_count,
    case when not $4::boolean then min(first_day) filter (where is_person)::text end as first_day,
    max(last_day) filter (where is_person and (not $4::boolean or last_day >= $1::date - ($2::date - $1::date)))::text as last_day
  from of_people
  group by name, kind
  having sum(events) + sum(previous_events) > 0
  order by 1, 2 nulls first`;

const OURS = `
  select event, item_kind, event_count::int, person_count::int, active_person_count::int, new_person_count::int,
    median_events, coalesce(round(days_per_person * person_count), 0)::int as person_days, observed_person_count::int,
    returned_person_count::int, previous_event_count::int, previous_person_count::int, first_day::text, last_day::text
  from analytics.feature_usage(
    breakdown => case when $4::boolean then 'kind' end, since => $1::date::timestamp at time zone 'UTC',
    until => $2::date::timestamp at time zone 'UTC', return_days => $3::int, among => $5::text, with_median => true
  )
  order by event, item_kind nulls first`;

describe("equals the events", () => {
  const users = ["ada", "ben", "cleo", "dan"];
  const action = fc.record({
    person: fc.constantFrom<object>(
      ...users.map((userId) => ({ userId })),
      { anonymousId: "browser" },
      { userId: "robot" },
      { userId: "shy", context: { consent: { categoryPreferences: { analytics: false } } } },
    ),
    event: fc.constantFrom("Read", "Task Submitted", "Task Graded", "Heartbeat", "Page Viewed"),
    item: fc.constantFrom(undefined, "page-a", "course-a"),
    day: fc.integer({ min: 0, max: 40 }),
    hour: fc.integer({ min: 0, max: 23 }),
  });
  const messages = (actions: readonly (typeof action extends fc.Arbitrary<infer T> ? T : never)[], name: string) =>
    actions.map(
      ({ person, event, item, day, hour }, index): Message => ({
        ...(event === "Page Viewed" ? { type: "page" } : { type: "track", event }),
        messageId: `${name} ${index}`,
        timestamp: iso(start + day * DAY + hour * 3_600_000),
        properties: { item: item ?? "page-b" },
        ...(item === undefined ? { properties: {} } : {}),
        ...person,
      }),
    );

  test("after random histories, with events that are not refreshed", { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { minLength: 10, maxLength: 60 }),
        fc.array(action, { maxLength: 15 }),
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        async (stored, queued, first, length, returnDays, moves) => {
          await database.as("postgres", {}, async (db) => {
            await ingest(db, [
              message({ userId: "robot", properties: { item: "course-a", itemKind: "course" }, timestamp: iso(start) }),
              message({ userId: "robot", properties: { item: "page-a", itemKind: "page" }, timestamp: iso(start) }),
              ...users.map((userId) => ({ type: "identify", messageId: userId, userId })),
              ...messages(stored, "stored"),
            ]);
            await db.query(
              "select track.set_person_set('pair', array[track.find_person('ada'), track.find_person('ben')])",
            );
            await refresh(db);
            await ingest(db, messages(queued, "queued"));
            await db.query("select track.exclude_person('robot', 'bot')");
            if (moves) await db.query("select track.link_identities('cleo', 'ada')").catch(() => undefined);
            const pair = await db.value("select array[track.find_person('ada'), track.find_person('ben')]");
            const days = [first, first + length].map((day) => iso(start + day * DAY).slice(0, 10));
            for (const kind of [false, true]) {
              for (const among of [null, "pair"]) {
                const expected = await db.rows(PLAIN, [...days, returnDays, kind, among === null ? null : pair]);
                expect(await db.rows(OURS, [...days, returnDays, kind, among])).toEqual(expected);
              }
            }
          });
        },
      ),
      { numRuns: runs(7, 2, database.native) },
    );
  });
});

const used = database;
const own = await testDatabase();
await makeDoings(own);

describe("as analysts see it", () => {
  /** From the rules of the README, with the functions of `floor.ts`. */
  const expected = (first: number, end: number, floor: number) => {
    const [from, until] = [start + first * DAY, start + end * DAY];
    const before = from - (until - from);
    const events = doings.map((doing) => ({ ...doing }));
    const active = ofGroups(events, from, until, floor);
    return [...groupBy(events, ({ event }) => event)].map(([event, all]) => {
      const period = ofGroups(all, from, until, floor);
      const earlier = new Set(ofGroups(all, -Infinity, from, floor).map(({ person }) => person));
      const previous = ofGroups(all, before, from, floor);
      const persons = [...groupBy(period, ({ person }) => person)].map(([person, own]) => ({
        person,
        days: [...new Set(own.map(({ at }) => dayOf(at)))].toSorted((a, b) => a - b),
      }));
      const count = (number: number) => shown(number, number, floor);
      const people = persons.length;
      const observed = count(persons.filter(({ days }) => (days[0] ?? 0) <= until - 8 * DAY).length);
      const returned = count(persons.filter(({ days }) => (days.at(-1) ?? 0) - (days[0] ?? 0) >= 7 * DAY).length);
      const large = [
        ...groupBy(
          all.filter(({ at }) => at < until),
          ({ at }) => dayOf(at),
        ),
      ]
        .filter(([, day]) => peopleOf(day) >= floor)
        .map(([day]) => day);
      return {
        event,
        event_count: shown(period.length, people, floor),
        person_count: count(people),
        adoption_rate: Math.min(1, count(people) / count(peopleOf(active))),
        new_person_count: count(persons.filter(({ person }) => !earlier.has(person)).length),
        days_per_person:
          shown(
            persons.reduce((sum, { days }) => sum + days.length, 0),
            people,
            floor,
          ) / count(people),
        return_rate: observed === 0 ? null : returned / observed,
        previous_person_count: count(peopleOf(previous)),
        previous_event_count: shown(previous.length, peopleOf(previous), floor),
        first_day: iso(Math.min(...large)).slice(0, 10),
        last_day: iso(Math.max(...large)).slice(0, 10),
      };
    });
  };

  for (const floor of [1, 3, 5]) {
    for (const [first, end] of [
      [7, 28],
      [14, 21],
      [9, 30],
    ] as const) {
      test(`days ${first} to ${end}, floor ${floor}`, async () => {
        const rows = await withFloor(
          own,
          floor,
          `select event, event_count::int, person_count::int, adoption_rate, new_person_count::int, days_per_person,
             return_rate, previous_person_count::int, previous_event_count::int, first_day::text, last_day::text
           from analytics.feature_usage(since => $1, until => $2) where event <> 'Published'`,
          [iso(start + first * DAY), iso(start + end * DAY)],
        );
        expect(rows).toHaveLength(2);
        expect(rows).toEqual(
          expect.arrayContaining(
            expected(first, end, floor).map((row) => ({
              ...row,
              days_per_person: expect.closeTo(row.days_per_person, 9),
            })),
          ),
        );
      });
    }
  }
});

test("agrees with trend to the unit: people, events and active people of a week", async () => {
  for (const floor of [1, 3, 5]) {
    await own.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = $1", [floor]);
      await db.query(`set local role insights_${floor === 1 ? "admin" : "analyst"}`);
      const rows = await db.rows<{ event: string; events: number; people: number }>(
        "select event, event_count::int as events, person_count::int as people from analytics.feature_usage(since => $1, until => $2)",
        [iso(start + 14 * DAY), iso(start + 21 * DAY)],
      );
      expect(rows.length).toBeGreaterThan(1);
      for (const row of rows) {
        expect([row]).toEqual(
          await db.rows(
            "select $1 as event, event_count::int as events, person_count::int as people from analytics.trend($1, 'week', since => $2, until => $3)",
            [row.event, iso(start + 14 * DAY), iso(start + 21 * DAY)],
          ),
        );
      }
    });
  }
});

test("one feature, in the order of each measure, cut by top", async () => {
  const names = async (measure: string, top: number): Promise<unknown[]> =>
    (
      await own.rows(
        "select rank, event from analytics.feature_usage(since => $1, until => $2, measure => $3, top => $4)",
        [iso(start), iso(start + 40 * DAY), measure, top],
      )
    ).map(({ event }) => event);
  for (const measure of ["people", "events", "days", "new", "return", "growth"])
    expect((await names(measure, 50)).toSorted()).toEqual(["Course Rated", "Task Submitted"]);
  expect(await names("events", 1)).toEqual(["Task Submitted"]);
  expect(
    await own.rows("select event, item_kind from analytics.feature_usage('Course Rated', 'kind', $1, $2)", [
      iso(start),
      iso(start + 40 * DAY),
    ]),
  ).toEqual(
    expect.arrayContaining([
      { event: "Course Rated", item_kind: "page" },
      { event: "Course Rated", item_kind: "course" },
      { event: "Course Rated", item_kind: "unknown" },
    ]),
  );
});

test("an automatic event is a feature when it is asked for, and no activity", async () => {
  await own.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "p1", event: "Task Graded", timestamp: iso(start + 3 * DAY) })]);
    const rows = (name: string | null) =>
      db.rows("select event from analytics.feature_usage($1, since => $2, until => $3)", [
        name,
        iso(start),
        iso(start + 7 * DAY),
      ]);
    expect(await rows("Task Graded")).toEqual([{ event: "Task Graded" }]);
    expect(await rows(null)).not.toContainEqual({ event: "Task Graded" });
  });
});

/** An attack: what an analyst sees with and without events of one learner. */
async function answers(db: Queries): Promise<unknown> {
  await refresh(db);
  await db.query("set local role insights_analyst");
  const rows = await db.rows(
    `select period.*, feature.*
     from (values ('2026-03-02Z'::timestamptz, '2026-03-16Z'::timestamptz), ('2026-03-09Z', '2026-03-16Z'), ('2026-03-10Z', '2026-03-11Z')) as period (since, until)
     cross join (values (null), ('kind')) as by_kind (breakdown)
     cross join analytics.feature_usage(null, breakdown, since, until, with_median => true) as feature
     order by 1, 2, breakdown, rank`,
  );
  await db.query("set local role postgres");
  return rows;
}

test("the use of one learner below the floor changes no figure: not the new people of later periods, nor the first day", async () => {
  await used.as("postgres", {}, async (db) => {
    const use = (userId: string, day: string, event = "Searched") =>
      message({ userId, event, timestamp: `${day}T10:00:00Z`, messageId: `${userId} ${day} ${event}` });
    const six = ["a", "b", "c", "d", "e", "f"];
    await ingest(db, [
      ...six.map((userId) => use(userId, "2026-03-10")),
      ...["g", "h", "i", "j", "k", "l", "m"].flatMap((userId) => [
        use(userId, "2026-02-10"),
        use(userId, "2026-03-12"),
      ]),
    ]);
    const before = await answers(db);
    expect(JSON.stringify(before)).toContain("Searched");
    // "a" has searched before, on a day of her own: of the six people of 10 March, five are new.
    await ingest(db, [use("a", "2026-02-03")]);
    expect(await answers(db)).toEqual(before);
    // She returns a week later, alone; a seventh person of the day would make "10 people" of "5".
    await ingest(db, [use("a", "2026-03-03"), use("a", "2026-03-15")]);
    expect(await answers(db)).toEqual(before);
    // Four people whom a client invented.
    await ingest(
      db,
      [1, 2, 3, 4].map((number) =>
        message({
          userId: undefined,
          anonymousId: `invented ${number}`,
          event: "Searched",
          timestamp: "2026-03-15T10:00:00Z",
        }),
      ),
    );
    expect(await answers(db)).toEqual(before);
  });
});

test("adoption times active people is no more than the number of people as shown", async () => {
  const rows = await withFloor<Record<string, number>>(
    own,
    5,
    "select person_count::int, active_person_count::int, adoption_rate from analytics.feature_usage(since => $1, until => $2)",
    [iso(start + 7 * DAY), iso(start + 28 * DAY)],
  );
  for (const row of rows) {
    const { person_count = 0, active_person_count = 0, adoption_rate = 0 } = row;
    expect(person_count % 5).toBe(0);
    expect(active_person_count % 5).toBe(0);
    expect(adoption_rate).toBeCloseTo(Math.min(1, person_count / active_person_count), 12);
  }
});

test.each([
  ["'Serched'", "CF002"],
  ["breakdown => 'colour'", "CF001"],
  ["measure => 'likes'", "CF001"],
  ["measure => null", "CF001"],
  ["since => '2026-01-02', until => '2026-01-01'", "CF001"],
  ["since => null", "CF001"],
  ["since => '-infinity'", "CF008"],
  ["until => 'infinity'", "CF008"],
  ["top => 0", "CF001"],
  ["return_days => 0", "CF001"],
  ["return_days => 367", "CF001"],
  ["with_median => null", "CF001"],
  ["among => 'no.such_set'", "CF002"],
  ["among => 'signed_in | counted'", "CF001"],
])("feature_usage(%s) is %s, with a hint", async (values, code) => {
  const error = await database.rejects(`select * from analytics.feature_usage(${values})`);
  expect(error).toMatchObject({ code });
  expect(error.hint).toBeTruthy();
});

test("is for those who analyse", async () => {
  expect(await rolesThatMay(database, "select * from analytics.feature_usage()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
