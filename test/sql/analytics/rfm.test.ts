import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { type Message, message } from "../track/messages.ts";
import { daysAgo, happen } from "./people.ts";

const database = await testDatabase();
const random = generator(11);
const sent: Message[] = [];
for (let index = 0; index < 900; index++) {
  // Some people are far more active than others, and many have equal values.
  const person = Math.floor(random() ** 2 * 60);
  const at = Date.parse(daysAgo(1 + Math.floor(random() * (20 + person))));
  for (const minutes of [0, Math.floor(random() * 4)])
    sent.push(
      message({
        userId: `p${person}`,
        event: random() < 0.1 ? "Task Graded" : "Page Viewed",
        timestamp: new Date(at + minutes * 60_000 + Math.floor(random() * 50_000)).toISOString(),
        properties: { item: "page" },
      }),
    );
}
sent.push(
  ...[3, 4].map((day) =>
    message({ userId: undefined, anonymousId: `b${day}`, event: "Page Viewed", timestamp: daysAgo(day) }),
  ),
);
await happen(database, ...sent);
const since = daysAgo(45).slice(0, 10);
const until = daysAgo(2).slice(0, 10);

/** Scores by the definition: shares of people with a lower value. */
const oracle = `
  with day as (
    select person_id, (occurred_at at time zone 'UTC')::date as day
    from track.event join track.event_type using (event_type_id)
    where not is_automatic and occurred_at >= $1::date and occurred_at < $2::date
    group by 1, 2
  ),
  person as (
    select person_id, $2::date - 1 - max(day) as recency_days, count(*)::int as active_days,
      coalesce((select sum(engaged) from track.session where session.person_id = day.person_id and started_at >= $1::date
        and started_at < $2::date), '0') as engaged
    from day group by person_id
  ),
  scored as (
    select person.*,
      1 + floor(5 * (select count(*) from person as other where other.recency_days > person.recency_days) / (select count(*) from person)::numeric)::int as r,
      1 + floor(5 * (select count(*) from person as other where other.active_days < person.active_days) / (select count(*) from person)::numeric)::int as f,
      1 + floor(5 * (select count(*) from person as other where other.engaged < person.engaged) / (select count(*) from person)::numeric)::int as m
    from person
  )
  select person_id, recency_days, active_days, engaged::text as engaged, r as recency_score, f as frequency_score, m as engaged_score,
    case
      when r <= 2 then case when v <= 2 then 'hibernating' when v <= 4 then 'at_risk' else 'cannot_lose' end
      when r = 3 then case when v <= 2 then 'about_to_sleep' when v = 3 then 'need_attention' else 'loyal' end
      when r = 4 then case when v = 1 then 'promising' when v <= 3 then 'potential_loyal' else 'loyal' end
      else case when v = 1 then 'new' when v <= 3 then 'potential_loyal' else 'champions' end
    end as cell
  from scored cross join lateral (select ceil((f + m) / 2.0) as v) as value
  order by person_id`;
const scores = `select person_id, recency_days, active_days, engaged::text as engaged, recency_score, frequency_score, engaged_score, cell
  from analytics.person_rfm($1, $2)`;

test("people have the values and scores of the definition", async () => {
  const expected = await database.rows<{ cell: string }>(oracle, [since, until]);
  expect(await database.rows(scores, [since, until])).toEqual(expected);
  expect(new Set(expected.map(({ cell }) => cell)).size).toBeGreaterThan(4);
  expect(expected.length).toBeGreaterThan(40);
  // Recent events are counted before the refresh; their sessions follow.
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.ingest($1::jsonb)", [
      JSON.stringify([
        message({ userId: "late", timestamp: daysAgo(4) }),
        message({ userId: "p3", timestamp: daysAgo(44) }),
      ]),
    ]);
    expect(await db.rows(scores, [since, until])).toEqual(await db.rows(oracle, [since, until]));
  });
});

test("cells are the people of a cell, for admins and for analysts", async () => {
  const cells = (role: string) =>
    database.as(role, {}, (db) =>
      db.rows<{ cell: string; people: number; share: number; recency: number | null; days: number | null }>(
        `select cell, person_count::int as people, share, recency_days as recency, active_days as days
         from analytics.rfm($1, $2)`,
        [since, until],
      ),
    );
  const exact = await cells("insights_admin");
  const people = await database.rows<{ cell: string; recency_days: number; active_days: number }>(oracle, [
    since,
    until,
  ]);
  for (const { cell, people: count, share, recency, days } of exact) {
    const of = people.filter((one) => one.cell === cell);
    const mean = (value: (one: (typeof of)[number]) => number) =>
      of.reduce((sum, one) => sum + value(one), 0) / of.length;
    expect([cell, count]).toEqual([cell, of.length]);
    expect(share).toBeCloseTo(of.length / people.length, 12);
    expect(recency).toBeCloseTo(
      mean((one) => one.recency_days),
      9,
    );
    expect(days).toBeCloseTo(
      mean((one) => one.active_days),
      9,
    );
  }
  expect(exact.reduce((sum, { people: count }) => sum + count, 0)).toBe(people.length);

  // Two of the people are browsers that any client can invent; their scores are not even computed.
  const shown = await cells("insights_analyst");
  expect(shown.length).toBeGreaterThan(2);
  expect(shown.every(({ people: count }) => count >= 5 && count % 5 === 0)).toBe(true);
  await database.query("update analytics.setting set smallest_group = 50");
  expect(await cells("insights_analyst")).toEqual([]);
  await database.query("update analytics.setting set smallest_group = 5");
});

test("of a set of people, and of one cell", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "select track.set_person_set('cohort.few', array[track.find_person('p1'), track.find_person('p2')])",
    );
    expect(
      await db.value("select sum(person_count)::int from analytics.rfm($1, $2, 'cohort.few')", [since, until]),
    ).toBe(2);
    expect(
      await db.value("select sum(person_count)::int from analytics.rfm($1, $2, 'counted & ~cohort.few')", [
        since,
        until,
      ]),
    ).toBe((await db.rows(scores, [since, until])).length - 4);
    const all = await db.rows<{ cell: string }>(scores, [since, until]);
    expect(await db.rows(`${scores.slice(0, -1)}, cell => 'loyal')`, [since, until])).toEqual(
      all.filter(({ cell }) => cell === "loyal"),
    );
  });
});

test("nobody active, and bad input", async () => {
  expect(await database.rows("select * from analytics.rfm('2001-01-01', '2001-02-01')")).toEqual([]);
  for (const [call, code] of [
    ["rfm(now(), now() - interval '1 day')", "CF001"],
    ["rfm(null)", "CF001"],
    ["rfm('-infinity', 'infinity')", "CF008"],
    ["rfm(now() - interval '4 years')", "CF008"],
    ["rfm(among => 'segment.powr')", "CF002"],
    ["rfm(among => 'a or b')", "CF001"],
    ["person_rfm(cell => 'champion')", "CF002"],
  ])
    expect(await database.rejects(`select * from analytics.${call}`), call).toMatchObject({ code });
});

test("cells are for analysts, people for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.rfm()")).toEqual(["analyst", "admin", "worker"]);
  expect(await rolesThatMay(database, "select * from analytics.person_rfm()")).toEqual(["admin", "worker"]);
});
