import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

const admin = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const stored = async (db: Queries, properties: object, event = "Task Submitted"): Promise<unknown> => {
  const sent = message({ event, properties, timestamp: new Date(Date.UTC(2026, 0, 1)).toISOString() });
  await ingest(db, [sent]);
  return db.value("select properties from track.event order by received_at desc, event_id desc limit 1");
};

test("keeps the listed properties, and those that the system needs", async () => {
  await admin(async (db) => {
    await ingest(db, [message()]);
    await db.query("set local role insights_admin");
    expect(await db.value("select track.allow_properties('Task Submitted', '{score,attempt,score}')")).toEqual([
      "attempt",
      "score",
    ]);
    await db.query("set local role postgres");
    const needed = {
      item: "task-1",
      itemKind: "task",
      itemTitle: "Task",
      parent: "module-1",
      name: "n",
      title: "t",
      url: "https://campus.example/",
      path: "/",
      viewId: "v",
      interval: 5,
      duration: 3,
      servingId: "s",
      topic: "poetry",
      rating: 4,
      experiment_id: "e",
      experimentId: "e",
      variation_id: "v",
      variationId: 1,
    };
    expect(await stored(db, { ...needed, score: 7, attempt: 2, ssn: "123-45-6789", deep: { a: 1 } })).toEqual({
      ...needed,
      score: 7,
      attempt: 2,
    });
    expect(await stored(db, { ssn: "123-45-6789" })).toBeNull();
    expect(await db.rows("select event, property, kind, found::int as found from track.dropped_data()")).toEqual([
      { event: "Task Submitted", property: "properties.ssn", kind: "not_allowed", found: 2 },
      { event: "Task Submitted", property: "properties.deep", kind: "not_allowed", found: 1 },
    ]);
    expect(await db.value("select to_jsonb(found_data)::text like '%6789%' from track.found_data limit 1")).toBe(false);
    // Another event is not affected, and a further call adds.
    expect(await stored(db, { ssn: "1" }, "Task Viewed")).toEqual({ ssn: "1" });
    expect(await db.value("select track.allow_properties('Task Submitted', '{grade}')")).toEqual([
      "attempt",
      "grade",
      "score",
    ]);
    expect(await db.value("select track.allow_properties('Task Viewed', '{}')")).toEqual([]);
    expect(await stored(db, { ssn: "1", item: "x" }, "Task Viewed")).toEqual({ item: "x" });
  });
});

test("applies to the names that are merged into the event", async () => {
  await admin(async (db) => {
    await ingest(db, [message({ event: "Old Name" }), message({ event: "New Name" })]);
    await db.query("select track.merge_events('Old Name', 'New Name')");
    expect(await db.value("select track.allow_properties('Old Name', '{plan}')")).toEqual(["plan"]);
    expect(await stored(db, { plan: "pro", secret: 1 }, "New Name")).toEqual({ plan: "pro" });
    expect(await stored(db, { plan: "pro", secret: 1 }, "Old Name")).toEqual({ plan: "pro" });
    expect(await db.value("select sum(found)::int from track.dropped_data() where event = 'New Name'")).toBe(2);
  });
});

test("follows a name that is changed, and stays with each name when a merge is undone", async () => {
  await admin(async (db) => {
    const properties = { plan: "pro", secret: 1 };
    await ingest(db, [message({ event: "First" }), message({ event: "Target" })]);
    await db.query("select track.allow_properties('First', '{plan}')");
    await db.query("select track.rename_event('First', 'Second')");
    expect(await stored(db, properties, "First")).toEqual({ plan: "pro" });
    expect(await stored(db, properties, "Second")).toEqual({ plan: "pro" });
    await db.query("select track.unmerge_events('First')");
    expect(await stored(db, properties, "First")).toEqual({ plan: "pro" });
    // The target of a merge allows all: so do the names that mean it, until it is undone.
    await db.query("select track.merge_events('First', 'Target')");
    expect(await stored(db, properties, "First")).toEqual(properties);
    await db.query("select track.unmerge_events('First')");
    expect(await stored(db, properties, "First")).toEqual({ plan: "pro" });
  });
});

