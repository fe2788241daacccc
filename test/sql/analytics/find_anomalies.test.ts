import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { DAY, iso } from "./doings.ts";

const database = await testDatabase();
const random = generator(3);
const today = Math.floor(Date.now() / DAY) * DAY;
/** The events of each of the sixty days before today; yesterday has none. */
const counts = Array.from({ length: 60 }, (_, day) => (day === 59 ? 0 : 20 + Math.floor(random() * 6)));
const messages = (day: number, count: number, prefix = "") =>
  Array.from({ length: count }, (_, number) => ({
    type: "track",
    event: "Task Submitted",
    messageId: `${prefix}${day} ${number}`,
    userId: `p${number}`,
    timestamp: iso(today - (60 - day) * DAY + number * 60_000),
  }));
await ingest(
  database,
  counts.flatMap((count, day) => messages(day, count)),
);
await refresh(database);
await database.as("insights_admin", {}, async (db) => {
  await db.query("select analytics.watch_trend('submissions', 'Task Submitted')");
  await db.query("select analytics.watch_trend('more-submissions', 'Task Submitted', direction => 'above')");
  await db.query("commit");
});

const find = (name: string) =>
  database.as("insights_worker", {}, async (db) => {
    const rows = await db.rows<{ day: number; figure: number; score: number }>(
      `select round(extract(epoch from bucket_start - $2::timestamptz) / 86400)::int as day, figure, score
       from analytics.find_anomalies($1)`,
      [name, iso(today)],
    );
    await db.query("commit");
    return rows;
  });

const findings = () =>
  database.rows<{ subject: string; message: string; fix: string; value: number }>(
    "select subject, message, fix, value from monitor._check_anomalies() order by subject",
  );

test("the day without events is found, in its direction only, and is a finding without figures", async () => {
  expect(await findings()).toEqual([]);
  const found = await find("submissions");
  expect(found).toMatchObject([{ day: -1, figure: 0 }]);
  expect(await find("more-submissions")).toEqual([]);
  const score = Math.round(found[0]?.score ?? 0);
  expect(score).toBeLessThan(-3);
  const [finding, ...rest] = await findings();
  expect(rest).toEqual([]);
  expect(finding).toMatchObject({ subject: "submissions", value: score });
  expect(finding?.message).toBe(
    `events of "Task Submitted" in the day from ${iso(today - DAY).slice(0, 10)} 00:00 (UTC) are far below what the past predicts: score ${score}`,
  );
});

test("the statement of the finding runs as it stands, for the analysts who own the alert", async () => {
  const [finding] = await findings();
  const statement = /select \* from analytics\.anomalies\(.*?\)(?=\. )/.exec(finding?.fix ?? "")?.[0];
  const rows = await database.as("insights_analyst", {}, (db) => db.rows(statement ?? ""));
  expect(rows.length).toBeGreaterThan(10);
});

test("the alert opens in the next watch, and has an owner", async () => {
  await database.as("insights_worker", {}, async (db) => {
    await db.query("select monitor.watch()");
    await db.query("set local role insights_admin");
    expect(await db.rows("select owner, state, severity from monitor.alert where source = 'anomalies'")).toEqual([
      { owner: "analyst", state: "open", severity: "warning" },
    ]);
  });
});

test("events that arrive late end it", async () => {
  await ingest(database, messages(59, 22, "late "));
  await refresh(database);
  expect(await find("submissions")).toEqual([]);
  expect(await findings()).toEqual([]);
});

test("an anomaly of days ago is stored, and is not a finding", async () => {
  await ingest(database, messages(57, 200, "many "));
  await refresh(database);
  expect(await find("submissions")).toMatchObject([{ day: -3 }]);
  expect(await find("more-submissions")).toMatchObject([{ day: -3 }]);
  expect(await findings()).toEqual([]);
});

test("of two workers, the second waits and finds the same", async ({ skip }) => {
  if (!database.native) skip("the embedded database has one session");
  const results = await Promise.all([find("submissions"), find("submissions"), find("submissions")]);
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test("a name that does not exist is an error", async () => {
  expect(await database.rejects("select analytics.find_anomalies('nothing')")).toMatchObject({
    code: "CF002",
    message: 'no trend "nothing" is watched',
  });
});

test("is for admins and workers, and only they see the figures", async () => {
  expect(await rolesThatMay(database, "select analytics.find_anomalies('submissions')")).toEqual(["admin", "worker"]);
  expect(await rolesThatMay(database, "select * from analytics.trend_anomaly")).toEqual(["admin", "worker"]);
});
