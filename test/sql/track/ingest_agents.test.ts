import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, type Message, message as messageOf } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const start = Date.now() - 3_600_000;
let seconds = 0;

/** A message with a time of its own, in the order of the calls. */
const message = (fields: Message = {}): Message => {
  seconds += 1;
  return messageOf({ timestamp: new Date(start + seconds * 1_000).toISOString(), ...fields });
};

const chrome =
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";
const bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const hints = {
  brands: [
    { brand: "Not_A Brand", version: "8" },
    { brand: "Chromium", version: "120" },
    { brand: "Microsoft Edge", version: "119" },
  ],
  mobile: false,
  platform: "macOS",
};

const properties = (db: Queries): Promise<unknown[]> =>
  db
    .rows("select properties from track.event order by occurred_at, event_id")
    .then((rows) => rows.map((row) => (row as { properties: unknown }).properties));

/** The properties with which a message of a server is stored. */
const stored = (fields: Message): Promise<unknown> =>
  owner(async (db) => {
    expect(await ingest(db, [message(fields)])).toMatchObject({ accepted: 1 });
    return (await properties(db))[0];
  });

/** Sends messages as a client does: under a role, with the header of its request. */
async function request(db: Queries, role: string, header: string, batch: Message[], person = "ada"): Promise<unknown> {
  await db.query("select set_config('insights.user_agent', $1, true), set_config('insights.person', $2, true)", [
    header,
    role === "learner" ? person : "",
  ]);
  await db.query(`set local role insights_${role}`);
  const result = await ingest(db, batch);
  await db.query("set local role postgres");
  return result;
}

describe("the user agent of a message", () => {
  test("becomes browser, operating system and device, and is not stored", async () => {
    expect(await stored({ properties: { plan: "pro" }, context: { userAgent: chrome } })).toEqual({
      plan: "pro",
      browser: "Chrome",
      os: "Windows",
      device: "desktop",
    });
    expect(await stored({ context: { userAgent: firefox } })).toEqual({
      browser: "Firefox",
      os: "Linux",
      device: "desktop",
    });
  });

  test("may be in the context of the batch", async () => {
    await owner(async (db) => {
      await ingest(db, {
        batch: [message(), message({ context: { userAgent: firefox } })],
        context: { userAgent: chrome },
      });
      expect((await properties(db)).map((found) => (found as { browser: string }).browser)).toEqual([
        "Chrome",
        "Firefox",
      ]);
    });
  });

  test("has no precedence over what the application states", async () => {
    expect(await stored({ properties: { device: "kiosk" }, context: { userAgent: chrome } })).toEqual({
      browser: "Chrome",
      os: "Windows",
      device: "kiosk",
    });
  });

  test("with nothing that is known adds nothing", async () => {
    for (const userAgent of ["a word", "", 7, null, { deep: true }, ["x"], "x".repeat(30_000)]) {
      expect(await stored({ context: { userAgent } })).toBeNull();
    }
  });

  test("adds what the setting lists", async () => {
    await owner(async (db) => {
      await db.query("update track.setting set agent_properties = '{browser,browserVersion}'");
      await ingest(db, [message({ context: { userAgent: chrome } })]);
      await db.query("update track.setting set agent_properties = '{}'");
      await ingest(db, [message({ context: { userAgent: chrome } })]);
      expect(await properties(db)).toEqual([{ browser: "Chrome", browserVersion: 120 }, null]);
    });
  });

  test("is not stored with an anonymized event, nor by identify", async () => {
    await owner(async (db) => {
      await db.query(
        "update privacy.purpose set basis = 'consent', without_basis = 'anonymize' where purpose = 'analytics'",
      );
      await ingest(db, [
        message({ context: { userAgent: chrome } }),
        message({ type: "identify", event: undefined, traits: { plan: "pro" }, context: { userAgent: chrome } }),
      ]);
      expect(await db.rows("select person_id, properties from track.event")).toEqual([
        { person_id: "0", properties: null },
      ]);
      expect(await db.value("select count(*) from track.trait where value::text ilike '%chrome%'")).toBe("0");
    });
  });
});

describe("client hints", () => {
  test("have precedence over the text", async () => {
    expect(await stored({ context: { userAgent: chrome, userAgentData: hints } })).toEqual({
      browser: "Edge",
      os: "macOS",
      device: "desktop",
    });
    expect(await stored({ context: { userAgentData: { ...hints, mobile: true, platform: "Android" } } })).toEqual({
      browser: "Edge",
      os: "Android",
      device: "mobile",
    });
  });

  test.each([
    "text",
    [],
    { brands: "x" },
    { brands: [null, 7, [], { brand: 7 }, { brand: { deep: 1 }, version: [] }] },
    { brands: [{ brand: "x".repeat(20_000) }] },
    { platform: { deep: 1 }, mobile: "yes" },
  ])("of another form are ignored: %j", async (userAgentData) => {
    expect(await stored({ context: { userAgentData } })).toBeNull();
  });
});

