import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { testCheck } from "./problems.ts";

const database = await testDatabase();
const { exist, watch, pass, settle, alert, history } = await testCheck(database);

test("a problem has one alert as long as it lasts, and is resolved when it has been absent for five minutes", async () => {
  await exist([{ subject: "a" }]);
  expect(await watch()).toEqual({ findings: 1, opened: 1, open: 1 });
  for (let run = 0; run < 3; run++) expect(await watch()).toEqual({ findings: 1, open: 1 });
  expect(
    await database.rows(
      "select source, subject, owner, severity, state, message, fix, value, times_seen from monitor.alert",
    ),
  ).toEqual([
    {
      source: "of_a_test",
      subject: "a",
      owner: "team-a",
      severity: "warning",
      state: "open",
      message: "a is broken",
      fix: "Repair it.",
      value: 1,
      times_seen: "4",
    },
  ]);

  await exist([]);
  // Healthy, but not for long.
  for (let run = 0; run < 3; run++) expect(await watch()).toEqual({ open: 1 });
  await pass("4 minutes 55 seconds");
  expect(await watch()).toEqual({ open: 1 });
  await pass("10 seconds");
  expect(await watch()).toEqual({ resolved: 1 });
  expect(await watch()).toEqual({});
  expect(await history("a")).toEqual(["opened*", "resolved*"]);
});

test("a problem that comes and goes keeps its alert, and notifies half as often each time", async () => {
  await exist([{ subject: "flapping" }]);
  await watch();
  // Within the five minutes there is no transition.
  for (let time = 0; time < 5; time++) {
    await exist([]);
    await watch();
    await pass("2 minutes");
    await watch();
    await exist([{ subject: "flapping" }]);
    await watch();
  }
  expect(await history("flapping")).toEqual(["opened*"]);

  // Absent for six minutes each time, for ten hours.
  for (let time = 0; time < 100; time++) {
    await exist([]);
    await settle();
    await exist([{ subject: "flapping" }]);
    await watch();
  }
  expect(await history("flapping")).toEqual(["opened*", "resolved*", "reopened*"]);
  expect(await database.value("select count(*)::int from monitor.alert where subject = 'flapping'")).toBe(1);

  // It must be absent for ten minutes now, and for twenty the next time.
  await exist([]);
  await settle();
  await pass("4 minutes");
  expect(await watch()).toEqual({ resolved: 1 });
  await exist([{ subject: "flapping" }]);
  expect(await watch()).toEqual({ findings: 1, reopened: 1, open: 1 });
  await exist([]);
  await settle();
  await pass("13 minutes");
  expect(await watch()).toEqual({ open: 1 });
  await pass("2 minutes");
  expect(await watch()).toEqual({ resolved: 1 });

  // After a day it is another alert.
  await pass("1 day 1 minute");
  await exist([{ subject: "flapping" }]);
  expect(await watch()).toEqual({ findings: 1, opened: 1, open: 1 });
  await exist([]);
  await settle();
});

test("the severity rises once, and what was acknowledged is open again", async () => {
  await exist([{ subject: "worse" }]);
  await watch();
  await database.query("select monitor.acknowledge($1)", [(await alert("worse"))?.alert_id]);
  expect(await alert("worse")).toMatchObject({ state: "acknowledged" });
  await watch();
  expect(await alert("worse")).toMatchObject({ state: "acknowledged" });
  for (let time = 0; time < 3; time++) {
    await exist([{ subject: "worse", severity: "critical" }]);
    await watch();
    expect(await alert("worse")).toMatchObject({ state: "open", severity: "critical" });
    await exist([{ subject: "worse" }]);
    await watch();
  }
  // It does not fall before it is resolved, or it would rise again and again.
  expect(await alert("worse")).toMatchObject({ state: "open", severity: "critical" });
  expect(await history("worse")).toEqual(["opened*", "acknowledged", "raised*"]);
  await exist([]);
  await settle();
  await exist([{ subject: "worse" }]);
  await watch();
  expect(await alert("worse")).toMatchObject({ state: "open", severity: "warning" });
  await exist([]);
  await settle();
  await pass("1 hour");
  await watch();
});

