import { describe, expect, test } from "vitest";
import { Random } from "../../../src/simulator/random.ts";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, type Message, message } from "./messages.ts";

const database = await testDatabase();

const worker = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("insights_worker", {}, work);

interface Times {
  occurred: string;
  client: string | null;
  arrived: string;
}

/** The stored times of the events, in their order. */
async function times(db: Queries): Promise<Times[]> {
  await db.query("reset role");
  return await db.rows<Times>(`
    select track._iso_time(occurred_at) || to_char(occurred_at, ' MS') as occurred, track._iso_time(client_at) as client,
      track._iso_time(received_at) || to_char(received_at, ' MS') as arrived
    from track.event order by occurred_at, event_id`);
}

const at = (fields: Message): Promise<Times> =>
  worker(async (db) => {
    expect(await ingest(db, [message(fields)])).toMatchObject({ accepted: 1, errors: [] });
    const [event] = await times(db);
    if (event === undefined) throw new Error("no event");
    return event;
  });

const problem = (fields: Message): Promise<{ message: string; hint: string } | undefined> =>
  worker(async (db) => {
    const { errors } = await ingest(db, [message(), message(fields), message()]);
    await db.query("reset role");
    expect(await db.value("select count(*)::int from track.event")).toBe(errors.length === 0 ? 3 : 2);
    return errors[0];
  });