describe("the user agent of the request", () => {
  test("applies to messages of clients without one", async () => {
    await owner(async (db) => {
      await request(db, "learner", chrome, [message(), message({ context: { userAgent: firefox } })]);
      await request(db, "visitor", firefox, [message({ userId: undefined, anonymousId: "b" })]);
      expect((await properties(db)).map((found) => (found as { browser: string }).browser)).toEqual([
        "Chrome",
        "Firefox",
        "Firefox",
      ]);
    });
  });

  test("does not apply to those that a server sends for others", async () => {
    await owner(async (db) => {
      await request(db, "worker", chrome, [message()]);
      expect(await properties(db)).toEqual([null]);
    });
  });

  test("is ignored when it is that of an HTTP library: a server that sends the messages of its users", async () => {
    await owner(async (db) => {
      await request(db, "learner", "axios/1.6.2", [message()]);
      await request(db, "visitor", "python-requests/2.31.0", [message({ userId: undefined, anonymousId: "b" })]);
      expect(await properties(db)).toEqual([null, null]);
      expect(await db.value("select count(*) from track.exclusion")).toBe("0");
    });
  });

  test("does not fail a batch without messages, or of duplicates", async () => {
    await owner(async (db) => {
      const again = message();
      await request(db, "learner", chrome, [again]);
      expect(await request(db, "learner", chrome, [again])).toMatchObject({ accepted: 0, duplicates: 1 });
      expect(await request(db, "learner", chrome, [])).toMatchObject({ accepted: 0 });
    });
  });
});

describe("bots", () => {
  const excluded = (db: Queries): Promise<unknown[]> =>
    db.rows("select external_id, kind, reason from track.exclusion join track.identity using (identity_id) order by 1");

  test("are excluded when their first message is that of a bot", async () => {
    await owner(async (db) => {
      await request(db, "visitor", bot, [message({ userId: undefined, anonymousId: "crawler" })]);
      await request(db, "visitor", chrome, [message({ userId: undefined, anonymousId: "reader" })]);
      expect(await excluded(db)).toEqual([{ external_id: "crawler", kind: "anonymous", reason: "bot" }]);
      expect(await properties(db)).toEqual([
        { device: "bot" },
        { browser: "Chrome", os: "Windows", device: "desktop" },
      ]);
      while ((await db.rows("select from track.refresh(100)")).length > 0);
      expect(
        await db.value(
          "select track.is_in_person_set('excluded', person_id) from track.identity where external_id = 'crawler'",
        ),
      ).toBe(true);
    });
  });

  test("exclude nobody else: any client can send the name of a known browser, or of a user", async () => {
    await owner(async (db) => {
      await request(db, "visitor", chrome, [message({ userId: undefined, anonymousId: "victim" })]);
      await request(db, "visitor", bot, [message({ userId: undefined, anonymousId: "victim" })]);
      await request(db, "learner", bot, [message({ anonymousId: "victim" })]);
      await ingest(db, [message({ userId: "ben", context: { userAgent: bot } })]);
      expect(await excluded(db)).toEqual([]);
    });
  });

  test("are stored, or refused and counted, where the setting is so", async () => {
    await owner(async (db) => {
      await db.query("update track.setting set bots = 'store'");
      await request(db, "visitor", bot, [message({ userId: undefined, anonymousId: "crawler" })]);
      expect(await excluded(db)).toEqual([]);
      await db.query("update track.setting set bots = 'refuse'");
      expect(
        await request(db, "visitor", bot, [
          message({ userId: undefined, anonymousId: "crawler" }),
          message({ userId: undefined, anonymousId: "reader", context: { userAgent: chrome } }),
          message({
            userId: undefined,
            anonymousId: "other",
            context: { userAgentData: { brands: [{ brand: "HeadlessChrome", version: "120" }] } },
          }),
        ]),
      ).toMatchObject({
        accepted: 1,
        rejected: 2,
        errors: [{ index: 0, code: "CF005", message: "the user agent of the message is that of a bot" }, { index: 2 }],
      });
      expect(await db.value("select sum(messages) from track.refused_messages() where code = 'CF005'")).toBe("2");
    });
  });
});

describe("addresses and user agents", () => {
  test("are stored nowhere, under each name that clients give them", async () => {
    await owner(async (db) => {
      const address = "203.0.113.77";
      const six = "2001:db8::c0de";
      const agent = `${chrome} Unique/77`;
      const names = ["ip", "$ip", "ipAddress", "ip_address", "clientIp", "client_ip", "remoteAddress", "remote_addr"];
      const agents = ["userAgent", "user_agent", "$user_agent", "$useragent", "$raw_user_agent"];
      const all = {
        ...Object.fromEntries(names.map((name, index) => [name, index % 2 === 0 ? address : six])),
        ...Object.fromEntries(agents.map((name) => [name, agent])),
      };
      await request(db, "learner", agent, [
        message({
          properties: { ...all, plan: "pro" },
          context: { ip: address, userAgent: agent, device: { ip: six } },
          ip: six,
        }),
        message({ type: "page", event: undefined, name: "Start", properties: all, context: { ip: address } }),
        message({
          type: "identify",
          event: undefined,
          traits: { ...all, plan: "pro" },
          context: { ip: six, traits: all },
        }),
        message({ type: "group", event: undefined, groupId: "g", traits: all, context: { ip: six } }),
      ]);
      for (const table of await db.rows<{ name: string }>(
        `select format('%I.%I', schemaname, tablename) as name from pg_tables
         where schemaname in ('track', 'privacy', 'recommend', 'analytics', 'monitor', 'ml')`,
      )) {
        const [found] = await db.rows(
          `select row from ${table.name} as row where row::text like any (array['%${address}%', '%${six}%', '%Unique/77%'])`,
        );
        expect(found, table.name).toBeUndefined();
      }
      expect(await db.rows("select name, value from track.trait")).toEqual([{ name: "plan", value: "pro" }]);
      expect(
        await db.rows(
          "select distinct kind, sum(found)::int as found from track.dropped_data() group by kind order by 1",
        ),
      ).toEqual([
        { kind: "ip", found: names.length * 3 },
        { kind: "user_agent", found: agents.length * 3 },
      ]);
    });
  });
});
