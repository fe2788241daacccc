import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, type Message, refresh } from "./messages.ts";

const database = await testDatabase();

const rollups = [
  "track.course_presence",
  "track.item_day",
  "track.item_month",
  "track.item_month sums",
  "track.item_transition",
  "track.presence",
  "track.step",
];

interface Check {
  rollup: string;
  checked: number;
  differing: number;
  example: string | null;
}

/** A course with pages, and the events of five people on three days, one of them excluded and one a browser. */
async function fill(db: Queries): Promise<void> {
  await db.query(
    `create table public.catalogue as
     select * from (values ('course', 'course', null), ('page-1', 'page', 'course'), ('page-2', 'page', 'course'))
       as row (external_id, kind, parent)`,
  );
  await db.query("select track.sync_items('public.catalogue')");
  const events: Message[] = [];
  for (const [index, who] of ["ada", "ben", "cleo", "dan", "browser"].entries())
    for (const day of ["03", "04", "20"])
      for (const [minute, item] of ["page-1", "page-2", "course"].entries())
        events.push({
          type: "track",
          messageId: `${who}-${day}-${minute}`,
          ...(who === "browser" ? { anonymousId: who } : { userId: who }),
          event: minute === 2 ? "Task Submitted" : "Page Viewed",
          timestamp: `2026-03-${day}T1${index}:0${minute}:00Z`,
          properties: { item },
        });
  expect(await ingest(db, events)).toMatchObject({ accepted: 45, errors: [] });
  await db.query("select track.exclude_person('dan', 'staff')");
  await refresh(db);
}

/** The sums of the results of a number of checks. */
const check = (db: Queries, checks: number): Promise<Check[]> =>
  db.rows<Check>(
    `select result.rollup, sum(result.checked)::int as checked, sum(result.differing)::int as differing,
       max(result.example) as example
     from generate_series(1, $1::int) as number cross join lateral track.check_rollups(number / number) as result
     group by result.rollup order by result.rollup`,
    [checks],
  );

/** Each month once: the partitions that exist, with one block of people. */
const months = async (db: Queries): Promise<number> =>
  Number(
    await db.value(
      "select count(*) from pg_inherits where inhparent = 'track.event'::regclass and inhrelid::regclass::text ~ '\\d\\d$'",
    ),
  );

const contents = async (db: Queries): Promise<unknown> =>
  db.rows(
    ["step", "presence", "item_month", "item_day", "item_transition", "course_presence"]
      .map((table) => `select '${table}' as name, to_jsonb(${table}) as contents from track.${table}`)
      .join(" union all ")
      .concat(" order by 1, 2"),
  );

test("right data has a score of 1, and each cell is compared", async () => {
  await database.as("postgres", {}, async (db) => {
    await fill(db);
    const before = await contents(db);
    const all = 31 * (await months(db));
    expect((await check(db, all)).map(({ rollup, differing }) => [rollup, differing])).toEqual(
      rollups.map((rollup) => [rollup, 0]),
    );
    expect(await contents(db)).toEqual(before);
    const trust = await db.rows<{ rollup: string; checked: string; score: number; differed_at: unknown }>(
      "select rollup, checked, score, differed_at from track.rollup_trust()",
    );
    expect(trust.map(({ rollup }) => rollup)).toEqual([...rollups, "all"]);
    for (const { score, checked, differed_at: differed } of trust) {
      expect([score, differed]).toEqual([1, null]);
      expect(Number(checked)).toBeGreaterThan(0);
    }
    // All days of a month in 31 checks of it: every row of track.item_day was compared once.
    expect(
      await db.value(
        "select sum(checked) = (select count(*) from track.item_day) from track.rollup_check where rollup = 'track.item_day' and check_id <= $1",
        [all],
      ),
    ).toBe(true);
  });
});

