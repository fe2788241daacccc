import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { iso, withFloor } from "./doings.ts";

const database = await testDatabase();
const months = [Date.UTC(2026, 1, 27, 23, 58), Date.UTC(2026, 2, 5)];
/** Each word is a session of a person in a month, a letter a page each minute: `a` and `b` are pages of the course c. */
const words: [person: string, month: 0 | 1, word: string][] = [
  ["ada", 0, "abcab"],
  ["ben", 0, "aabbc"],
  ["cleo", 0, "ab"],
  ["ada", 1, "abab"],
  ["ben", 1, "ac"],
  ["browser", 0, "ababab"],
];
await ingest(
  database,
  words.flatMap(([person, month, word]) =>
    [...word].map((item, index) => ({
      type: "page",
      messageId: `${person} ${month} ${index}`,
      ...(person === "browser" ? { anonymousId: person } : { userId: person }),
      timestamp: iso((months[month] as number) + index * 60_000),
      properties: { item, itemKind: item === "c" ? "course" : "page", ...(item === "c" ? {} : { parent: "c" }) },
    })),
  ),
);
await refresh(database);
const period = [iso(Date.UTC(2026, 1, 10)), iso(Date.UTC(2026, 2, 3))];
const call = (rest = ""): string => `
  select source || target as pair, transition_count::int as times, person_months::int as people, share,
    extract(epoch from mean_time)::int as seconds
  from analytics.transitions($1, $2${rest})`;
const exact = [
  { pair: "ab", times: 6, people: 4, share: 6 / 7, seconds: 60 },
  { pair: "bc", times: 2, people: 2, share: 2 / 3, seconds: 60 },
  { pair: "ac", times: 1, people: 1, share: 1 / 7, seconds: 60 },
  { pair: "ba", times: 1, people: 1, share: 1 / 3, seconds: 60 },
  { pair: "ca", times: 1, people: 1, share: 1, seconds: 60 },
];

test("pages in succession, in the whole months of the period, of people who have signed in", async () => {
  expect(await withFloor(database, 1, call(), period)).toEqual(exact);
  expect(await withFloor(database, 1, call(", top => 1"), period)).toEqual(exact.slice(0, 1));
  // The session that began in February continues in March, and counts in February.
  expect(await withFloor(database, 1, call(), [iso(Date.UTC(2026, 2, 1)), iso(Date.UTC(2026, 2, 2))])).toEqual([
    { pair: "ab", times: 2, people: 1, share: 2 / 3, seconds: 60 },
    { pair: "ac", times: 1, people: 1, share: 1 / 3, seconds: 60 },
    { pair: "ba", times: 1, people: 1, share: 1, seconds: 60 },
  ]);
  expect(await withFloor(database, 1, call(), [iso(Date.UTC(2025, 2, 1)), iso(Date.UTC(2025, 2, 2))])).toEqual([]);
});

test("the counts of items are those of sequences of two", async () => {
  await database.as("insights_admin", {}, async (db) => {
    const sequences = await db.rows(
      `select array_to_string(nodes, '') as pair, occurrence_count::int as times
       from analytics.sequences('2026-02-01', '2026-04-01', length => 2, among => 'counted')`,
    );
    expect(sequences).toEqual(
      (await db.rows<{ pair: string; times: number }>(call(), period)).map(({ pair, times }) => ({ pair, times })),
    );
  });
});

test("kinds, courses, wildcards and exclusions", async () => {
  expect(await withFloor(database, 1, call(", nodes => 'kind'"), period)).toEqual([
    { pair: "pagecourse", times: 3, people: 3, share: 1, seconds: 60 },
    { pair: "coursepage", times: 1, people: 1, share: 1, seconds: 60 },
  ]);
  expect(await withFloor(database, 1, call(", nodes => 'course'"), period)).toEqual([]);
  expect(await withFloor(database, 1, call(", wildcards => '{a,*}'"), period)).toMatchObject([
    { pair: "a*", times: 7, share: 1 },
    { pair: "*a", times: 2, share: 1 },
  ]);
  expect(await withFloor(database, 1, call(", exclusions => '{a}'"), period)).toMatchObject([{ pair: "bc", times: 2 }]);
});

