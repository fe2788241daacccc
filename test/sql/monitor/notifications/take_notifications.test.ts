import { createHmac } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { finish, makeChannel, pass, take, transition } from "./channels.ts";

const database = await testDatabase();

beforeEach(async () => {
  await database.query("truncate monitor.channel, monitor.alert cascade");
});

/** The signature of Standard Webhooks, by the crypto module of Node. */
const signed = (secret: string, id: string, sentAt: string, body: string): string =>
  `v1,${createHmac("sha256", Buffer.from(secret.replace(/^whsec_/, ""), "base64"))
    .update(`${id}.${sentAt}.${body}`)
    .digest("base64")}`;

describe("the signature", () => {
  test("is that of the test vector of Standard Webhooks", async () => {
    expect(
      await database.value(
        `select monitor._sign(
           'msg_p5jXN8AQM9LWM0D4loKWxJek', '1614265330', '{"test": 2432232314}',
           array[decode('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64')]
         )`,
      ),
    ).toBe("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  });

  test("HMAC-SHA256 is that of RFC 4231 and of Node, for keys of any length", async () => {
    const key = Buffer.alloc(131, 0xaa);
    expect(
      await database.value("select encode(monitor._hmac_sha256($1, $2), 'hex')", [
        Buffer.from("Test Using Larger Than Block-Size Key - Hash Key First"),
        key,
      ]),
    ).toBe("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    for (const length of [0, 1, 24, 32, 63, 64, 65, 200]) {
      const bytes = Buffer.from(Array.from({ length }, (_, index) => (index * 37 + length) % 256));
      const content = Buffer.from("é\u0000€".repeat(length));
      expect(await database.value("select monitor._hmac_sha256($1, $2)", [content, bytes])).toEqual(
        createHmac("sha256", bytes).update(content).digest(),
      );
    }
  });

  test("of a taken notification is valid for its id, time and body", async () => {
    const secret = await makeChannel(database, "ops");
    await transition(database, "é€😀", "opened");
    const [taken] = await take(database);
    expect(taken?.signature).toBe(signed(secret, taken?.message_id ?? "", taken?.sent_at ?? "", taken?.body ?? ""));
    expect(Math.abs(Number(taken?.sent_at) - Date.now() / 1000)).toBeLessThan(600);
    expect(taken).toMatchObject({ attempt: 1, channel: "ops", url: "https://receiver.example/hook/k3y" });
  });

  test("both secrets sign during a rotation, then the new one", async () => {
    const first = await makeChannel(database, "ops");
    await pass(database, "1 hour");
    const second = await database.value<string>("select monitor.rotate_channel_secret('ops', '1 day')");
    await transition(database, "a", "opened");
    const [during] = await take(database);
    const sign = (
      secret: string,
      { message_id, sent_at, body } = during ?? { message_id: "", sent_at: "", body: "" },
    ) => signed(secret, message_id, sent_at, body);
    expect(during?.signature).toBe(`${sign(second)} ${sign(first)}`);
    await pass(database, "25 hours");
    const [later] = await take(database);
    expect(later?.message_id).toBe(during?.message_id);
    expect(later?.signature).toBe(sign(second, later));
  });
});

describe("a lease", () => {
  test("a notification is taken once, and again with the same id when the attempt has no result", async () => {
    await makeChannel(database, "ops");
    await transition(database, "a", "opened");
    const [first] = await take(database);
    expect(await take(database)).toEqual([]);
    expect(await database.value("select monitor.has_notifications()")).toBe(false);
    await pass(database, "119 seconds");
    expect(await take(database)).toEqual([]);
    await pass(database, "2 seconds");
    expect(await database.value("select monitor.has_notifications()")).toBe(true);
    const [second] = await take(database);
    expect(second).toMatchObject({ message_id: first?.message_id, body: first?.body, attempt: 2 });
  });

  test("the clock was ahead: what it stored is not waited for", async () => {
    await makeChannel(database, "ops");
    await transition(database, "a", "opened");
    const [taken] = await take(database);
    await pass(database, "-3 days");
    expect((await take(database))[0]).toMatchObject({ message_id: taken?.message_id, attempt: 2 });
    const [again] = await database.rows<{ attempt: number; notification_id: string }>(
      "select attempts as attempt, notification_id from monitor.notification",
    );
    await database.query("select monitor.finish_notification($1, $2, 'status 500')", [
      again?.notification_id,
      again?.attempt,
    ]);
    await pass(database, "-3 days");
    expect(await take(database)).toHaveLength(1);
  });

  test.skipIf(!database.native)("two workers never take the same one", async () => {
    await makeChannel(database, "ops");
    await makeChannel(database, "more");
    for (let index = 0; index < 40; index += 1) await transition(database, `s${index}`, "opened");
    const ids: string[] = [];
    const worker = async (): Promise<void> => {
      for (;;) {
        const taken = await take(database, 3);
        if (taken.length === 0) return;
        ids.push(...taken.map(({ message_id }) => message_id));
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
    expect(new Set(ids).size).toBe(ids.length);
    // A worker that found the rows of the others locked ended early.
    ids.push(...(await take(database, 100)).map(({ message_id }) => message_id));
    expect(new Set(ids).size).toBe(80);
  });
});

describe("the order", () => {
  test("of an alert, a channel gets one notification at a time; other channels and alerts do not wait", async () => {
    await makeChannel(database, "ops");
    await makeChannel(database, "more");
    await transition(database, "a", "opened");
    await transition(database, "a", "raised", { severity: "critical" });
    await transition(database, "a", "resolved", { severity: "critical" });
    await transition(database, "b", "opened");
    const types = async () =>
      (await take(database)).map((taken) => ({ ...taken, type: (JSON.parse(taken.body) as { type: string }).type }));
    const first = await types();
    expect(first.map(({ channel, type }) => `${channel} ${type}`).sort()).toEqual([
      "more alert.opened",
      "more alert.opened",
      "ops alert.opened",
      "ops alert.opened",
    ]);
    expect(await types()).toEqual([]);
    for (const taken of first.filter(({ channel }) => channel === "ops")) await finish(database, taken);
    const second = await types();
    expect(second.map(({ channel, type }) => `${channel} ${type}`)).toEqual(["ops alert.raised"]);
    for (const taken of second) await finish(database, taken);
    expect((await types()).map(({ type }) => type)).toEqual(["alert.resolved"]);
  });

  test("10,000 notifications of a channel that fails wait behind one attempt at a time, then all are sent", async () => {
    await makeChannel(database, "ops");
    await database.query(
      `insert into monitor.notification (channel, message_id, body)
       select 'ops', 'msg_' || lpad(to_hex(n), 32, '0'), '{}' from generate_series(1, 10000) as n`,
    );
    const failing = await take(database, 100);
    expect(failing).toHaveLength(50);
    for (const taken of failing) await finish(database, taken, "status 500", 500);
    expect(await take(database, 100)).toEqual([]);
    await pass(database, "1 hour");
    const probes = await take(database, 100);
    expect(probes).toHaveLength(1);
    for (const taken of probes) await finish(database, taken, "status 500", 500);
    expect(await take(database, 100)).toEqual([]);
    await pass(database, "1 hour");
    for (const taken of await take(database, 100)) expect(await finish(database, taken)).toBe("delivered");
    expect(await take(database, 100)).toHaveLength(50);
  });
});

describe("notifications that cannot be sent", () => {
  test("fail after three days, also when no attempt was made", async () => {
    await makeChannel(database, "ops");
    await database.query("select monitor.set_channel('idle', 'https://idle.example/')");
    await transition(database, "a", "opened");
    await database.query("select monitor.set_channel('idle', 'https://idle.example/', is_active => false)");
    const [taken] = await take(database);
    expect(taken?.channel).toBe("ops");
    await pass(database, "71 hours");
    await take(database);
    expect(await database.value("select count(*)::int from monitor.notification where finished_at is null")).toBe(2);
    await pass(database, "2 hours");
    expect(await database.value("select monitor.has_notifications()")).toBe(true);
    expect(await take(database)).toEqual([]);
    expect(await database.rows("select channel, state, last_error from monitor.notification order by channel")).toEqual(
      [
        { channel: "idle", state: "failed", last_error: "not sent within 3 days" },
        { channel: "ops", state: "failed", last_error: "not sent within 3 days" },
      ],
    );
    expect(await database.value("select monitor.has_notifications()")).toBe(false);
  });

  test("a channel that is changed meanwhile gets them at its new URL, a removed one gets none", async () => {
    await makeChannel(database, "ops");
    await makeChannel(database, "gone");
    await transition(database, "a", "opened");
    const taken = await take(database);
    await makeChannel(database, "ops", { url: "https://new.example/" });
    await database.query("select monitor.drop_channel('gone')");
    const results = [];
    for (const one of taken) results.push([one.channel, await finish(database, one, "no answer within 10 s")]);
    expect(Object.fromEntries(results)).toEqual({ ops: "waiting", gone: null });
    await pass(database, "1 hour");
    expect((await take(database)).map(({ url, attempt }) => [url, attempt])).toEqual([["https://new.example/", 2]]);
  });
});

test("top is limited", async () => {
  for (const top of [0, 101, null]) {
    expect(await database.rejects("select monitor.take_notifications($1)", [top])).toMatchObject({ code: "CF001" });
  }
});