const faults: [string, string, string][] = [
  [
    "a deleted journey",
    "track.step",
    "delete from track.step where event_type_id = (select min(event_type_id) from track.step)",
  ],
  [
    "a journey without one event",
    "track.step",
    "update track.step set occurred_at = occurred_at[2:], item_ids = item_ids[2:] where cardinality(item_ids) > 1",
  ],
  ["a wrong item in a journey", "track.step", "update track.step set item_ids[1] = 0"],
  [
    "an invented journey",
    "track.step",
    "insert into track.step select person_id, 999, false, '2026-01-01', '{2026-03-03 01:00Z}', '{0}' from track.person where person_id <> 0",
  ],
  ["a wrong bit", "track.presence", "update track.presence set people = people # (b'1'::bit(4096) >> 77)"],
  ["a missing day", "track.presence", "delete from track.presence where day = '2026-03-04'"],
  ["a wrong number of events", "track.presence", "update track.presence set event_count = event_count + 1"],
  ["a wrong number of counted events", "track.presence", "update track.presence set counted_count = 0"],
  [
    "an invented day",
    "track.presence",
    "insert into track.presence values (1, '2026-03-09', 0, b'1'::bit(4096) >> 3, 1, 1)",
  ],
  ["a missing person", "track.item_month", "update track.item_month set people = people[2:], days = days[2:]"],
  ["a wrong day", "track.item_month", "update track.item_month set days[1] = days[1] # 4"],
  ["a missing month", "track.item_month", "delete from track.item_month"],
  ["a wrong sum of a month", "track.item_month sums", "update track.item_month set event_count = event_count - 1"],
  ["a wrong time of a month", "track.item_month sums", "update track.item_month set engaged = engaged + '1 second'"],
  ["a wrong course", "track.course_presence", "update track.course_presence set people = people >> 1"],
  ["a wrong day of a course", "track.course_presence", "update track.course_presence set days[1] = days[1] # 4"],
  ["a missing course", "track.course_presence", "delete from track.course_presence"],
  ["a missing transition", "track.item_transition", "delete from track.item_transition"],
  [
    "a wrong number of transitions",
    "track.item_transition",
    "update track.item_transition set transition_count = transition_count + 1",
  ],
  [
    "a wrong number of people of a transition",
    "track.item_transition",
    "update track.item_transition set person_count = person_count + 1",
  ],
  ["a wrong time of a transition", "track.item_transition", "update track.item_transition set elapsed = elapsed + 1"],
  [
    "an invented transition",
    "track.item_transition",
    "insert into track.item_transition select month, target_item_id, source_item_id, 1, 1, 0 from track.item_transition",
  ],
  ["a missing sum of a day", "track.item_day", "delete from track.item_day where day = '2026-03-20'"],
  [
    "a wrong sum of a day",
    "track.item_day",
    "update track.item_day set person_count = person_count + 1 where with_parts",
  ],
  [
    "an invented sum of a day",
    "track.item_day",
    "insert into track.item_day select '2026-03-31', item_id, false, 1, 1, '0' from track.item where external_id = 'page-1'",
  ],
];

describe("is found and repaired", () => {
  test.each(faults)("%s", async (_name, rollup, fault) => {
    await database.as("postgres", {}, async (db) => {
      await fill(db);
      const before = await contents(db);
      await db.query(fault);
      expect(await contents(db)).not.toEqual(before);
      const found = (await check(db, (rollup === "track.item_day" ? 31 : 1) * (await months(db)))).find(
        (one) => one.rollup === rollup,
      );
      expect(found?.differing).toBeGreaterThan(0);
      expect(found?.example).toMatch(/\d/);
      expect(await contents(db)).toEqual(before);
      const [all] = await db.rows<{ score: number; differed: boolean }>(
        "select score, differed_at is not null as differed from track.rollup_trust(10000) where rollup = 'all'",
      );
      expect(all?.score).toBeGreaterThan(0);
      expect(all?.score).toBeLessThan(1);
      expect(all?.differed).toBe(true);
      // After the repair, as much as before, a refresh and a further check change nothing.
      await db.query("select track.rebuild()");
      await refresh(db);
      expect(await contents(db)).toEqual(before);
    });
  });
});

