import { beforeEach, describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { makeChannel, take, transition } from "./channels.ts";

const database = await testDatabase();

beforeEach(async () => {
  await database.query("truncate monitor.channel, monitor.alert cascade");
});

test("a new channel has a secret of 256 bits that is returned once, and a changed one keeps it", async () => {
  const secret = await makeChannel(database, "ops");
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(Buffer.from(secret.slice(6), "base64")).toHaveLength(32);
  expect(await makeChannel(database, "ops", { url: "http://10.0.0.7:9000/x?y=z" })).toBeNull();
  expect(await makeChannel(database, "more")).not.toBe(secret);
  expect(
    await database.rows(
      "select channel, kind, address, owners, least_severity, is_active from monitor.channel order by 1",
    ),
  ).toMatchObject([
    { channel: "more", address: "https://receiver.example" },
    { channel: "ops", kind: "webhook", address: "http://10.0.0.7:9000", owners: null, least_severity: "warning" },
  ]);
});

describe("which channels are notified", () => {
  const types = async (): Promise<string[]> =>
    (
      await database.rows<{ sent: string }>(
        `select channel || ' ' || (body::jsonb ->> 'type') as sent from monitor.notification order by notification_id, channel`,
      )
    )
      .map(({ sent }) => sent)
      .sort();

  test("those of the owner and the severity; the end is for those that know of the alert", async () => {
    await makeChannel(database, "everything");
    await makeChannel(database, "critical", { least: "critical" });
    await makeChannel(database, "privacy", { owners: ["privacy", "legal"] });
    await transition(database, "a", "opened");
    expect(await types()).toEqual(["everything alert.opened"]);
    await transition(database, "a", "raised", { severity: "critical" });
    await transition(database, "a", "acknowledged", { severity: "critical" });
    await transition(database, "a", "resolved", { severity: "critical", owner: "privacy" });
    expect(await types()).toEqual([
      "critical alert.raised",
      "critical alert.resolved",
      "everything alert.opened",
      "everything alert.raised",
      "everything alert.resolved",
      "privacy alert.resolved",
    ]);
  });

  test("an inactive channel, and one that is created later, get nothing", async () => {
    await database.query("select monitor.set_channel('idle', 'https://idle.example/', is_active => false)");
    await transition(database, "a", "opened");
    await makeChannel(database, "late");
    expect(await types()).toEqual([]);
  });

  test("a transition that is rolled back notifies nobody", async () => {
    await makeChannel(database, "ops");
    await database.as("postgres", {}, async (db) => {
      await db.query(
        `insert into monitor.alert (source, subject, owner, severity, message, fix, opened_at, changed_at, seen_at)
         values ('queue', 'a', 'operator', 'warning', 'm', 'f', now(), now(), now())`,
      );
      await db.query("select monitor._log_transition(alert, 'opened') from monitor.alert");
      expect(await db.value("select count(*)::int from monitor.notification")).toBe(1);
    });
    expect(await types()).toEqual([]);
  });

  test("the body describes the alert", async () => {
    await makeChannel(database, "ops");
    const alert = await transition(database, 'a "quoted" €', "opened");
    const [taken] = await take(database);
    expect(JSON.parse(taken?.body ?? "")).toEqual({
      type: "alert.opened",
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      data: {
        alert_id: alert,
        alert_event_id: expect.any(Number),
        source: "queue",
        subject: 'a "quoted" €',
        owner: "operator",
        severity: "warning",
        state: "open",
        message: "jobs wait",
        fix: "Start a worker.",
        value: null,
        threshold: null,
        opened_at: expect.stringMatching(/Z$/),
      },
    });
  });
});

describe("secrets", () => {
  test("no role reads a secret or a URL, in a table or by a function of the API", async () => {
    const secret = await makeChannel(database, "ops");
    const hex = Buffer.from(secret.slice(6), "base64").toString("hex");
    for (const role of [
      "insights_visitor",
      "insights_learner",
      "insights_instructor",
      "insights_analyst",
      "insights_admin",
      "insights_worker",
      "insights_reader",
    ]) {
      await database.as(role, {}, async (db) => {
        for (const table of ["channel_secret", "channel_url"]) {
          await db.query("savepoint before");
          expect(await db.rejects(`select * from monitor.${table}`)).toMatchObject({ code: "42501" });
          await db.query("rollback to before");
        }
      });
    }
    await database.as("insights_admin", {}, async (db) => {
      const shown = JSON.stringify(await db.rows("select * from monitor.channel, monitor.notification"));
      expect(shown).not.toContain("k3y");
      expect(shown).not.toContain(hex);
    });
    // Analysts read neither channels nor notifications.
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.rejects("select * from monitor.channel")).toMatchObject({ code: "42501" });
    });
    // The worker gets the signature only.
    await transition(database, "a", "opened");
    await database.as("insights_worker", {}, async (db) => {
      const taken = JSON.stringify(await db.rows("select * from monitor.take_notifications()"));
      expect(taken).toContain("v1,");
      expect(taken).not.toContain(secret.slice(6));
      expect(taken).not.toContain(hex);
    });
  });

  test("an error does not quote the URL", async () => {
    const error = await database.rejects("select monitor.set_channel('ops', 'https://user:s3cret@receiver.example/')");
    expect(JSON.stringify({ ...error, message: error.message })).not.toContain("s3cret");
    expect(error).toMatchObject({ code: "CF001" });
  });
});

describe("bad input", () => {
  test.each([
    null,
    "",
    "receiver.example",
    "ftp://receiver.example/",
    "https://",
    "https:///path",
    "https://user@receiver.example/",
    "https://receiver.example/#x",
    "https://receiver.example/a b",
    "https://receiver.example/\n",
    "https://receiver.example\\@evil.example/",
    "https://receiver.example:port/",
    "https://[::1/",
    "HTTPS://receiver.example/",
    "javascript:alert(1)",
  ])("the URL %j is refused", async (url) => {
    expect(await database.rejects("select monitor.set_channel('ops', $1)", [url])).toMatchObject({
      code: "CF001",
      message: "url is not the URL of a webhook",
    });
  });

  test.each([
    ["Ops", null, "warning", "CF001"],
    ["", null, "warning", "CF001"],
    ["a".repeat(64), null, "warning", "CF001"],
    [null, null, "warning", "CF001"],
    ["ops", [], "warning", "CF001"],
    ["ops", [["a"], ["b"]], "warning", "CF001"],
    ["ops", ["Not a name"], "warning", "CF001"],
    ["ops", [null], "warning", "CF001"],
    ["ops", Array.from({ length: 21 }, () => "a"), "warning", "CF001"],
    ["ops", null, "fatal", "CF001"],
    ["ops", null, null, "CF001"],
  ])("set_channel(%j, owners %j, %j) is refused", async (channel, owners, least, code) => {
    expect(
      await database.rejects("select monitor.set_channel($1, 'https://receiver.example/', $2, $3)", [
        channel,
        owners,
        least,
      ]),
    ).toMatchObject({ code });
  });

  test("a URL of 2,001 characters is too long, one of 2,000 is not; international names are accepted", async () => {
    const url = (length: number): string => "https://receiver.example/".padEnd(length, "a");
    expect(await database.rejects("select monitor.set_channel('ops', $1)", [url(2001)])).toMatchObject({
      code: "CF008",
    });
    await makeChannel(database, "ops", { url: url(2000) });
    await makeChannel(database, "ops", { url: "https://bücher.example:8443/hook?a=b&c=%20" });
    await makeChannel(database, "ops", { url: "http://[fd00::7]:9000" });
  });
});
