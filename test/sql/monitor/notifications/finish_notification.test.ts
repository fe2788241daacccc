import { beforeEach, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { finish, makeChannel, pass, type Sendable, take, transition } from "./channels.ts";

const database = await testDatabase();

beforeEach(async () => {
  await database.query("truncate monitor.channel, monitor.alert cascade");
  await makeChannel(database, "ops");
  await transition(database, "a", "opened");
});

const one = async (): Promise<Sendable> => {
  const [taken] = await take(database);
  if (taken === undefined) throw new Error("there is no notification to take");
  return taken;
};
const stored = async (): Promise<Record<string, unknown> | undefined> =>
  (
    await database.rows(
      `select state, attempts, status_code, notification.last_error, channel.failures,
         channel.failing_since is not null as failing
       from monitor.notification join monitor.channel using (channel)`,
    )
  )[0];

test("an hour of the status 500, then a delivery: tried about once every ten minutes, delivered once", async () => {
  let attempts = 0;
  for (let minute = 0; minute < 60; minute += 1) {
    for (const taken of await take(database)) {
      attempts += 1;
      expect(await finish(database, taken, "status 500", 500)).toBe("waiting");
    }
    await pass(database, "1 minute");
  }
  // 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 minutes, less or more by a quarter, at full minutes.
  expect(attempts).toBeGreaterThanOrEqual(6);
  expect(attempts).toBeLessThanOrEqual(9);
  expect(await stored()).toMatchObject({ state: "waiting", status_code: 500, last_error: "status 500", failing: true });
  await pass(database, "7 hours");
  expect(await finish(database, await one(), null, 204)).toBe("delivered");
  expect(await stored()).toEqual({
    state: "delivered",
    attempts: attempts + 1,
    status_code: 204,
    last_error: null,
    failures: 0,
    failing: false,
  });
  await pass(database, "10 days");
  expect(await take(database)).toEqual([]);
});

test("a receiver that fails gets one attempt every ten minutes, however many notifications wait", async () => {
  for (let n = 0; n < 40; n += 1) await transition(database, `b ${n}`, "opened");
  for (let failures = 0; failures < 8; failures += 1) {
    for (const taken of await take(database)) await finish(database, taken, "status 500", 500);
    await pass(database, "1 hour");
  }
  let attempts = 0;
  for (let minute = 0; minute < 60; minute += 1) {
    for (const taken of await take(database)) {
      attempts += 1;
      await finish(database, taken, "status 500", 500);
    }
    await pass(database, "1 minute");
  }
  // Every 7.5 to 12.5 minutes, at full minutes.
  expect(attempts).toBeGreaterThanOrEqual(5);
  expect(attempts).toBeLessThanOrEqual(8);
});

test("three days of failures: then it fails permanently, after a bounded number of attempts", async () => {
  let attempts = 0;
  for (let quarter = 0; quarter < 4 * 80; quarter += 1) {
    for (const taken of await take(database)) {
      attempts += 1;
      await finish(database, taken, "no answer within 10 s");
    }
    await pass(database, "15 minutes");
  }
  expect(await stored()).toMatchObject({ state: "failed", last_error: "no answer within 10 s" });
  expect(attempts).toBeGreaterThan(10);
  expect(attempts).toBeLessThan(30);
});

test("the waiting times differ, so that channels do not retry together", async () => {
  const times = await database.rows<{ seconds: number }>(
    `select extract(epoch from monitor._backoff(n, '6 hours'))::float8 as seconds
     from generate_series(1, 40) as n, generate_series(1, 20) order by n`,
  );
  for (const [index, { seconds }] of times.entries()) {
    const middle = Math.min(30 * 2 ** Math.floor(index / 20), 21_600);
    expect(seconds).toBeGreaterThanOrEqual(middle * 0.75 - 0.001);
    expect(seconds).toBeLessThanOrEqual(middle * 1.25 + 0.001);
  }
  expect(new Set(times.map(({ seconds }) => seconds)).size).toBeGreaterThan(700);
});

test("Retry-After is respected, up to six hours", async () => {
  const wait = () =>
    database.value<number>(
      "select extract(epoch from next_attempt_at - clock_timestamp())::int from monitor.notification",
    );
  await finish(database, await one(), "status 429", 429, 3600);
  expect(Math.abs((await wait()) - 3600)).toBeLessThan(60);
  await pass(database, "2 hours");
  await finish(database, await one(), "status 429", 429, 2_147_483_647);
  expect(Math.abs((await wait()) - 21_600)).toBeLessThan(60);
  await pass(database, "7 hours");
  await finish(database, await one(), "status 429", 429, -5);
  expect(await wait()).toBeLessThan(200);
});

test("410: the receiver does not exist any more, it is not tried again", async () => {
  expect(await finish(database, await one(), "status 410", 410)).toBe("failed");
  await pass(database, "1 day");
  expect(await take(database)).toEqual([]);
});

test("the result of an attempt that took too long: a success counts, a failure does not", async () => {
  const first = await one();
  await pass(database, "3 minutes");
  const second = await one();
  expect(second).toMatchObject({ message_id: first.message_id, attempt: 2 });
  expect(await finish(database, first, "no answer within 10 s")).toBe("sending");
  expect(await stored()).toMatchObject({ attempts: 2, failures: 0 });
  expect(await finish(database, first, null, 200)).toBe("delivered");
  expect(await finish(database, second, "status 409", 409)).toBe("delivered");
  expect(await finish(database, second, null, 200)).toBe("delivered");
  expect(await stored()).toMatchObject({ state: "delivered", status_code: 200, failures: 0 });
});

test("what a receiver answered is bounded", async () => {
  await finish(database, await one(), "x".repeat(100_000), 99_999);
  expect(await stored()).toMatchObject({ last_error: "x".repeat(300), status_code: null });
});

test("an unknown notification, and null", async () => {
  expect(await database.value("select monitor.finish_notification(0, 1)")).toBeNull();
  expect(await database.value("select monitor.finish_notification(null, null, null)")).toBeNull();
});

test("monitor.health names a channel that fails, and notifications that were not delivered", async () => {
  const found = () =>
    database.rows("select subject, severity, message from monitor._check_notifications() order by subject");
  expect(await found()).toEqual([]);
  await pass(database, "16 minutes");
  expect(await found()).toEqual([
    {
      subject: "ops: waiting",
      severity: "warning",
      message: "a notification to the channel ops has waited for 16 minutes",
    },
  ]);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await finish(database, await one(), "status 503", 503);
    await pass(database, "1 hour");
  }
  expect(await found()).toEqual([
    {
      subject: "ops",
      severity: "warning",
      message: "the channel ops has not taken a notification for 3 hours: status 503",
    },
  ]);
  await finish(database, await one(), "status 410", 410);
  expect(await found()).toMatchObject([{ subject: "ops" }, { subject: "ops: undelivered" }]);
});