const valueFaults: [string, string, string][] = [
  ["deleted values of journeys", "track.step_value", "delete from track.step_value"],
  [
    "a wrong value of a journey",
    "track.step_value",
    "update track.step_value set value_ids[1] = case value_ids[1] when 0 then value_ids[2] else 0 end",
  ],
  ["a value too many", "track.step_value", "update track.step_value set value_ids = value_ids || 0"],
  [
    "values without a journey",
    "track.step_value",
    "insert into track.step_value select person_id, property_id, true, '2026-01-01', '{1}' from track.person, track.declared_property where person_id <> 0",
  ],
  ["a value that does not exist", "track.step_value", "update track.step_value set value_ids[1] = 99999"],
  [
    "a wrong bit of a value",
    "track.value_presence",
    "update track.value_presence set people = people # (b'1'::bit(16384) >> 7777)",
  ],
  ["a missing day of a value", "track.value_presence", "delete from track.value_presence where day = '2026-03-04'"],
  ["a wrong number", "track.value_presence", "update track.value_presence set event_count = event_count + 1"],
  ["a wrong number of counted events", "track.value_presence", "update track.value_presence set counted_count = 0"],
  [
    "an invented value",
    "track.value_presence",
    "insert into track.value_presence select property_id, 99999, '2026-03-09', 0, b'1'::bit(16384) >> 3, 1, 1 from track.declared_property",
  ],
];

describe("with a declared property is found and repaired", () => {
  test.each(valueFaults)("%s", async (_name, rollup, fault) => {
    await database.as("postgres", {}, async (db) => {
      await fill(db);
      await db.query("select track.declare_property('Page Viewed', 'item')");
      await refresh(db);
      const values = () =>
        db.rows(
          `select 'step_value' as name, to_jsonb(step_value) as contents from track.step_value
           union all select 'value_presence', to_jsonb(value_presence) from track.value_presence order by 1, 2`,
        );
      const before = await values();
      await db.query(fault);
      expect(await values()).not.toEqual(before);
      const found = await check(db, await months(db));
      expect(found.map((one) => one.rollup)).toEqual(
        [...rollups, "track.step_value", "track.value_presence"].toSorted(),
      );
      expect(found.find((one) => one.rollup === rollup)?.differing).toBeGreaterThan(0);
      expect(found.filter((one) => one.rollup !== rollup && one.differing > 0)).toEqual([]);
      expect(await values()).toEqual(before);
      await db.query("select track.rebuild()");
      await refresh(db);
      expect(await values()).toEqual(before);
    });
  });

  test("but not what is queued, or belongs to a declaration that is not complete", async () => {
    await database.as("postgres", {}, async (db) => {
      await fill(db);
      await db.query("select track.declare_property('Page Viewed', 'item')");
      for (let step = 0; step < 4; step++) {
        await db.query("select track.refresh(1, 'track.property')");
        expect((await check(db, await months(db))).filter(({ differing }) => differing > 0)).toEqual([]);
      }
      await refresh(db);
      await ingest(db, [
        {
          type: "track",
          messageId: "new",
          userId: "ben",
          event: "Page Viewed",
          timestamp: "2026-03-04T12:00:00Z",
          properties: { item: "page-2" },
        },
        { type: "identify", messageId: "link", userId: "ada", anonymousId: "browser" },
      ]);
      await db.query("select track.exclude_person('cleo', 'staff'), track.include_person('dan')");
      expect((await check(db, await months(db))).filter(({ differing }) => differing > 0)).toEqual([]);
      await db.query("select track.refresh_sessions(1)");
      expect((await check(db, await months(db))).filter(({ differing }) => differing > 0)).toEqual([]);
    });
  });
});

