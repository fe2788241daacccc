import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, ingestText, type Message, message } from "./messages.ts";

const database = await testDatabase();

const worker = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("insights_worker", {}, work);
const learner = <T>(name: string, work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("insights_learner", { "insights.person": name }, work);
const visitor = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("insights_visitor", {}, work);

/** The stored rows, by any role: back to the owner within the transaction. */
async function stored<T extends object>(db: Queries, sql: string, values?: readonly unknown[]): Promise<T[]> {
  const role = await db.value<string>("select current_setting('role')");
  await db.query("reset role");
  const rows = await db.rows<T>(sql, values);
  await db.query("select set_config('role', $1, true)", [role]);
  return rows;
}

const events = `
  select identity.kind, identity.external_id, event_type.name as event, item.external_id as item, occurred_at, event.properties
  from track.event
  join track.identity using (identity_id)
  join track.event_type using (event_type_id)
  left join track.item using (item_id)
  order by occurred_at, event_id
`;

interface Stored {
  kind: string;
  external_id: string;
  event: string;
  item: string | null;
  occurred_at: Date;
  properties: Record<string, unknown> | null;
}

describe("shapes of a batch", () => {
  const one = message({ messageId: "one" });
  const shapes: [string, unknown][] = [
    ["a list", [one]],
    ["{batch, sentAt}", { batch: [one], sentAt: new Date().toISOString() }],
    ["one message", one],
  ];

  test.each(shapes)("%s, as JSON and as a string that holds it", async (_, shape) => {
    const counts = { accepted: 1, duplicates: 0, rejected: 0, errors: [] };
    await worker(async (db) => expect(await ingest(db, shape)).toEqual(counts));
    await worker(async (db) => expect(await ingestText(db, JSON.stringify(shape))).toEqual(counts));
  });

  test("an empty batch is not an error", async () => {
    const nothing = { accepted: 0, duplicates: 0, rejected: 0, errors: [] };
    await worker(async (db) => {
      expect(await ingest(db, [])).toEqual(nothing);
      expect(await ingest(db, { batch: [] })).toEqual(nothing);
      expect(await ingestText(db, '{"batch": []}')).toEqual(nothing);
    });
  });

  test.each([
    ["null", null],
    ["a number", 5],
    ["an object without messages", { messages: [] }],
    ["a batch that is not a list", { batch: "x" }],
    ["a string in a string", '"[]"'],
  ])("%s is CF009", async (_, batch) => {
    const error = await database.rejects("select track.ingest($1::jsonb)", [JSON.stringify(batch)]);
    expect(error.code).toBe("CF009");
    expect(error.hint).toContain("list of messages");
  });

  test.each(["", "{", "[1,]", "hello", '[{"type": }]', "\u{1F600}"])(
    "the text %j is not JSON, and CF009",
    async (text) => {
      const error = await database.rejects("select track.ingest(to_jsonb($1::text))", [text]);
      expect(error).toMatchObject({ code: "CF009" });
    },
  );

  test("NULL is CF009, too many messages are CF008 and store nothing", async () => {
    expect(await database.rejects("select track.ingest(null)")).toMatchObject({ code: "CF009" });
    const error = await database.rejects(
      "select track.ingest((select jsonb_agg(jsonb_build_object('type', 'track', 'messageId', i, 'userId', 'u', 'event', 'E')) from generate_series(1, 10001) as i))",
    );
    expect(error).toMatchObject({ code: "CF008", message: "the batch has 10001 messages" });
    expect(await database.value("select count(*) from track.event")).toBe("0");
  });

  test("the context of a batch holds for its messages, which may say otherwise", async () => {
    await worker(async (db) => {
      await ingest(db, {
        context: { timezone: "Asia/Tokyo" },
        batch: [message({ userId: "a" }), message({ userId: "b", context: { timezone: "Europe/Rome" } })],
      });
      expect(
        await stored(
          db,
          "select external_id, value from track.trait join track.identity using (identity_id) where name = 'timezone' order by 1",
        ),
      ).toEqual([
        { external_id: "a", value: "Asia/Tokyo" },
        { external_id: "b", value: "Europe/Rome" },
      ]);
    });
  });

  test("each type of message becomes what it means", async () => {
    await worker(async (db) => {
      const common = { userId: "ada", timestamp: "2026-03-01T00:00:00Z" };
      const result = await ingest(db, [
        message({ ...common, type: "track", event: "Task Submitted", properties: { item: "task-1", score: 0.5 } }),
        message({
          ...common,
          type: "page",
          timestamp: "2026-03-01T00:00:01Z",
          name: "Home",
          properties: { path: "/home" },
        }),
        message({
          ...common,
          type: "page",
          timestamp: "2026-03-01T00:00:02Z",
          context: { page: { path: "/from/context" } },
        }),
        message({ ...common, type: "screen", timestamp: "2026-03-01T00:00:03Z", name: "Settings" }),
        message({ ...common, type: "identify", traits: { plan: "pro" } }),
        message({ ...common, type: "group", groupId: "school" }),
        message({ ...common, type: "alias", previousId: "old-ada" }),
      ]);
      expect(result).toMatchObject({ accepted: 7, rejected: 0 });
      expect(
        (await stored<Stored>(db, events)).map(({ event, item, properties }) => ({ event, item, properties })),
      ).toEqual([
        { event: "Task Submitted", item: "task-1", properties: { item: "task-1", score: 0.5 } },
        { event: "Page Viewed", item: "/home", properties: { path: "/home", name: "Home" } },
        { event: "Page Viewed", item: "/from/context", properties: null },
        { event: "Screen Viewed", item: "Settings", properties: { name: "Settings" } },
      ]);
      expect(await stored(db, "select name, value from track.trait")).toEqual([{ name: "plan", value: "pro" }]);
    });
  });
});

describe("clocks", () => {
  const at = async (fields: Message, batch: Message = {}): Promise<string> =>
    await worker(async (db) => {
      const result = await ingest(db, { batch: [message(fields)], ...batch });
      if (result.errors[0] !== undefined) return `${result.errors[0].code} ${result.errors[0].message}`;
      const [event] = await stored<Stored>(db, events);
      return event?.occurred_at.toISOString() ?? "nothing";
    });

  test("timestamp = receivedAt - (sentAt - timestamp), for a clock that is wrong", async () => {
    const skewed = {
      timestamp: "2031-01-01T00:00:00Z",
      sentAt: "2031-01-01T00:05:00Z",
      receivedAt: "2026-03-01T12:00:00Z",
    };
    expect(await at(skewed)).toBe("2026-03-01T11:55:00.000Z");
    // originalTimestamp is what the client said first; sentAt may be the batch's.
    expect(await at({ ...skewed, timestamp: "2000-01-01T00:00:00Z", originalTimestamp: "2031-01-01T00:00:00Z" })).toBe(
      "2026-03-01T11:55:00.000Z",
    );
    const { sentAt, ...rest } = skewed;
    expect(await at(rest, { sentAt })).toBe("2026-03-01T11:55:00.000Z");
  });

  test("without sentAt the client's time holds, without a time the arrival", async () => {
    expect(await at({ timestamp: "2026-03-01T00:00:00Z" })).toBe("2026-03-01T00:00:00.000Z");
    expect(await at({ receivedAt: "2026-03-01T12:00:00Z" })).toBe("2026-03-01T12:00:00.000Z");
    const now = Date.parse(await at({}));
    expect(Math.abs(now - Date.now())).toBeLessThan(60_000);
  });

  test("only servers may say when a message arrived", async () => {
    await visitor(async (db) => {
      await ingest(db, [message({ userId: undefined, anonymousId: "b", receivedAt: "2026-03-01T12:00:00Z" })]);
      const [event] = await stored<Stored>(db, events);
      expect(Math.abs((event?.occurred_at.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    });
  });

  test.each([
    ["2026-03-01T10:00:00+05:30", "2026-03-01T04:30:00.000Z"],
    ["2026-03-01T10:00:00-0800", "2026-03-01T18:00:00.000Z"],
    ["2026-03-01T10:00:00+14:00", "2026-02-28T20:00:00.000Z"],
    ["2026-03-01 10:00", "2026-03-01T10:00:00.000Z"],
    ["2026-03-01", "2026-03-01T00:00:00.000Z"],
    ["2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999Z"],
    ["2026-03-01T10:00:00.123456789Z", "2026-03-01T10:00:00.123Z"],
    ["2026-02-28T24:00:00Z", "2026-03-01T00:00:00.000Z"],
    ["1990-01-01T00:00:00Z", "1990-01-01T00:00:00.000Z"],
    ["2001-09-09T01:46:40Z", "2001-09-09T01:46:40.000Z"],
  ])("%s is %s", async (timestamp, expected) => {
    expect(await at({ timestamp })).toBe(expected);
  });

  test.each([
    ["9999-12-31T23:59:59Z", "in the future"],
    ["1989-12-31T23:59:59Z", "too long ago"],
    ["0001-01-01T00:00:00Z", "too long ago"],
    ["2026-02-28 BC", '"timestamp" is "2026-02-28 BC"'],
    ["2026-02-30T00:00:00Z", '"timestamp" is "2026-02-30T00:00:00Z"'],
    ["2026-13-01T00:00:00Z", '"timestamp" is'],
    ["2026-03-01T25:00:00Z", '"timestamp" is'],
    ["2026-03-01T00:00:00+99:99", '"timestamp" is'],
    ["2026-03-01T00:00:00 Middle/Earth", '"timestamp" is'],
    ["abcd-ef-gh", '"timestamp" is'],
    ["now", '"timestamp" is'],
    ["infinity", '"timestamp" is'],
    ["2026-03-01 infinity", '"timestamp" is'],
    ["12026-03-01", '"timestamp" is'],
    ["", '"timestamp" is'],
    [1772323200, '"timestamp" is "1772323200"'],
    [{ a: 1 }, '"timestamp" is'],
    [true, '"timestamp" is "true"'],
  ])("%j is refused with a word, and the others are kept", async (timestamp, problem) => {
    await worker(async (db) => {
      const result = await ingest(db, [
        message(),
        message({ timestamp }),
        message({ timestamp: "2026-03-01T00:00:00Z" }),
      ]);
      expect(result).toMatchObject({ accepted: 2, rejected: 1, errors: [{ index: 1, code: "CF001" }] });
      expect(result.errors[0]?.message).toContain(problem);
    });
  });

  test("clocks that are thousands of years apart invalidate their message, not the batch", async () => {
    const apart = { timestamp: "1990-01-01T00:00:00Z", sentAt: "9999-12-31T00:00:00Z" };
    await visitor(async (db) => {
      const browser = { userId: undefined, anonymousId: "b" };
      const result = await ingest(db, [message(browser), message({ ...browser, ...apart }), message(browser)]);
      expect(result).toMatchObject({ accepted: 2, rejected: 1, errors: [{ index: 1, code: "CF001" }] });
      expect(result.errors[0]?.message).toContain("too long ago");
    });
    await worker(async (db) => {
      const backwards = { timestamp: "9999-12-31T00:00:00Z", sentAt: "9999-01-01T00:00:00Z" };
      const atTheEnd = { ...apart, receivedAt: "0001-01-01T00:00:00Z" };
      expect(await ingest(db, [message(backwards), message(atTheEnd), message()])).toMatchObject({
        accepted: 1,
        errors: [{ message: expect.stringContaining("in the future") }, { message: expect.stringContaining("ago") }],
      });
    });
  });

  test("an invalid sentAt invalidates its messages, not the batch", async () => {
    await worker(async (db) => {
      expect(await ingest(db, [message({ sentAt: "soon" }), message()])).toMatchObject({ accepted: 1, rejected: 1 });
      const timestamp = "2026-03-01T00:00:00Z";
      expect(
        await ingest(db, { sentAt: 12, batch: [message({ timestamp }), message({ timestamp, sentAt: timestamp })] }),
      ).toMatchObject({
        accepted: 1,
        errors: [{ index: 0, code: "CF001", message: '"sentAt" is "12"' }],
      });
    });
  });

  test("learners and visitors cannot write history, importers can", async () => {
    const old = { timestamp: "2020-01-01T00:00:00Z" };
    await learner("ada", async (db) =>
      expect(await ingest(db, [message(old)])).toMatchObject({ accepted: 0, errors: [{ code: "CF001" }] }),
    );
    await worker(async (db) => expect(await ingest(db, [message(old)])).toMatchObject({ accepted: 1 }));
  });
});

describe("duplicates", () => {
  test("within a batch the first one wins, in later batches all are duplicates", async () => {
    await worker(async (db) => {
      const [a, b] = [message({ properties: { n: 1 } }), message()];
      expect(await ingest(db, [a, b, { ...a, properties: { n: 2 } }])).toMatchObject({ accepted: 2, duplicates: 1 });
      expect(await ingest(db, [b, a, message()])).toMatchObject({ accepted: 1, duplicates: 2 });
      const rows = await stored<Stored>(db, events);
      expect(rows).toHaveLength(3);
      expect(rows.filter(({ properties }) => properties !== null)).toMatchObject([{ properties: { n: 1 } }]);
    });
  });

  test("a retry with a shifted clock is one, in another month too", async () => {
    await worker(async (db) => {
      const first = message({ timestamp: "2026-03-31T23:59:59Z" });
      await ingest(db, [first]);
      expect(await ingest(db, { batch: [first], sentAt: "2026-06-01T00:00:00Z" })).toMatchObject({
        accepted: 0,
        duplicates: 1,
      });
      expect(await ingest(db, [{ ...first, timestamp: "2026-04-01T00:00:01Z" }])).toMatchObject({
        accepted: 0,
        duplicates: 1,
      });
    });
  });

  test("a retry after an identify is one", async () => {
    await worker(async (db) => {
      const first = message({ userId: undefined, anonymousId: "browser" });
      await ingest(db, [first]);
      await ingest(db, [message({ type: "identify", anonymousId: "browser", userId: "ada" })]);
      expect(await ingest(db, [first, { ...first, userId: "ada" }])).toMatchObject({ accepted: 0, duplicates: 2 });
      expect(await stored(db, "select from track.event")).toHaveLength(1);
    });
  });

  test("a rejected message may be sent again, corrected", async () => {
    await worker(async (db) => {
      const bad = message({ event: "" });
      expect(await ingest(db, [bad])).toMatchObject({ rejected: 1 });
      expect(await ingest(db, [{ ...bad, event: "Task Submitted" }])).toMatchObject({ accepted: 1 });
    });
  });

  test("sources have their own ids", async () => {
    const same = message({ messageId: "row-1" });
    await worker(async (db) => {
      const from = async (source: string) => {
        await db.query("select set_config('insights.source', $1, true)", [source]);
        return await ingest(db, [same]);
      };
      expect(await from("moodle")).toMatchObject({ accepted: 1 });
      expect(await from("moodle")).toMatchObject({ duplicates: 1 });
      expect(await from("canvas")).toMatchObject({ accepted: 1 });
    });
  });
});

describe("a bad message has its own error, and the others are kept", () => {
  const bad: [string, Message | unknown, string, string][] = [
    ["a string", "hello", "CF009", "the message is a JSON string"],
    ["null", null, "CF009", "the message is a JSON null"],
    ["a list", [[]], "CF009", "the message is a JSON array"],
    ["a list that looks like our own mark", ["unreadable"], "CF009", "the message is a JSON array"],
    ["no type", message({ type: undefined }), "CF001", 'the message has no "type"'],
    ["a wrong type", message({ type: "purchase" }), "CF001", '"type" is "purchase"'],
    ["a type that is an object", message({ type: {} }), "CF001", '"type" is "{}"'],
    ["no messageId", message({ messageId: undefined }), "CF001", '"messageId" is missing'],
    ["an empty messageId", message({ messageId: "" }), "CF001", '"messageId" is missing'],
    ["a number as messageId", message({ messageId: 7 }), "CF001", '"messageId" is a JSON number'],
    ["a long messageId", message({ messageId: "x".repeat(257) }), "CF008", '"messageId" has 257 characters'],
    ["nobody", message({ userId: undefined }), "CF001", 'neither "userId" nor "anonymousId"'],
    ["an empty userId", message({ userId: "" }), "CF001", 'neither "userId" nor "anonymousId"'],
    ["a userId that is an object", message({ userId: { id: 1 } }), "CF001", '"userId" is a JSON object'],
    ["a userId that is true", message({ userId: true }), "CF001", '"userId" is a JSON boolean'],
    ["an anonymousId that is a list", message({ anonymousId: [1] }), "CF001", '"anonymousId" is a JSON array'],
    [
      "a previousId that is an object",
      message({ type: "alias", previousId: {} }),
      "CF001",
      '"previousId" is a JSON object',
    ],
    ["a long userId", message({ userId: "é".repeat(257) }), "CF008", "an id has 257 characters"],
    ["an alias of nothing", message({ type: "alias" }), "CF001", '"alias" needs "previousId" and "userId"'],
    ["a group without one", message({ type: "group" }), "CF001", '"group" needs "groupId"'],
    ["no event", message({ event: undefined }), "CF001", '"track" needs "event"'],
    ["an event that is a number", message({ event: 5 }), "CF001", '"track" needs "event"'],
    ["a long event", message({ event: "e".repeat(201) }), "CF008", '"event" has 201 characters'],
    ["properties that are a list", message({ properties: [1] }), "CF001", '"properties" is a JSON array'],
    ["properties that are a string", message({ properties: "x" }), "CF001", '"properties" is a JSON string'],
    ["traits that are a string", message({ type: "identify", traits: "x" }), "CF001", '"traits" is a JSON string'],
    [
      "traits in the context that are a list",
      message({ type: "identify", context: { traits: [1] } }),
      "CF001",
      '"context.traits" is a JSON array',
    ],
    [
      "large traits in the context",
      message({ type: "identify", context: { traits: { essay: "x".repeat(40_000) } } }),
      "CF008",
      "the message has 40",
    ],
    ["a 5 MB property", message({ properties: { essay: "x".repeat(5_000_000) } }), "CF008", "the message has 5000"],
    ["an item that is an object", message({ properties: { item: {} } }), "CF001", '"properties.item" is a JSON object'],
    [
      "a long item",
      message({ properties: { item: "i".repeat(513) } }),
      "CF008",
      '"properties.item" has 513 characters',
    ],
    [
      "a long parent",
      message({ properties: { item: "i", parent: "p".repeat(513) } }),
      "CF008",
      '"properties.parent" has 513',
    ],
    [
      "a parent that is a list",
      message({ properties: { item: "i", parent: [] } }),
      "CF001",
      '"properties.parent" is a JSON array',
    ],
    [
      "a kind in capitals",
      message({ properties: { itemKind: "Course" } }),
      "CF001",
      '"properties.itemKind" is "Course"',
    ],
    [
      "the kind of merged items",
      message({ properties: { itemKind: "merged" } }),
      "CF001",
      '"properties.itemKind" is "merged"',
    ],
    [
      "SQL as a kind",
      message({ properties: { itemKind: "x'; drop table track.event; --" } }),
      "CF001",
      '"properties.itemKind" is',
    ],
    ["a negative duration", message({ properties: { duration: -1 } }), "CF001", '"properties.duration" is -1'],
  ];

  test.each(bad)("%s", async (_, message_, code, text) => {
    await worker(async (db) => {
      const result = await ingest(db, [message(), message_, message()]);
      expect(result).toMatchObject({ accepted: 2, duplicates: 0, rejected: 1, errors: [{ index: 1, code }] });
      const [error] = result.errors;
      expect(error?.message).toContain(text);
      expect(error?.hint).not.toBe("");
      // The error describes the value, and does not return it whole.
      expect(JSON.stringify(error).length).toBeLessThan(1000);
    });
  });

  test("all of them at once, each with its place", async () => {
    await worker(async (db) => {
      const batch = bad.flatMap(([, message_]) => [message_, message()]);
      const result = await ingest(db, batch);
      expect(result).toMatchObject({ accepted: bad.length, rejected: bad.length });
      expect(result.errors.map(({ index, code }) => ({ index, code }))).toEqual(
        bad.map(([, , code], place) => ({ index: 2 * place, code })),
      );
    });
  });

  test.each([
    ["a null byte", '"a\\u0000b"'],
    ["an unpaired surrogate", '"\\ud800"'],
    ["the other half", '"\\udc00x"'],
    ["a number beyond numeric", "1e999999"],
  ])("%s in a text", async (_, value) => {
    await worker(async (db) => {
      const good = JSON.stringify(message());
      const text = `{"sentAt": null, "batch": [${good}, {"type": "track", "messageId": "x", "userId": "u", "event": "E", "properties": {"p": ${value}}}, ${JSON.stringify(message())}]}`;
      const result = await ingestText(db, text);
      expect(result).toMatchObject({ accepted: 2, rejected: 1, errors: [{ index: 1, code: "CF009" }] });
    });
  });

  test("next to an unreadable message, the others keep each escape as it was sent", async () => {
    await worker(async (db) => {
      const value = String.raw`{"literal": "\\u0000 \\\\ud800", "accent": "\u00e9", "pair": "\ud83d\ude00", "slash": "a\\b\/\"", "k\u0065y": 1}`;
      const text = String.raw`{"sentAt": "2026-03-01T00:00:0\u0030Z", "batch": ["\u0000", {"type": "track", "messageId": "escapes", "userId": "u", "event": "E", "timestamp": "2026-03-01T00:00:00Z", "properties": ${value}}]}`;
      expect(await ingestText(db, text)).toMatchObject({ accepted: 1, rejected: 1, errors: [{ index: 0 }] });
      const [event] = await stored<Stored>(db, events);
      expect(event?.properties).toEqual(JSON.parse(value));
    });
  });

  test("too many messages in a text are CF008, readable or not", async () => {
    for (const first of ["{}", '"\\u0000"']) {
      const text = `[${first}${",{}".repeat(10_000)}]`;
      for (const body of [text, `{"batch": ${text}}`]) {
        expect(await database.rejects("select track.ingest(to_jsonb($1::text))", [body])).toMatchObject({
          code: "CF008",
          message: "the batch has 10001 messages",
        });
      }
    }
    // As many commas, but within messages.
    await worker(async (db) => {
      const list = Array.from({ length: 120 }, () => 0);
      const text = JSON.stringify(Array.from({ length: 100 }, () => message({ properties: { list } })));
      expect(await ingestText(db, text)).toMatchObject({ accepted: 100 });
    });
  });

  test("the common context of a batch is bounded, and so are its numbers", async () => {
    const send = (context: unknown) =>
      database.rejects("select track.ingest($1::jsonb)", [JSON.stringify({ context, batch: [message()] })]);
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`purpose ${index}`, true]));
    expect(await send({ consent: { categoryPreferences: many } })).toMatchObject({ code: "CF008" });
    expect(
      await database.rejects(`select track.ingest('{"context": {"gpc": 1e131000}, "batch": [{"type": "track"}]}')`),
    ).toMatchObject({ code: "CF001" });
    await worker(async (db) => {
      // A field that is not read may be long.
      expect(await ingest(db, { context: many, batch: [message()] })).toMatchObject({ accepted: 1 });
      const long = `2026-03-01T00:00:00Z${"z".repeat(100_000)}`;
      const result = await ingest(db, { sentAt: long, batch: [message({ timestamp: "2026-03-01T00:00:00Z" })] });
      expect(result).toMatchObject({ rejected: 1 });
      expect(JSON.stringify(result).length).toBeLessThan(500);
    });
  });

  test("no field of a message with a vast number is written out, and no error is longer than it needs to be", async () => {
    await worker(async (db) => {
      const fields = [
        "type",
        "messageId",
        "userId",
        "anonymousId",
        "previousId",
        "event",
        "timestamp",
        "sentAt",
        "receivedAt",
      ];
      const batch = fields.map((field) => {
        const text = JSON.stringify({ ...message({ messageId: "vast" }), [field]: "here" });
        return text.replace('"here"', "1e131000");
      });
      const result = await ingestText(db, `[${batch.join(", ")}, {"unreadable": "${"z".repeat(100_000)}"}]`);
      expect(result).toMatchObject({ rejected: fields.length + 1 });
      expect(result.errors.slice(0, -1).map(({ code }) => code)).toEqual(fields.map(() => "CF001"));
      expect(result.errors[0]?.messageId).toBe("vast");
      expect(JSON.stringify(result).length).toBeLessThan(4_000);
      const error = await db.rejects(`select track.ingest('{"batch": 1, "other": 1e131000}')`);
      expect(error.message.length).toBeLessThan(100);
    });
  });

  test("numbers that are short to write and long to read are refused", async () => {
    await worker(async (db) => {
      const vast = (value: string) =>
        `{"type": "track", "messageId": "${value}", "userId": "u", "event": "E", "properties": {"p": [${Array.from({ length: 20_000 }, () => value).join(",")}]}}`;
      const text = `[${JSON.stringify(message())}, ${vast("1e131000")}, ${vast("-1e131000")}, ${vast("1e-16000")}]`;
      const result = await ingestText(db, text);
      expect(result).toMatchObject({ accepted: 1, rejected: 3 });
      expect(result.errors.map(({ code }) => code)).toEqual(["CF001", "CF001", "CF001"]);
      // The largest and the smallest double are fine, and so is zero.
      expect(await ingest(db, [message({ properties: { a: 1e308, b: 1e-307, c: 0, d: -1e308 } })])).toMatchObject({
        accepted: 1,
      });
    });
  });

  // The embedded database does not survive JSON of 10,000 levels: the API in front of it bounds the depth.
  test.skipIf(!database.native)(
    "JSON deeper than the parser's stack is refused whole (needs a real server)",
    async () => {
      const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
      const text = (depth: number) =>
        `[{"type": "track", "messageId": "deep-${depth}", "userId": "u", "event": "E", "properties": ${nested(depth)}}]`;
      const error = await database.rejects("select track.ingest(to_jsonb($1::text))", [text(1_000_000)]);
      expect(error.code).toBe("CF009");
      await worker(async (db) => expect(await ingestText(db, text(500))).toMatchObject({ accepted: 1 }));
    },
  );

  test("names are names: SQL, __proto__, every script", async () => {
    const names = [
      "'; drop table track.event; --",
      "__proto__",
      "constructor",
      "Ελένη",
      "学習者",
      "👩🏽‍🎓",
      "a\u202Eb",
      "%s%n",
      '"',
      "\\",
    ];
    await worker(async (db) => {
      const result = await ingest(
        db,
        names.map((name) => message({ userId: name, event: name, properties: { item: name, [`key ${name}`]: name } })),
      );
      expect(result).toMatchObject({ accepted: names.length, rejected: 0 });
      const rows = await stored<Stored>(db, events);
      expect(new Set(rows.map(({ external_id }) => external_id))).toEqual(new Set(names));
      for (const row of rows) {
        expect(row).toMatchObject({ event: row.external_id, item: row.external_id });
        expect(row.properties?.[`key ${row.external_id}`]).toBe(row.external_id);
      }
    });
    await worker(async (db) => {
      const text = '[{"type": "identify", "messageId": "p", "userId": "u", "traits": {"__proto__": {"admin": true}}}]';
      expect(await ingestText(db, text)).toMatchObject({ accepted: 1 });
      expect(await stored(db, "select name from track.trait")).toEqual([{ name: "__proto__" }]);
    });
  });

  test("numbers are names as well", async () => {
    await worker(async (db) => {
      await ingest(db, [
        message({ userId: 42, properties: { item: 7 } }),
        message({ userId: "42", properties: { item: "7" } }),
      ]);
      const rows = await stored<Stored>(db, events);
      expect(rows.map(({ external_id, item }) => [external_id, item])).toEqual([
        ["42", "7"],
        ["42", "7"],
      ]);
    });
  });
});

describe("trust", () => {
  test("visitors send messages of a browser, learners of themselves, workers of any person", async () => {
    const asUser = message({ userId: "ada" });
    const asBrowser = message({ userId: undefined, anonymousId: "browser" });
    const refused = { accepted: 1, rejected: 1, errors: [{ index: 0, code: "CF005" }] };
    await visitor(async (db) => expect(await ingest(db, [asUser, asBrowser])).toMatchObject(refused));
    await learner("ben", async (db) => expect(await ingest(db, [asUser, asBrowser])).toMatchObject(refused));
    await learner("ada", async (db) => expect(await ingest(db, [asUser, asBrowser])).toMatchObject({ accepted: 2 }));
    await worker(async (db) => expect(await ingest(db, [asUser, asBrowser])).toMatchObject({ accepted: 2 }));
    // A visitor stays a visitor, whatever the setting; a learner without a name is not signed in.
    await database.as("insights_visitor", { "insights.person": "ada" }, async (db) =>
      expect(await ingest(db, [asUser, asBrowser])).toMatchObject(refused),
    );
    await database.as("insights_learner", {}, async (db) =>
      expect(await ingest(db, [asUser, asBrowser])).toMatchObject(refused),
    );
    await database.as("insights_analyst", { "insights.person": "ada" }, async (db) =>
      expect(await ingest(db, [asUser, asBrowser])).toMatchObject({ accepted: 2 }),
    );
    await database.as("insights_analyst", {}, async (db) =>
      expect(await ingest(db, [asUser, asBrowser])).toMatchObject(refused),
    );
    await database.as("insights_reader", {}, async (db) =>
      expect(await db.rejects("select track.ingest('[]')")).toMatchObject({ code: "42501" }),
    );
  });

  test("an alias is for servers", async () => {
    const alias = message({ type: "alias", previousId: "ben", userId: "ada" });
    await learner("ada", async (db) =>
      expect(await ingest(db, [alias])).toMatchObject({ rejected: 1, errors: [{ code: "CF005" }] }),
    );
    await worker(async (db) => expect(await ingest(db, [alias])).toMatchObject({ accepted: 1 }));
  });

  test.skipIf(!database.native)(
    "a login that has not switched to a role is judged by its memberships (needs logins)",
    async () => {
      await database.query("drop role if exists insights_test_website");
      await database.query("create role insights_test_website login in role insights_visitor");
      try {
        const client = await database.pool.connect();
        try {
          await client.query("begin");
          await client.query("set local session authorization insights_test_website");
          const { rows } = await client.query("select rejected from track.ingest($1)", [JSON.stringify([message()])]);
          expect(rows).toEqual([{ rejected: 1 }]);
        } finally {
          await client.query("rollback").finally(() => client.release());
        }
      } finally {
        await database.query("drop role insights_test_website");
      }
    },
  );

  test("nobody but servers can describe items", async () => {
    const said = {
      item: "course-1",
      itemKind: "course",
      itemTitle: "Free money",
      parent: "evil",
      url: "https://evil.example",
    };
    const item = "select kind, title, parent_item_id, url from track.item where external_id = 'course-1'";
    const unknown = { kind: "unknown", title: null, parent_item_id: null, url: null };
    await learner("ada", async (db) => {
      await ingest(db, [message({ properties: said }), message({ type: "page", properties: { ...said, title: "x" } })]);
      expect(await stored(db, item)).toEqual([unknown]);
      expect(await stored(db, "select from track.item")).toHaveLength(1);
    });
    await visitor(async (db) => {
      // Neither by a page nor by a screen of that name.
      const browser = { userId: undefined, anonymousId: "browser" };
      await ingest(db, [
        message({
          ...browser,
          type: "page",
          properties: { path: "course-1", title: "x", url: "https://evil.example" },
        }),
        message({ ...browser, type: "screen", name: "course-1" }),
        message({ ...browser, type: "page", properties: { path: "/about" } }),
      ]);
      expect(await stored(db, item)).toEqual([unknown]);
      expect(await stored(db, "select kind from track.item where external_id = '/about'")).toEqual([{ kind: "page" }]);
    });
    await worker(async (db) => {
      await ingest(db, [message({ properties: said })]);
      expect(await stored(db, item)).toMatchObject([{ kind: "course", title: "Free money" }]);
    });
  });
});

describe("items", () => {
  test("are made when first named, and gaps are filled later", async () => {
    await worker(async (db) => {
      const item =
        "select kind, title, url, (select external_id from track.item as parent where parent.item_id = item.parent_item_id) as parent from track.item where external_id = 't'";
      await ingest(db, [message({ properties: { item: "t" } })]);
      expect(await stored(db, item)).toEqual([{ kind: "unknown", title: null, url: null, parent: null }]);
      await ingest(db, [message({ properties: { item: "t", itemKind: "task", parent: "m" } })]);
      await ingest(db, [
        message({ type: "page", properties: { item: "t", title: "Limits", url: "https://x.example/t" } }),
      ]);
      const full = [{ kind: "task", title: "Limits", url: "https://x.example/t", parent: "m" }];
      expect(await stored(db, item)).toEqual(full);
      // Known values stay.
      await ingest(db, [message({ properties: { item: "t", itemKind: "video", itemTitle: "Other", parent: "n" } })]);
      expect(await stored(db, item)).toEqual(full);
    });
  });

  test("of one batch may be parts of each other in any order, and the tree is closed", async () => {
    await worker(async (db) => {
      await ingest(db, [
        message({ properties: { item: "page", parent: "module" } }),
        message({ properties: { item: "module", parent: "course", itemKind: "module" } }),
        message({ properties: { item: "course", itemKind: "course" } }),
      ]);
      expect(
        await stored(
          db,
          "select ancestor.external_id, depth from track.item_ancestor join track.item using (item_id) join track.item as ancestor on ancestor.item_id = ancestor_item_id where item.external_id = 'page' order by depth",
        ),
      ).toEqual([
        { external_id: "page", depth: 0 },
        { external_id: "module", depth: 1 },
        { external_id: "course", depth: 2 },
      ]);
    });
  });

  test("that would be parts of each other lose the parent that closes the circle, and nothing else", async () => {
    await worker(async (db) => {
      const result = await ingest(db, [
        message({ properties: { item: "a", parent: "b", itemKind: "module" } }),
        message({ properties: { item: "b", parent: "c" } }),
        message({ properties: { item: "c", parent: "a", itemTitle: "C" } }),
        message({ properties: { item: "self", parent: "self" } }),
        message({ properties: { item: "fine", parent: "a" } }),
      ]);
      expect(result).toMatchObject({ accepted: 5, rejected: 0 });
      const parents = await stored<{ item: string; parent: string | null }>(
        db,
        "select item.external_id as item, parent.external_id as parent from track.item left join track.item as parent on parent.item_id = item.parent_item_id order by 1",
      );
      expect(parents).toEqual([
        { item: "a", parent: "b" },
        { item: "b", parent: "c" },
        { item: "c", parent: null },
        { item: "fine", parent: "a" },
        { item: "self", parent: null },
      ]);
      expect(
        await stored(db, "select kind, title from track.item where external_id in ('a', 'c') order by external_id"),
      ).toEqual([
        { kind: "module", title: null },
        { kind: "unknown", title: "C" },
      ]);
      // Later messages cannot close it either.
      expect(await ingest(db, [message({ properties: { item: "c", parent: "a" } }), message()])).toMatchObject({
        accepted: 2,
      });
    });
  });
});

describe("traits", () => {
  test("hold as last said, by time of the message, whatever the order of arrival", async () => {
    const say = (plan: unknown, minute: number) =>
      message({ type: "identify", traits: { plan }, timestamp: `2026-03-01T00:0${minute}:00Z` });
    const sayings = [say("free", 1), say("pro", 3), say("team", 3), say("basic", 2)];
    for (const order of [sayings, sayings.toReversed(), [sayings[2], sayings[0], sayings[1], sayings[3]]]) {
      await worker(async (db) => {
        for (const one of order) await ingest(db, [one]);
        expect(await stored(db, "select value from track.trait where name = 'plan'")).toEqual([{ value: "team" }]);
      });
      await worker(async (db) => {
        await ingest(db, order);
        expect(await stored(db, "select value from track.trait where name = 'plan'")).toEqual([{ value: "team" }]);
      });
    }
  });

  test("of identify may be in its context, where a trait of the message itself has precedence", async () => {
    await worker(async (db) => {
      const identify = (fields: Message) => message({ type: "identify", event: undefined, ...fields });
      expect(
        await ingest(db, [
          identify({
            userId: "both",
            context: { traits: { plan: "pro", country: "IN", timezone: "Asia/Tokyo" }, timezone: "Asia/Kolkata" },
            traits: { plan: "basic", n: 1 },
          }),
          identify({ userId: "context", anonymousId: "b", context: { traits: { plan: "pro", country: "IN" } } }),
          identify({ userId: "neither", traits: null, context: { traits: null } }),
          // Later events repeat the traits of the last identify.
          message({ userId: "repeated", context: { traits: { plan: "old" } } }),
          message({ type: "page", event: undefined, userId: "repeated", context: { traits: "x" } }),
          message({
            type: "group",
            event: undefined,
            userId: "repeated",
            groupId: "g",
            context: { traits: { size: 3 } },
          }),
        ]),
      ).toMatchObject({ accepted: 6, rejected: 0 });
      expect(
        await stored(
          db,
          "select external_id, name, value from track.trait join track.identity using (identity_id) order by 1, 2",
        ),
      ).toEqual([
        { external_id: "both", name: "country", value: "IN" },
        { external_id: "both", name: "n", value: 1 },
        { external_id: "both", name: "plan", value: "basic" },
        { external_id: "both", name: "timezone", value: "Asia/Kolkata" },
        { external_id: "context", name: "country", value: "IN" },
        { external_id: "context", name: "plan", value: "pro" },
      ]);
    });
  });

  test("a time zone is a word, or it is left out", async () => {
    await worker(async (db) => {
      for (const context of ["timezone", ["timezone"], { timezone: { a: 1 } }, { timezone: null }, { timezone: 5 }]) {
        expect(await ingest(db, [message({ context })])).toMatchObject({ accepted: 1 });
      }
      expect(await stored(db, "select name, value from track.trait")).toEqual([]);
    });
  });
});