describe("the time of an event", () => {
  test("is that of the client while its clock is within the tolerance, whatever the delay of the delivery", async () => {
    const slow = {
      timestamp: "2026-03-01T10:00:00Z",
      sentAt: "2026-03-01T10:00:01Z",
      receivedAt: "2026-03-01T10:00:41Z",
    };
    expect(await at(slow)).toMatchObject({ occurred: "2026-03-01T10:00:00Z 000", client: null });
    expect(await at({ ...slow, receivedAt: "2026-03-01T10:05:01Z" })).toMatchObject({
      occurred: "2026-03-01T10:00:00Z 000",
    });
    // One millisecond more is beyond the tolerance.
    expect(await at({ ...slow, receivedAt: "2026-03-01T10:05:01.001Z" })).toMatchObject({
      occurred: "2026-03-01T10:05:00Z 001",
      client: "2026-03-01T10:00:00Z",
    });
    // A clock that is ahead by five seconds at most.
    expect(await at({ ...slow, sentAt: "2026-03-01T10:00:06Z", receivedAt: "2026-03-01T10:00:01Z" })).toMatchObject({
      occurred: "2026-03-01T10:00:00Z 000",
      client: null,
    });
  });

  test("is corrected for a clock that is wrong, and the client's own time is kept", async () => {
    expect(
      await at({
        timestamp: "2027-03-01T10:00:00Z",
        sentAt: "2027-03-01T10:02:00Z",
        receivedAt: "2026-03-01T10:00:00Z",
      }),
    ).toMatchObject({ occurred: "2026-03-01T09:58:00Z 000", client: "2027-03-01T10:00:00Z" });
    expect(
      await at({
        timestamp: "2026-03-01T10:01:00Z",
        sentAt: "2026-03-01T10:02:00Z",
        receivedAt: "2026-03-01T10:00:00Z",
      }),
    ).toMatchObject({ occurred: "2026-03-01T09:59:00Z 000", client: "2026-03-01T10:01:00Z" });
    expect(
      await at({
        timestamp: "2020-03-01T10:00:00Z",
        sentAt: "2020-03-01T10:02:00Z",
        receivedAt: "2026-03-01T10:00:00Z",
      }),
    ).toMatchObject({ occurred: "2026-03-01T09:58:00Z 000", client: "2020-03-01T10:00:00Z" });
  });

  test("is the arrival when the clock was set back between the event and its sending", async () => {
    const setBack = { timestamp: "2026-03-18T11:36:12.799Z", sentAt: "2026-03-04T00:08:54.551Z" };
    expect(await at({ ...setBack, receivedAt: "2026-03-04T00:08:55Z" })).toMatchObject({
      occurred: "2026-03-04T00:08:55Z 000",
      client: "2026-03-18T11:36:12Z",
    });
    const now = new Date();
    const live = await at({ timestamp: new Date(now.getTime() + 14 * 86_400_000), sentAt: now });
    expect(live.occurred).toBe(live.arrived);
    expect(live.client).not.toBeNull();
    const late = await at(setBack);
    expect(late.occurred).toBe(late.arrived);
    expect(late.client).toBe("2026-03-18T11:36:12Z");
  });

  test("is never later than the arrival", async () => {
    const ahead = { timestamp: "2026-03-01T10:02:00Z", receivedAt: "2026-03-01T10:00:00Z" };
    const expected = { occurred: "2026-03-01T10:00:00Z 000", client: "2026-03-01T10:02:00Z" };
    expect(await at(ahead)).toMatchObject(expected);
    const little = { timestamp: "2026-03-01T10:00:03Z", sentAt: "2026-03-01T10:00:03.100Z" };
    expect(await at({ ...little, receivedAt: ahead.receivedAt })).toMatchObject({
      ...expected,
      client: "2026-03-01T10:00:03Z",
    });
    // A "sentAt" without fractions of a second.
    expect(
      await at({
        timestamp: "2027-03-01T10:02:00.700Z",
        sentAt: "2027-03-01T10:02:00Z",
        receivedAt: "2026-03-01T10:00:00Z",
      }),
    ).toMatchObject({ occurred: "2026-03-01T10:00:00Z 000" });
  });

  test("follows the setting", async () => {
    await worker(async (db) => {
      await db.query("reset role");
      await db.query("update track.setting set clock_tolerance = '1 hour'");
      await ingest(db, [
        message({
          timestamp: "2026-03-01T10:00:00Z",
          sentAt: "2026-03-01T10:00:00Z",
          receivedAt: "2026-03-01T10:59:00Z",
        }),
      ]);
      expect(await times(db)).toMatchObject([{ occurred: "2026-03-01T10:00:00Z 000", client: null }]);
    });
  });

  test("a clock a year ahead without sentAt is an error, and the other messages are stored", async () => {
    const ahead = new Date(Date.now() + 365 * 86_400_000);
    expect(await problem({ timestamp: ahead })).toMatchObject({
      message: `the event's time is ${ahead.toISOString().slice(0, 19)}Z, in the future`,
      hint: expect.stringContaining('send "sentAt"'),
    });
    expect(await problem({ timestamp: ahead, sentAt: new Date(ahead.getTime() + 1000) })).toBeUndefined();
  });

  /** Batches of a device whose clock is ahead by `skew`; what is sent later arrives later. */
  function deliveries(random: Random, device: number, skew: number, delay: () => number): Message[][] {
    let clock = Date.parse("2026-03-01T10:00:00Z");
    let arrived = clock;
    let n = 0;
    return Array.from({ length: 6 }, () => {
      const events = Array.from({ length: 4 }, () => {
        clock += 1 + Math.floor(random.uniform() * 20_000);
        return clock;
      });
      clock += Math.floor(random.uniform() * 5_000);
      arrived = Math.max(arrived + 1, clock + delay());
      return events.map((event) =>
        message({
          messageId: `${device}-${n}`,
          timestamp: new Date(event + skew),
          sentAt: new Date(clock + skew),
          receivedAt: new Date(arrived),
          properties: { n: n++, true: event },
        }),
      );
    });
  }

  interface Placed {
    n: number;
    early: boolean;
    late: number;
  }

  /** The stored events, sent in one call or in several, in any order. */
  const placed = (batches: Message[][]): Promise<Placed[]> =>
    worker(async (db) => {
      for (const batch of batches.length % 2 === 0 ? batches.toReversed() : [batches.flat()]) {
        expect(await ingest(db, batch)).toMatchObject({ rejected: 0, accepted: batch.length });
      }
      await db.query("reset role");
      return await db.rows<Placed>(`
        select (properties ->> 'n')::int as n, occurred_at <= received_at as early,
          (extract(epoch from occurred_at) * 1000 - (properties ->> 'true')::numeric)::float8 as late
        from track.event order by occurred_at, event_id`);
    });

  test("the order of the events of a device does not depend on the delays of their deliveries", async () => {
    const random = new Random("delays");
    for (let device = 0; device < 12; device++) {
      const skew = Math.round(random.uniform() * 295_000 - 290_000);
      const batches = deliveries(random, device, skew, () =>
        Math.floor(random.uniform() * Math.min(290_000, 290_000 + skew)),
      );
      const rows = await placed(device % 2 === 0 ? batches : [batches.flat()]);
      expect(rows.map(({ n }) => n)).toEqual(rows.map((_, place) => place));
      expect(rows.every(({ early }) => early)).toBe(true);
    }
  });

  test("a clock that is ahead moves all events of a device by the delay of the delivery", async () => {
    const random = new Random("ahead");
    for (let device = 0; device < 6; device++) {
      const skew = 6_000 + Math.round(random.uniform() * 10 ** (3 + device));
      const batches = deliveries(random, device, skew, () => 150);
      const rows = await placed(device % 2 === 0 ? batches : [batches.flat()]);
      expect(rows.map(({ n }) => n)).toEqual(rows.map((_, place) => place));
      expect(rows.every(({ early, late }) => early && late === 150)).toBe(true);
    }
  });

  test("events of a time of arrival have keys of their own, in the order of the client, up to weeks apart", async () => {
    await worker(async (db) => {
      const receivedAt = "2026-03-04T00:08:55Z";
      const days = [13, 1, 8, 40, 2];
      const batch = days.map((day, n) =>
        message({
          messageId: `same-${n}`,
          timestamp: new Date(Date.parse(receivedAt) + day * 86_400_000),
          sentAt: receivedAt,
          receivedAt,
          properties: { day },
        }),
      );
      for (const source of ["one", "two"]) {
        await db.query("select set_config('insights.source', $1, true)", [source]);
        expect(await ingest(db, batch)).toMatchObject({ accepted: days.length });
        // A retry is a duplicate, also with a later arrival.
        const retry = batch.map((fields) => ({ ...fields, receivedAt: "2026-03-05T00:00:00Z" }));
        expect(await ingest(db, retry)).toMatchObject({ accepted: 0, duplicates: days.length });
      }
      await db.query("reset role");
      const rows = await db.rows<{ day: number; version: string; variant: string }>(`
        select (properties ->> 'day')::int as day, substr(event_id::text, 15, 1) as version, substr(event_id::text, 20, 1) as variant
        from track.event order by occurred_at, event_id`);
      expect(rows.map(({ day }) => day)).toEqual([1, 1, 2, 2, 8, 8, 13, 13, 40, 40]);
      for (const { version, variant } of rows) {
        expect(version).toBe("7");
        expect("89ab").toContain(variant);
      }
    });
  });

  test("an anonymised event keeps no time of the client", async () => {
    await worker(async (db) => {
      await ingest(db, [
        message({
          timestamp: "2027-03-01T10:00:00Z",
          sentAt: "2027-03-01T10:00:00Z",
          receivedAt: "2026-03-01T10:00:00Z",
          context: { consent: { categoryPreferences: { analytics: false } } },
        }),
      ]);
      await db.query("reset role");
      expect(await db.rows("select person_id, client_at from track.event")).toEqual([
        { person_id: "0", client_at: null },
      ]);
    });
  });

  test("a merge of people moves the time of the client", async () => {
    await worker(async (db) => {
      const wrong = {
        timestamp: "2027-03-01T10:00:00Z",
        sentAt: "2027-03-01T10:00:00Z",
        receivedAt: "2026-03-01T10:00:00Z",
      };
      await ingest(db, [message({ ...wrong, userId: undefined, anonymousId: "b" })]);
      await ingest(db, [message({ type: "identify", userId: "ada", anonymousId: "b" })]);
      await db.query("reset role");
      expect(
        await db.rows(
          "select track._iso_time(client_at) as client from track.event where person_id = track.find_person('ada')",
        ),
      ).toEqual([{ client: "2027-03-01T10:00:00Z" }]);
    });
  });
});

