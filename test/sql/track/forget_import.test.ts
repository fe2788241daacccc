import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "./messages.ts";

const database = await testDatabase();

async function imported(db: Queries, source: string, messages: Record<string, unknown>[]): Promise<unknown> {
  await db.query("select set_config('insights.source', $1, true)", [source]);
  const result = await db.rows("select accepted, duplicates, rejected from track.ingest($1)", [
    JSON.stringify(
      messages.map((message, index) => ({
        type: "track",
        messageId: `${index}`,
        timestamp: new Date(Date.UTC(2026, 0, 1 + 20 * (index % 3), 10, index)).toISOString(),
        ...message,
      })),
    ),
  ]);
  await db.query("select set_config('insights.source', '', true)");
  return result[0];
}

const wrong = Array.from({ length: 9 }, (_, index) => ({
  userId: index % 3 === 0 ? "ada" : `wrong-${index}`,
  event: index % 2 === 0 ? "Page Viewed" : "Wrong Event",
  properties: { item: `wrong/${index}`, itemTitle: "Wrong", parent: "wrong" },
}));

async function removed(db: Queries, source: string, most = 4): Promise<Record<string, unknown>[]> {
  const steps: Record<string, unknown>[] = [];
  for (;;) {
    const [row] = await db.rows<Record<string, unknown>>("select * from track.forget_import($1, $2)", [source, most]);
    if (row === undefined) throw new Error("no row");
    steps.push(row);
    if (row["completed_at"] !== null || steps.length > 100) return steps;
  }
}

test("steps delete what came with the import, and its people, items and types of events", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "app", [{ userId: "ada", event: "Task Submitted", properties: { item: "right" } }]);
    expect(await imported(db, "moodle", wrong)).toMatchObject({ accepted: 9 });
    await refresh(db);
    const steps = await removed(db, "moodle");
    // Person by person; then items, and the rest.
    expect(steps.map((step) => step["event_count"])).toEqual(["4", "8", "9", "9", "9"]);
    // wrong and wrong/0 to wrong/8.
    expect(steps.at(-1)).toMatchObject({ name: "moodle", event_count: "9", person_count: "6", item_count: "10" });
    expect(await db.rows("select external_id from track.item")).toEqual([{ external_id: "right" }]);
    expect(await db.rows("select external_id from track.identity where identity_id <> 0 order by external_id")).toEqual(
      [{ external_id: "ada" }],
    );
    expect(await db.rows("select from track.event_type where name = 'Wrong Event'")).toHaveLength(0);
    expect(await db.value("select count(*)::int from track.event")).toBe(1);
    expect(await db.rows("select from track.session")).toHaveLength(1);
    expect(await db.rows("select from track.source where name like 'moodle%'")).toHaveLength(0);
    expect(await db.rows("select from track.forgotten_item")).toHaveLength(0);
  });
});

test("the same file is stored again afterwards, also while the first import is being removed", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", wrong);
    // Their hashes are packed, without their source.
    await db.query("select track.pack_messages()");
    await db.query("select * from track.forget_import('moodle', 2)");
    expect(await imported(db, "moodle", wrong)).toMatchObject({ accepted: 9, duplicates: 0 });
    await removed(db, "moodle");
    expect(await db.value("select count(*)::int from track.event")).toBe(9);
    // Only now the second one.
    await removed(db, "moodle");
    expect(await db.value("select count(*)::int from track.event")).toBe(0);
    expect(await db.value("select count(*)::int from track.forgotten_import where completed_at is not null")).toBe(2);
  });
});

test("a further call changes nothing, and returns the history", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", wrong);
    const steps = await removed(db, "moodle");
    expect(await removed(db, "moodle")).toEqual(steps.slice(-1));
  });
});

test("settings of the source apply to the next import", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", wrong);
    await db.query("update track.source set is_automatic = true where name = 'moodle'");
    await removed(db, "moodle");
    expect(await db.rows("select is_automatic from track.source where name = 'moodle'")).toEqual([
      { is_automatic: true },
    ]);
  });
});