test("new types get the list of the setting, and keep it", async () => {
  await admin(async (db) => {
    await ingest(db, [message({ event: "Known" })]);
    await db.query("set local role insights_admin");
    await db.query("update track.setting set allowed_properties = '{plan}'");
    await db.query("set local role postgres");
    const properties = { plan: "pro", secret: 1 };
    expect(await stored(db, properties, "New")).toEqual({ plan: "pro" });
    expect(await stored(db, properties, "New")).toEqual({ plan: "pro" });
    expect(await stored(db, properties, "Known")).toEqual(properties);
    await db.query("update track.setting set allowed_properties = null");
    expect(await stored(db, properties, "New")).toEqual({ plan: "pro" });
    expect(await stored(db, properties, "Newer")).toEqual(properties);
  });
});

test("a decision about consent keeps all of its properties", async () => {
  await admin(async (db) => {
    await db.query("update track.setting set allowed_properties = '{}'");
    const event = "Segment Consent Preference Updated";
    await ingest(db, [
      message({
        event,
        properties: { consentVersion: "3", place: "banner" },
        context: { consent: { categoryPreferences: { analytics: true } } },
      }),
    ]);
    expect(await db.value("select properties ->> 'place' from track.event")).toBe("banner");
  });
  expect(
    await database.rejects("select track.allow_properties('Segment Consent Preference Updated', '{}')"),
  ).toMatchObject({ code: "CF001" });
});

test("a merge, or an erasure of the only person who used a type, keeps its list", async () => {
  await admin(async (db) => {
    await ingest(db, [message({ event: "Hers Alone", properties: { secret: 1 } }), message({ userId: "ben" })]);
    await db.query("select track.allow_properties('Hers Alone', '{}')");
    while ((await db.rows("select from track.refresh(100)")).length > 0);
    await db.query("select privacy.erase_person('ada')");
    expect(await db.value("select allowed_properties from track.event_type where name = 'Hers Alone'")).toEqual([]);
  });
});

test.each([
  ["'Task Sumbitted', '{a}'", "CF002", 'there is no event "Task Sumbitted"', 'Did you mean "Task Submitted"?'],
  ["null, '{a}'", "CF002", 'there is no event "null"', ""],
  ["'Task Submitted', null", "CF001", "properties is null", ""],
  ["'Task Submitted', '{a,\"\"}'", "CF001", 'a name in properties is ""', ""],
  ["'Task Submitted', '{a,null}'", "CF001", 'a name in properties is "null"', ""],
  ["'Task Submitted', array[repeat('x', 201)]", "CF001", `a name in properties is "${"x".repeat(100)}"`, ""],
  [
    "'Task Submitted', array(select 'p' || n from generate_series(1, 1001) as n)",
    "CF008",
    "properties has 1001 names",
    "",
  ],
])("allow_properties(%s) is %s", async (values, code, text, hint) => {
  await admin(async (db) => {
    await ingest(db, [message()]);
    await expect(db.query(`select track.allow_properties(${values})`)).rejects.toMatchObject({
      code,
      message: text,
      hint: expect.stringContaining(hint),
    });
  });
});

test("a list has 1,000 names at most, in several calls too", async () => {
  await admin(async (db) => {
    await ingest(db, [message()]);
    await db.query(
      "select track.allow_properties('Task Submitted', array(select 'p' || n from generate_series(1, 1000) as n))",
    );
    await expect(db.query("select track.allow_properties('Task Submitted', '{more}')")).rejects.toMatchObject({
      code: "CF008",
    });
  });
});

test("is for administrators", async () => {
  expect(await rolesThatMay(database, "select track.allow_properties('Page Viewed', '{}')")).toEqual(["admin"]);
});