describe("errors about time", () => {
  test.each([
    ["2026-03-01 BC"],
    ["2026-03-01T00:00:00Z BC"],
    ["2026-03-01 10:00 AD"],
    ["2026-03-01 10:00 PM"],
    ["2026-03-01 10:00 IST"],
    ["2026-03-01 10:00 Europe/Rome"],
    ["2026-03-01 allballs"],
    ["2026-03-01 tomorrow"],
    ["12026-03-01T00:00:00Z"],
    ["+012026-03-01T00:00:00Z"],
    ["-0044-03-15T00:00:00Z"],
    ["2026-W09-1"],
    ["2026-W09-1T10:00:00"],
    ["2026-060"],
    ["20260301T100000Z"],
    ["2026-03-01T24:00:01Z"],
    ["2026-03-01T10:60:00Z"],
    ["2026-03-01T10:00:61Z"],
    ["2026-03-01T10:00:00+25:00"],
    ["0000-01-01T00:00:00Z"],
    ["infinity"],
    ["-infinity"],
    ["epoch"],
  ])("%s is shown as it was sent, with an example", async (timestamp) => {
    const expected = { hint: "Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z." };
    expect(await problem({ timestamp })).toMatchObject({ ...expected, message: `"timestamp" is "${timestamp}"` });
    expect(await problem({ timestamp: "2026-03-01", sentAt: timestamp })).toMatchObject({
      ...expected,
      message: `"sentAt" is "${timestamp}"`,
    });
  });

  test.each([
    ["2026-02-28T24:00:00Z", "2026-03-01T00:00:00Z 000"],
    ["2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z 000"],
    ["2026-03-01 10:00:00 UTC", "2026-03-01T10:00:00Z 000"],
    ["2026-03-01t10:00:00.25z", "2026-03-01T10:00:00Z 250"],
    ["2026-03-01T10:00:00+05:45", "2026-03-01T04:15:00Z 000"],
    ["2026-03-01T10:00:00-03:30", "2026-03-01T13:30:00Z 000"],
  ])("%s is %s", async (timestamp, occurred) => {
    expect(await at({ timestamp })).toMatchObject({ occurred, client: null });
  });

  test("years have four digits", async () => {
    expect(await problem({ timestamp: "0001-01-01T00:00:00Z" })).toMatchObject({
      message: "the event's time is 0001-01-01T00:00:00Z, too long ago",
      hint: "The earliest accepted is 1990-01-01T00:00:00Z.",
    });
    expect(await problem({ timestamp: "0987-06-05T00:00:00Z" })).toMatchObject({
      message: "the event's time is 0987-06-05T00:00:00Z, too long ago",
    });
  });

  test("nobody is asked for the sentAt that was sent", async () => {
    const found = await problem({ timestamp: "2999-01-02T00:00:00Z", sentAt: "2999-01-01T00:00:00Z" });
    expect(found?.message).toBe("the event's time is 2999-01-02T00:00:00Z, in the future");
    expect(found?.hint).toMatch(/^Check the client's clock/);
    expect(found?.hint).not.toContain("sentAt");
    expect(
      await problem({ timestamp: "2026-03-01", receivedAt: "2999-01-01T00:00:00Z", sentAt: "2026-03-01" }),
    ).toMatchObject({
      message: "the time of arrival is 2999-01-01T00:00:00Z, in the future",
    });
  });
});
