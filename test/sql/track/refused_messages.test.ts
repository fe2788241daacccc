import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

const refused = (db: Queries): Promise<unknown> =>
  db.rows(
    "select source, level, code, messages, day = (now() at time zone 'UTC')::date as today from track.refused_messages()",
  );

test("counts refused messages by source, level, code and day", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      message(),
      message({ event: "" }),
      message({ messageId: "x".repeat(300) }),
      message({ event: "" }),
    ]);
    await ingest(db, [message({ type: "tracks" })]);
    await db.query("set local role insights_visitor");
    await ingest(db, [message({ userId: "ada" })]);
    await db.query("set local role insights_analyst");
    expect(await refused(db)).toEqual([
      { source: "default", level: "server", code: "CF001", messages: "3", today: true },
      { source: "default", level: "anonymous", code: "CF005", messages: "1", today: true },
      { source: "default", level: "server", code: "CF008", messages: "1", today: true },
    ]);
    expect(await db.rows("select from track.refused_messages('2001-01-01', '2001-12-31')")).toEqual([]);
  });
});

test("samples hold types and no values, also of messages that are not objects or have fields of their own", async () => {
  const secret = "nuria.almeida@example.org";
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      {
        type: secret,
        messageId: secret,
        userId: secret,
        [secret]: secret,
        properties: { [secret]: secret },
        context: [secret],
        timestamp: 5,
      },
      secret,
    ]);
    const samples = await db.rows("select code, hint, fields from track.refusal_sample order by code");
    expect(samples).toEqual([
      {
        code: "CF001",
        hint: "Use track, page, screen, identify, alias or group.",
        fields: {
          type: "string of 25",
          messageId: "string of 25",
          userId: "string of 25",
          properties: "object",
          context: "array of 1",
          timestamp: "number",
        },
      },
      { code: "CF009", hint: 'Send an object such as {"type": "track", …}.', fields: {} },
    ]);
  });
});

test("a flood leaves ten samples of a source, code and day", async () => {
  await database.as("postgres", {}, async (db) => {
    for (let batch = 0; batch < 15; batch += 1) await ingest(db, [message({ event: "" }), message({ event: "" })]);
    expect(await db.value("select count(*) from track.refusal_sample")).toBe("10");
    expect(await db.value("select sum(messages) from track.refused_messages()")).toBe("30");
  });
});

test("analysts read the counts, administrators also the samples", async () => {
  expect(await rolesThatMay(database, "select track.refused_messages()")).toEqual(["analyst", "admin", "worker"]);
  expect(await rolesThatMay(database, "select from track.refusal_sample")).toEqual(["admin"]);
});