test("people whose data is restricted stay out of the sums, and are in them again afterwards", async () => {
  await database.as("postgres", {}, async (db) => {
    await fill(db);
    const quiet = rollups.map((rollup) => [rollup, 0]);
    const all = 31 * (await months(db));
    const before = await contents(db);
    await db.query("select privacy.restrict_person('ada', 'accuracy'), privacy.restrict_person('dan', 'accuracy')");
    await refresh(db);
    const restricted = await contents(db);
    expect((await check(db, all)).map(({ rollup, differing }) => [rollup, differing])).toEqual(quiet);
    expect(await contents(db)).toEqual(restricted);
    await db.query("select privacy.lift_restriction('ada'), privacy.lift_restriction('dan')");
    await refresh(db);
    expect((await check(db, all)).map(({ rollup, differing }) => [rollup, differing])).toEqual(quiet);
    expect(await contents(db)).toEqual(before);
  });
});

test("what is queued is not compared", async () => {
  await database.as("postgres", {}, async (db) => {
    await fill(db);
    // New and deleted events, a merge of people, a person who counts no longer, and an item in another course.
    await ingest(db, [
      {
        type: "track",
        messageId: "new",
        userId: "ben",
        event: "Page Viewed",
        timestamp: "2026-03-04T12:00:00Z",
        properties: { item: "page-2" },
      },
      {
        type: "track",
        messageId: "other",
        userId: "eve",
        event: "Page Viewed",
        timestamp: "2026-03-05T12:00:00Z",
        properties: { item: "page-1" },
      },
      { type: "identify", messageId: "link", userId: "ada", anonymousId: "browser" },
    ]);
    await db.query("select track.exclude_person('cleo', 'staff'), track.include_person('dan')");
    await db.query("update track.item set parent_item_id = null where external_id = 'page-2'");
    const before = await contents(db);
    const all = 31 * (await months(db));
    const quiet = rollups.map((rollup) => [rollup, 0]);
    expect((await check(db, all)).map(({ rollup, differing }) => [rollup, differing])).toEqual(quiet);
    expect(await contents(db)).toEqual(before);
    // Between the steps of a refresh.
    await db.query("select track.refresh_sessions(1)");
    expect((await check(db, all)).map(({ rollup, differing }) => [rollup, differing])).toEqual(quiet);
    await db.query("select track.refresh_sessions()");
    expect((await check(db, all)).map(({ rollup, differing }) => [rollup, differing])).toEqual(quiet);
    await refresh(db);
    expect((await check(db, all)).map(({ rollup, differing }) => [rollup, differing])).toEqual(quiet);
  });
});

test("checks go through all months and blocks of people in turn", async () => {
  await database.as("postgres", {}, async (db) => {
    await fill(db);
    await db.query("insert into track.person (person_id) values (4096), (20000)");
    const count = 3 * (await months(db));
    await check(db, 2 * count);
    expect(
      await db.rows(
        `select array_agg(distinct block order by block) as blocks, count(distinct month)::int * 3 as units,
           bool_and(times = 2) as twice
         from (select month, block, count(*) as times from track.rollup_check where rollup = 'track.step' group by 1, 2) as unit`,
      ),
    ).toEqual([{ blocks: [0, 1, 4], units: count, twice: true }]);
  });
});

test("nothing is checked with a long queue", async () => {
  await database.as("postgres", {}, async (db) => {
    await fill(db);
    await db.query(
      "insert into track.stale (person_id, since, until) select 1, now(), now() from generate_series(1, 10001)",
    );
    expect(await check(db, 1)).toEqual([]);
  });
});

test("a number of checks in one call, at most 100", async () => {
  await database.as("postgres", {}, async (db) => {
    await fill(db);
    await db.query("insert into track.person (person_id) overriding system value values (5000), (900000)");
    const made = (checks: number) =>
      db.value(`select count(*)::int from track.check_rollups(${checks}) where rollup = 'track.presence'`);
    expect(await made(2)).toBe(2);
    // All are compared once: a month, and three blocks of people.
    expect(await made(100)).toBe(3);
    await expect(db.query("select from track.check_rollups(101)")).rejects.toMatchObject({ code: "CF001" });
  });
});

test.each(["0", "-1", "10001", "null"])("check_rollups(%s) and rollup_trust(%s) are CF001", async (checks) => {
  for (const name of ["check_rollups", "rollup_trust"])
    await database.as("postgres", {}, async (db) => {
      await expect(db.query(`select * from track.${name}(${checks})`)).rejects.toMatchObject({ code: "CF001" });
    });
});

