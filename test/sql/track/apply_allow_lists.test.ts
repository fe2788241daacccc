import { expect, test } from "vitest";
import { Random } from "../../../src/simulator/random.ts";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, type Message, message, refresh } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

/** Everything that is stored of events and traits, and derived from them. */
async function contents(db: Queries): Promise<unknown> {
  await refresh(db);
  // Names instead of keys, which the two histories do not share.
  const rows = (columns: string, table: string, order: string): Promise<unknown[]> =>
    db.rows(`
      select (select min(external_id) from track.identity where identity.person_id = given.person_id) as person, ${columns}
      from ${table} as given order by person, ${order}`);
  const keys = "'{person_id,item_id,session_id,identity_id,entry_item_id,exit_item_id,entry_event_id,exit_event_id}'";
  const item = "(select external_id from track.item where item.item_id = given.item_id)";
  const type = "(select name from track.event_type where event_type.event_type_id = given.event_type_id)";
  return {
    events: await rows(`occurred_at, ${type} as type, ${item} as item, properties`, "track.event", "occurred_at"),
    traits: await rows("name, value, set_at", "track.trait", "name"),
    history: await rows("name, set_at, value", "track.trait_history", "name, since"),
    sessions: await rows(
      "started_at, ended_at, event_count, view_starts, view_ends, view_engaged",
      "track.session",
      "started_at",
    ),
    values: await rows(
      `since, (select event_type.name || declared.property from track.declared_property as declared
         join track.event_type using (event_type_id) where declared.property_id = given.property_id) as property,
       (select array_agg(property_value.value order by place)
         from unnest(value_ids) with ordinality as entry (value_id, place)
         left join track.property_value using (value_id)) as given`,
      "track.step_value",
      "property, since",
    ),
    interactions: await rows(
      `${item} as item, to_jsonb(given) - ${keys}::text[] as row`,
      "recommend.interaction",
      "item",
    ),
  };
}

/** A history of several months and people, with properties and traits that a list will not allow. */
function history(seed: string): Message[] {
  const random = new Random(seed);
  return Array.from({ length: 120 }, (_, index) => {
    const at = new Date(Date.UTC(2026, random.integer(0, 3), random.integer(1, 28), random.integer(0, 23), index % 60));
    const fields = {
      messageId: `${seed}-${index}`,
      userId: `person-${random.integer(1, 4)}`,
      timestamp: at.toISOString(),
    };
    if (random.chance(0.2)) {
      const traits = { plan: `p${random.integer(1, 2)}`, city: `c${random.integer(1, 2)}` };
      return message({ ...fields, type: "identify", event: undefined, traits });
    }
    return message({
      ...fields,
      event: ["Task Submitted", "Task Viewed", "Course Rated"][random.integer(0, 2)],
      properties: {
        item: `item-${random.integer(1, 5)}`,
        viewId: `v${random.integer(1, 9)}`,
        ...(random.chance(0.7) ? { rating: random.integer(1, 5) } : {}),
        ...(random.chance(0.7) ? { level: `l${random.integer(1, 3)}` } : {}),
        ...(random.chance(0.5) ? { secret: `s${index}` } : {}),
      },
    });
  });
}

const lists = `
  select track.allow_properties('Task Submitted', '{level}');
  select track.allow_properties('Course Rated', '{}');
  select track.allow_traits('{plan}');
`;

const declare = `
  insert into track.event_type (name) values ('Task Submitted'), ('Task Viewed'), ('Course Rated') on conflict do nothing;
  select track.declare_property('Task Submitted', 'level');
  select track.declare_property('Task Submitted', 'secret');
  select track.declare_property('Course Rated', 'level');
`;

test.each(["a", "b", "c"])("stored events are what a list would have left that was always there (%s)", async (seed) => {
  const messages = history(seed);
  const always = await owner(async (db) => {
    await db.query(declare);
    await db.query(lists);
    await ingest(db, messages);
    return contents(db);
  });
  const later = await owner(async (db) => {
    await db.query(declare);
    await ingest(db, messages.slice(0, 90));
    await refresh(db);
    await db.query(lists);
    await ingest(db, messages.slice(90));
    let calls = 0;
    while ((await db.value<number>("select track.apply_allow_lists(7)")) > 0) calls += 1;
    expect(calls).toBeGreaterThan(3);
    expect(await db.value("select count(*) from track.disallowed_month")).toBe("0");
    return contents(db);
  });
  expect(later).toEqual(always);
});

test("changes at most the given number of rows, the latest month first, and no event of another type", async () => {
  await owner(async (db) => {
    const event = (day: string, type = "Task Submitted"): Message =>
      message({ event: type, properties: { secret: day }, timestamp: `${day}T09:00:00Z` });
    await ingest(db, [
      event("2026-01-05"),
      event("2026-02-05"),
      event("2026-03-05"),
      event("2026-03-05", "Task Viewed"),
    ]);
    await db.query("select track.allow_properties('Task Submitted', '{}')");
    const left = (): Promise<unknown> =>
      db.value(
        "select array_agg(properties ->> 'secret' order by occurred_at) from track.event where properties is not null",
      );
    expect(await db.value("select track.apply_allow_lists(1)")).toBe(1);
    expect(await left()).toEqual(["2026-01-05", "2026-02-05", "2026-03-05"]);
    await db.query("set local role insights_worker");
    expect(await db.value("select track.apply_allow_lists()")).toBe(2);
    expect(await db.value("select track.apply_allow_lists()")).toBe(0);
    await db.query("set local role postgres");
    expect(await left()).toEqual(["2026-03-05"]);
    // A list that is empty again finds nothing, and one more name neither.
    await db.query("select track.allow_properties('Task Submitted', '{secret}')");
    expect(await db.value("select track.apply_allow_lists()")).toBe(0);
  });
});

test("applies the list of the target to merged events", async () => {
  await owner(async (db) => {
    await ingest(db, [
      message({ event: "Old", properties: { secret: 1, plan: 2 } }),
      message({ event: "New", properties: { secret: 1, plan: 2 } }),
    ]);
    await db.query("select track.allow_properties('New', '{plan}')");
    expect(await db.value("select track.apply_allow_lists()")).toBe(1);
    await db.query("select track.merge_events('Old', 'New')");
    await db.query("select track.allow_properties('New', '{}')");
    expect(await db.value("select track.apply_allow_lists()")).toBe(1);
    expect(await db.rows("select distinct properties from track.event")).toEqual([{ properties: { plan: 2 } }]);
  });
});

test.each(["0", "-1", "null", "1000001"])("apply_allow_lists(%s) is CF001", async (rows) => {
  expect(await database.rejects(`select track.apply_allow_lists(${rows})`)).toMatchObject({ code: "CF001" });
});

test("is for administrators and workers", async () => {
  expect(await rolesThatMay(database, "select track.apply_allow_lists()")).toEqual(["admin", "worker"]);
});
