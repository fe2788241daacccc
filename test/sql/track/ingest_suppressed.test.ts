import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, type Message, message } from "./messages.ts";
import { alias, browse, identify } from "./names.ts";

/* Names of people who were erased. */
const database = await testDatabase();

const suppressed = <T>(work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("postgres", {}, async (db) => {
    await ingest(db, [message(), identify("b7", "ada"), message({ userId: "ben" })]);
    await db.query("select privacy.erase_person('ada')");
    return work(db);
  });
const decide = (fields: Message): Message =>
  message({
    event: "Segment Consent Preference Updated",
    context: { consent: { categoryPreferences: { analytics: true } } },
    ...fields,
  });
const names = (db: Queries) => db.rows("select external_id from track.identity where identity_id <> 0 order by 1");
const ben = [{ external_id: "ben" }];

test("each message that names her is refused with an error of its own, and nothing of it is stored", async () => {
  await suppressed(async (db) => {
    const result = await ingest(db, [
      message({ event: "New Event", properties: { item: "new-item" } }),
      browse("b7"),
      identify("b7", "ben"),
      alias("ada", "ben"),
      alias("b7", "ben"),
      message({ type: "identify", traits: { plan: "pro" } }),
      message({ userId: "ben", anonymousId: "b7" }),
      message({ userId: "b7" }),
    ]);
    expect(result).toMatchObject({ accepted: 2, rejected: 6 });
    expect(result.errors.map(({ index, code, message: text }) => [index, code, text])).toEqual([
      [0, "CF005", 'the data of "ada" was erased'],
      [1, "CF005", 'the data of "b7" was erased'],
      [2, "CF005", 'the data of "b7" was erased'],
      [3, "CF005", 'the data of "ada" was erased'],
      [4, "CF005", 'the data of "b7" was erased'],
      [5, "CF005", 'the data of "ada" was erased'],
    ]);
    expect(await names(db)).toEqual([{ external_id: "b7" }, ...ben]);
    expect(await db.value("select kind from track.identity where external_id = 'b7'")).toBe("user");
    expect(await db.value("select count(*)::int from track.item where external_id = 'new-item'")).toBe(0);
    expect(await db.value("select count(*)::int from track.event_type where name = 'New Event'")).toBe(0);
  });
});

test("a new consent of hers counts from its time on, for what comes before it in the batch, too", async () => {
  await suppressed(async (db) => {
    const now = Date.now();
    const at = (milliseconds: number) => new Date(now + milliseconds).toISOString();
    const result = await ingest(db, [
      message({ timestamp: at(-1000) }),
      message({ timestamp: at(3000), receivedAt: at(3000) }),
      decide({ timestamp: at(2000), receivedAt: at(3000) }),
    ]);
    expect(result.errors.map(({ index, code }) => [index, code])).toEqual([[0, "CF005"]]);
    expect(await ingest(db, [message({ timestamp: at(-500) })])).toMatchObject({ accepted: 0, rejected: 1 });
    expect(await ingest(db, [message({ timestamp: at(4000), receivedAt: at(4000) })])).toMatchObject({ accepted: 1 });
    expect(await ingest(db, [browse("b7")])).toMatchObject({ rejected: 1 });
  });
});

test.each([
  ["a refusal", { context: { consent: { categoryPreferences: { analytics: false } } } }],
  ["a grant of an unknown purpose", { context: { consent: { categoryPreferences: { nonsense: true } } } }],
  ["a grant of before the erasure", { timestamp: "2026-01-01T00:00:00Z" }],
  ["preferences in another message", { event: "Task Submitted" }],
])("%s does not end it", async (_, fields) => {
  await suppressed(async (db) => {
    const result = await ingest(db, [decide(fields)]);
    expect(result).toMatchObject({ accepted: 0, rejected: 1 });
    expect(await names(db)).toEqual(ben);
  });
});

test("of a browser, a server may consent; a visitor cannot, because an anonymousId is a name and not a proof", async () => {
  await suppressed(async (db) => {
    const anonymous = { userId: undefined, anonymousId: "b7" };
    await db.query("set local role insights_visitor");
    expect(await ingest(db, [decide(anonymous), browse("b7")])).toMatchObject({ accepted: 0, rejected: 2 });
    await db.query("reset role");
    await db.query("set local role insights_worker");
    expect(await ingest(db, [decide(anonymous), browse("b7")])).toMatchObject({ accepted: 2, rejected: 0 });
  });
});

test("a signed-in person consents for herself, in a message or by record_my_consent; a refusal stores nothing", async () => {
  await suppressed(async (db) => {
    await db.query("savepoint before");
    for (const way of ["message", "call"]) {
      await db.query("set local role insights_learner");
      await db.query("set local insights.person to 'ada'");
      expect(await ingest(db, [message()])).toMatchObject({ rejected: 1 });
      if (way === "message") expect(await ingest(db, [decide({})])).toMatchObject({ accepted: 1 });
      else {
        await db.query("savepoint refusal");
        expect(await db.rejects("select track.record_my_consent('analytics', false)")).toMatchObject({ code: "CF005" });
        await db.query("rollback to refusal");
        await db.query("select track.record_my_consent('analytics', true)");
      }
      expect(await ingest(db, [message()])).toMatchObject({ accepted: 1 });
      await db.query("rollback to before");
    }
  });
});

test("tables of the application do not bring her back", async () => {
  await suppressed(async (db) => {
    await db.query(
      "create temp table enrolments as select unnest('{ada,ben}'::text[]) as person, 'course' as item, now() as enrolled_at",
    );
    expect(await db.rows("select * from track.sync_enrolments('enrolments')")).toEqual([
      { inserted: 1, updated: 0, unchanged: 0 },
    ]);
    await db.query(
      "create temp table roles as select unnest('{ada,ben}'::text[]) as person, 'course' as item, 'author' as role",
    );
    expect(await db.rows("select * from track.sync_item_roles('roles')")).toEqual([
      { inserted: 1, updated: 0, unchanged: 0 },
    ]);
    expect(await names(db)).toEqual(ben);
  });
});

test("signals of a browser about her are not recorded", async () => {
  await suppressed(async (db) => {
    await db.query("set local role insights_learner");
    await db.query("set local insights.person to 'ada'");
    await db.query("set local insights.opt_out to 'gpc'");
    expect(await ingest(db, [message()])).toMatchObject({ rejected: 1 });
    await db.query("reset role");
    expect(await names(db)).toEqual(ben);
  });
});