test("admins and workers check; analysts read the score, without keys of people", async () => {
  expect(await rolesThatMay(database, "select * from track.check_rollups()")).toEqual(["admin", "worker"]);
  expect(await rolesThatMay(database, "select * from track.rollup_trust()")).toEqual(["analyst", "admin", "worker"]);
  expect(await rolesThatMay(database, "select * from track.rollup_check")).toEqual(["admin", "worker"]);
});

// The last test, because what it stores stays.
test.skipIf(!database.native)(
  "events and refreshes during a check cause no false alarm",
  { timeout: 90_000 },
  async () => {
    const batch = (round: number, people: string): Message[] =>
      Array.from({ length: 40 }, (_, index) => ({
        type: "track",
        messageId: `${people}-${round}-${index}`,
        userId: `${people}-${(round * 7 + index) % 60}`,
        event: index % 3 === 0 ? "Task Submitted" : "Page Viewed",
        timestamp: `2026-03-0${(index % 3) + 3}T10:${String(round % 60).padStart(2, "0")}:00Z`,
        properties: { item: `page-${index % 5}` },
      }));
    const send = (round: number, people: string) =>
      database.query("select track.ingest($1::jsonb)", [JSON.stringify(batch(round, people))]);
    const refreshAll = async (): Promise<void> => {
      while ((await database.rows("select from track.refresh(1000)")).length > 0);
    };
    const checkBlock = async (): Promise<{ checked: number; differing: number }> => {
      const [row] = await database.rows<{ checked: number; differing: number }>(
        "select sum(checked)::int as checked, sum(differing)::int as differing from track._check_block('2026-03-01', 0)",
      );
      return row ?? { checked: 0, differing: 0 };
    };
    /** Repeats something while events arrive and are refreshed. */
    const meanwhile = async (rounds: number[], work: () => Promise<void>): Promise<void> => {
      let isDone = false;
      const sender = (async () => {
        for (const round of rounds) await send(round, "active");
        isDone = true;
      })();
      const refresher = (async () => {
        while (!isDone) await database.query("select track.refresh(20)");
      })();
      do await work();
      while (!isDone);
      await Promise.all([sender, refresher]);
    };
    const rounds = (first: number): number[] => Array.from({ length: 40 }, (_, index) => first + index);

    // People who are not queued are compared in each check.
    for (let round = 0; round < 3; round++) await send(round, "idle");
    await refreshAll();
    const { checked: least } = await checkBlock();
    const found: { checked: number; differing: number }[] = [];
    await meanwhile(rounds(0), async () => void found.push(await checkBlock()));
    expect(found.filter(({ differing }) => differing > 0)).toEqual([]);
    expect(least).toBeGreaterThan(100);
    expect(Math.min(...found.map(({ checked }) => checked))).toBeGreaterThan(100);

    // Faults at the same time: what refreshes derive from wrong rows in the meantime is repaired as well.
    await meanwhile(rounds(40), async () => {
      await database.query(`
      select pg_advisory_xact_lock(hashtext('track.refresh'));
      delete from track.step where person_id % 5 = extract(second from clock_timestamp())::int % 5;
      update track.presence set counted_count = counted_count + 1, people = people | b'1'::bit(4096) >> 4000;
      update track.item_day set event_count = event_count + 1;
      update track.item_month set people = people[2:], days = days[2:] where cardinality(people) > 1;
      delete from track.course_presence
    `);
      await checkBlock();
    });
    await refreshAll();
    // Each day of the month, and then again.
    for (let day = 0; day < 31; day++) await checkBlock();
    for (let day = 0; day < 31; day++) expect((await checkBlock()).differing).toBe(0);
    const repaired = await contents(database);
    await database.query(
      "truncate track.session, track.step, track.presence, track.item_month, track.item_day, track.item_transition, track.course_presence",
    );
    await database.query("select track.rebuild()");
    await refreshAll();
    expect(repaired).toEqual(await contents(database));
  },
);