test("people stay whom something else names: an enrolment, a trait, a role, a set, a decision", async () => {
  await database.as("postgres", {}, async (db) => {
    const names = ["enrolled", "described", "teacher", "listed", "decided", "excluded", "nothing"];
    await imported(
      db,
      "moodle",
      names.map((userId) => ({ userId, event: "Wrong Event" })),
    );
    await db.query("create table pg_temp.items as select 'c' as external_id, 'course' as kind");
    await db.query("select track.sync_items('pg_temp.items')");
    await db.query(
      "create table pg_temp.enrolments as select 'enrolled' as person, 'c' as item, 'active' as status, now() as enrolled_at",
    );
    await db.query("select track.sync_enrolments('pg_temp.enrolments')");
    await db.query("create table pg_temp.roles as select 'teacher' as person, 'c' as item, 'instructor' as role");
    await db.query("select track.sync_item_roles('pg_temp.roles')");
    await db.query("select track.ingest($1)", [
      JSON.stringify([{ type: "identify", messageId: "t", userId: "described", traits: { plan: "pro" } }]),
    ]);
    await db.query("select track.set_person_set('pilot', array[track.find_person('listed')], 'The pilot.')");
    await db.query("select track.exclude_person('excluded', 'test')");
    await db.query("select track.ingest($1)", [
      JSON.stringify([
        {
          type: "track",
          messageId: "d",
          userId: "decided",
          event: "Segment Consent Preference Updated",
          context: { consent: { categoryPreferences: { personalization: false } } },
        },
      ]),
    ]);
    await removed(db, "moodle", 100);
    const left = (
      await db.rows<{ name: string }>("select external_id as name from track.identity where identity_id <> 0")
    ).map(({ name }) => name);
    expect(left).toEqual(expect.arrayContaining(["enrolled", "described", "teacher", "listed", "decided", "excluded"]));
    expect(left).not.toContain("nothing");
    expect(await db.value("select track.find_person('nothing')")).toBeNull();
  });
});

test("events of people whose data is restricted stay until the restriction ends", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", wrong);
    await db.query("select privacy.restrict_person('ada', 'accuracy')");
    expect((await removed(db, "moodle")).at(-1)).toMatchObject({ event_count: "6", kept_event_count: "3" });
    expect(await db.value("select count(*)::int from track.event")).toBe(3);
    await db.query("select privacy.lift_restriction('ada')");
    expect((await removed(db, "moodle")).at(-1)).toMatchObject({ event_count: "9", kept_event_count: "0" });
    expect(await db.value("select count(*)::int from track.event")).toBe(0);
  });
});

test("names that are not those of an import are refused", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", wrong.slice(0, 1));
    await db.query("select track.create_write_key('campus website')");
    await db.query("select track.create_write_key('grades', 'server')");
    await db.query("savepoint here");
    const refused = async (source: string | null, most = 10): Promise<unknown> => {
      const error = await db
        .query("select track.forget_import($1, $2)", [source, most])
        .catch((error: unknown) => error);
      await db.query("rollback to here");
      return error;
    };
    expect(await refused("modle")).toMatchObject({
      code: "CF002",
      message: 'there is no import "modle"',
      hint: expect.stringMatching(/^Did you mean "moodle"\?/),
    });
    expect(await refused(null)).toMatchObject({ code: "CF002" });
    expect(await refused("x".repeat(5000))).toMatchObject({
      code: "CF002",
      message: expect.stringMatching(/^.{1,150}$/),
    });
    expect(await refused("default")).toMatchObject({ code: "CF001" });
    expect(await refused("grades")).toMatchObject({ code: "CF005" });
    expect(await refused("moodle", 0)).toMatchObject({ code: "CF001" });
    expect(await refused("moodle", 100_001)).toMatchObject({ code: "CF001" });
  });
});

test("administrators only", async () => {
  expect(await rolesThatMay(database, "select track.forget_import('moodle')")).toEqual(["admin"]);
});