test("a check that fails leaves its alerts as they are, and is an alert itself", async () => {
  await exist([{ subject: "hidden" }]);
  await watch();
  await exist(null);
  expect(await watch()).toEqual({ findings: 1, opened: 1, open: 2 });
  await settle();
  await pass("1 hour");
  expect(await watch()).toEqual({ findings: 1, open: 2 });
  expect(await alert("hidden")).toMatchObject({ state: "open" });
  await exist([]);
  await settle();
  expect(await alert("hidden")).toMatchObject({ state: "resolved" });
  expect(await alert("the check itself")).toMatchObject({ state: "resolved" });
});

test("a check that no longer exists resolves its alerts", async () => {
  await database.query(`
    insert into monitor.alert (source, subject, owner, severity, message, fix, opened_at, changed_at, seen_at)
    values ('of_an_earlier_version', '', 'operator', 'warning', 'old', 'none', now(), now(), now())`);
  await settle();
  expect(await database.value("select state from monitor.alert where source = 'of_an_earlier_version'")).toBe(
    "resolved",
  );
});

test("a clock that jumps ahead resolves nothing by itself, one that jumps back delays nothing forever", async () => {
  await exist([{ subject: "clock" }]);
  await watch();
  await exist([]);
  await watch();
  // An hour ahead.
  await pass("1 hour");
  expect(await watch()).toEqual({ open: 1 });
  // The problem is found again, and is the same alert.
  await exist([{ subject: "clock" }]);
  expect(await watch()).toEqual({ findings: 1, open: 1 });
  await exist([]);
  await watch();
  // Ten years back: all times are of the future.
  await pass("-10 years");
  expect(await watch()).toEqual({ open: 1 });
  await settle();
  expect(await alert("clock")).toMatchObject({ state: "resolved" });
  await exist([{ subject: "clock" }]);
  expect(await watch()).toEqual({ findings: 1, reopened: 1, open: 1 });
  expect(await history("clock")).toEqual(["opened*", "resolved*", "reopened*"]);
  await exist([]);
  await settle();
  await pass("1 hour");
  await watch();
});

test("two workers at once open one alert: the second does nothing and does not wait", async ({ skip }) => {
  if (!database.native) skip("the embedded database has one session");
  await exist([{ subject: "two" }]);
  const workers = await Promise.all([database.pool.connect(), database.pool.connect()]);
  try {
    const [first, second] = workers;
    await first.query("begin");
    expect((await first.query("select is_skipped, opened from monitor.watch()")).rows).toEqual([
      { is_skipped: false, opened: 1 },
    ]);
    expect((await second.query("select is_skipped, findings from monitor.watch()")).rows).toEqual([
      { is_skipped: true, findings: 0 },
    ]);
    await first.query("commit");
    expect((await second.query("select is_skipped, opened, open from monitor.watch()")).rows).toEqual([
      { is_skipped: false, opened: 0, open: 1 },
    ]);
    // A crowd.
    await exist([{ subject: "two" }, { subject: "crowd" }]);
    await Promise.all(Array.from({ length: 20 }, () => database.query("select monitor.watch()")));
  } finally {
    for (const worker of workers) worker.release();
  }
  expect(await history("two")).toEqual(["opened*"]);
  expect(await history("crowd")).toEqual(["opened*"]);
  await exist([]);
  await settle();
});

test("a worker that is killed in a watch leaves nothing: the next one opens and notifies", async () => {
  await exist([{ subject: "killed" }]);
  const client = await database.pool.connect();
  await client.query("begin; select monitor.watch()");
  await client.query("rollback");
  client.release();
  expect(await history("killed")).toEqual([]);
  expect(await watch()).toEqual({ findings: 1, opened: 1, open: 1 });
  await exist([]);
  await settle();
});

test("a subject and a message of any length are cut", async () => {
  await exist([{ subject: "x".repeat(10_000) }]);
  expect(await watch()).toEqual({ findings: 1, opened: 1, open: 1 });
  expect(await watch()).toEqual({ findings: 1, open: 1 });
  expect(
    await database.value("select length(subject) || ' ' || length(message) from monitor.alert where state = 'open'"),
  ).toBe("300 2000");
  await exist([]);
  await settle();
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.watch()")).toEqual(["worker"]);
});