test("of a set of people, from the sessions of the months", async () => {
  expect(await withFloor(database, 1, call(", among => 'counted'"), period)).toEqual(exact);
  expect(await withFloor(database, 3, call(", among => 'counted'"), period)).toEqual([
    { pair: "ab", times: 6, people: 3, share: 1, seconds: null },
  ]);
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "select track.set_person_set('pair', array(select person_id from track.identity where external_id in ('ben', 'cleo', 'browser')))",
    );
    const ofPair = [
      { pair: "ab", times: 2, people: 2, share: 2 / 3, seconds: 60 },
      { pair: "ac", times: 1, people: 1, share: 1 / 3, seconds: 60 },
      { pair: "bc", times: 1, people: 1, share: 1, seconds: 60 },
    ];
    expect(await db.rows(call(", among => 'pair'"), period)).toEqual(ofPair);
    expect(await db.rows(call(", among => 'pair', top => 1"), period)).toEqual(ofPair.slice(0, 1));
    expect(
      await db.rows(
        `select breakdown_value as value, source || target as pair, transition_count::int as times
         from analytics.transitions($1, $2, breakdown => 'set.pair', top => 2)`,
        period,
      ),
    ).toEqual([
      { value: "false", pair: "ab", times: 4 },
      { value: "false", pair: "ba", times: 1 },
      { value: "true", pair: "ab", times: 2 },
      { value: "true", pair: "ac", times: 1 },
    ]);
    // Months that remain as sums have no people.
    await db.query("update track.setting set oldest_event = '2026-03-01Z', sums_kept_before = '2026-03-01'");
    expect(await db.rows(call(), period)).toEqual(exact);
    expect(await db.rows(call(", among => 'pair'"), period)).toMatchObject([{ pair: "ac", times: 1 }]);
  });
});

test("analysts see transitions in the months in which enough people did them", async () => {
  // ab: 4 times by 3 people in February, twice by one in March.
  expect(await withFloor(database, 3, call(), period)).toEqual([
    { pair: "ab", times: 6, people: 3, share: 1, seconds: null },
  ]);
  expect(await withFloor(database, 4, call(), period)).toEqual([]);
});

test("a month that is queued is computed from its sessions until the refresh has recomputed it", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("insert into track.stale_transition_month values ('2026-02-01'), ('2020-01-01')");
    await db.query("delete from track.item_transition where month = '2026-02-01'");
    expect(await db.rows(call(), period)).toEqual(exact);
    expect(await db.rows("select step, people from track.refresh(step => 'track.transition')")).toEqual([
      { step: "track.transition", people: 3 },
    ]);
    expect(await db.rows(call(), period)).toEqual(exact);
    expect(await db.value("select count(*)::int from track.stale_transition_month")).toBe(1);
    // A month without sessions has nothing to recompute.
    expect(await db.rows("select step, people from track.refresh(step => 'track.transition')")).toEqual([]);
    expect(await db.value("select count(*)::int from track.stale_transition_month")).toBe(0);
  });
});

test("a billion transitions are a row", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "update track.item_transition set transition_count = 4000000000, elapsed = 4000000000 * 1800000000, person_count = 2000000000",
    );
    expect(
      await db.rows(
        `select source || target as pair, transition_count, person_months, mean_time::text
         from analytics.transitions($1, $2, top => 1)`,
        period,
      ),
    ).toEqual([{ pair: "ab", transition_count: "8000000000", person_months: "4000000000", mean_time: "00:30:00" }]);
    expect(
      await db.rows("select transition_count from analytics.transitions($1, $2, nodes => 'kind', top => 1)", period),
    ).toEqual([{ transition_count: "8000000000" }]);
  });
});

test("invalid arguments are errors", async () => {
  for (const [rest, code] of [
    [", top => 0", "CF001"],
    [", nodes => 'curse'", "CF001"],
    [", nodes => null", "CF001"],
    [", among => 'pilot'", "CF002"],
    [", breakdown => 'plan'", "CF001"],
    [`, wildcards => array_fill('x'::text, array[101])`, "CF008"],
  ] as const)
    expect(await database.rejects(call(rest), period)).toMatchObject({ code });
  expect(await database.rejects(call(), [period[1], period[0]])).toMatchObject({ code: "CF001" });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.transitions()")).toEqual(["analyst", "admin", "worker"]);
});
