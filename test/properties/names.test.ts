import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/* However names are changed and changed back, and whenever messages arrive, the result is that of the final names. */
const database = await testDatabase();

const events = ["Task Submitted", "Page Viewed", "page_view", "task_submitted", "Clicked"];
const parents: Record<string, string | undefined> = {
  "course-a": undefined,
  "course-b": undefined,
  "page-1": "course-a",
  "page-2": "course-b",
  "task-1": "page-1",
};
const items = Object.keys(parents);
const people = ["ada", "ben", "browser-1", "browser-2"];
const start = Date.UTC(2026, 0, 28);

const event = fc.constantFrom(...events);
const item = fc.constantFrom(...items);

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      what: fc.constant("send"),
      messages: fc.array(
        fc.record({
          who: fc.constantFrom(...people),
          event,
          item: fc.option(item, { freq: 5 }),
          minute: fc.integer({ min: 0, max: 60 * 24 * 8 }),
          described: fc.boolean(),
        }),
        { minLength: 1, maxLength: 6 },
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ what: fc.constant("merge_events"), one: event, other: event }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("unmerge_events"), one: event }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("rename_event"), one: event }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant("merge_items"), one: item, other: item }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("unmerge_item"), one: item }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("rename_item"), one: item }) },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("enrol"),
      one: fc.constantFrom("ada", "ben"),
      // An item without a kind becomes a course: of another item, the first of the two statements counts.
      item: fc.constantFrom("course-a", "course-b"),
      day: fc.integer({ min: 1, max: 28 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("identify"),
      one: fc.constantFrom("ada", "ben"),
      other: fc.constantFrom("browser-1", "browser-2"),
    }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("refresh"), most: fc.integer({ min: 1, max: 3 }) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The names as a forest: what each was merged into. */
class Names {
  readonly targets = new Map<string, string>();
  readonly known: Set<string>;

  constructor(known: string[]) {
    this.known = new Set(known);
  }

  root(name: string): string {
    const target = this.targets.get(name);
    return target === undefined ? name : this.root(target);
  }

  /** Whether the merge is accepted. */
  merge(name: string, target: string): boolean {
    if (this.targets.get(name) === target) return true;
    if (this.targets.has(name) || this.root(target) === name) return false;
    this.known.add(target);
    this.targets.set(name, target);
    return true;
  }
}

interface World {
  /** The events and decisions that were sent, under the names that they were sent with. */
  sent: Message[];
  enrolled: [string, string, string][];
  changes: [string, unknown[]][];
  events: Names;
  items: Names;
}

async function seed(db: Queries): Promise<void> {
  await ingest(
    db,
    events.flatMap((name) =>
      items.map((external) => ({
        type: "track",
        messageId: `seed ${name} ${external}`,
        userId: "catalogue",
        event: name,
        timestamp: "2026-01-01T00:00:00Z",
        properties: { item: external },
      })),
    ),
  );
}

async function enrol(db: Queries, rows: [string, string, string][]): Promise<void> {
  for (const [person, external, at] of rows) {
    await db.query(
      `create or replace temporary view enrolled as
       select '${person}'::text as person, '${external}'::text as item, '${at}'::timestamptz as enrolled_at`,
    );
    await db.query("select track.sync_enrolments('pg_temp.enrolled')");
  }
}

async function take(db: Queries, world: World, step: Step, index: number): Promise<void> {
  const change = async (call: string, values: unknown[], isAccepted: boolean, mostEvents: number): Promise<void> => {
    await db.query("savepoint change");
    const marks = values.map((_, place) => `$${place + 1}`).join(", ");
    try {
      await db.query(`select track.${call}(${marks}, most_events => ${mostEvents})`, values);
      expect(isAccepted, `${call} ${values}`).toBe(true);
      world.changes.push([call, values]);
    } catch (error) {
      if ((error as { code?: string }).code !== "CF001") throw error;
      expect(isAccepted, `${call} ${values}: ${error}`).toBe(false);
      await db.query("rollback to change");
    }
  };
  // Some changes are left to the refresh, partly or completely.
  const mostEvents = [0, 2, 100000][index % 3] as number;
  if ("messages" in step) {
    const batch = step.messages.map(
      ({ who, event, item, minute, described }, place): Message => ({
        type: "track",
        messageId: `m ${index} ${place}`,
        ...(who.startsWith("browser") ? { anonymousId: who } : { userId: who }),
        event,
        timestamp: new Date(start + minute * 60_000).toISOString(),
        properties: {
          ...(item === null ? {} : { item }),
          ...(item !== null && described
            ? { itemKind: item.split("-")[0], itemTitle: `Title of ${item}`, parent: parents[item] }
            : {}),
        },
      }),
    );
    await ingest(db, batch);
    world.sent.push(...batch);
  } else if ("day" in step) {
    const row: [string, string, string] = [step.one, step.item, `2026-01-${step.day}T00:00:00Z`];
    await enrol(db, [row]);
    world.enrolled.push(row);
  } else if ("most" in step) {
    for (let n = 0; n < step.most; n++) await db.query("select from track.refresh(1)");
  } else if (step.what === "identify") {
    const said = { type: "identify", messageId: `i ${index}`, userId: step.one, anonymousId: step.other };
    const batch = [{ ...said, timestamp: new Date(start + index * 3_600_000).toISOString() }];
    await ingest(db, batch);
    world.sent.push(...batch);
  } else {
    const isItem = step.what.includes("item");
    const names = isItem ? world.items : world.events;
    const isReserved = step.one === "Page Viewed";
    if ("other" in step) {
      const isSame = step.one === step.other;
      await change(
        step.what,
        [step.one, step.other],
        !isReserved && !isSame && names.merge(step.one, step.other),
        mostEvents,
      );
    } else if (step.what.startsWith("unmerge")) {
      await change(step.what, [step.one], names.targets.delete(step.one), mostEvents);
    } else {
      const renamed = `${step.one} ${index}`;
      await change(step.what, [step.one, renamed], !isReserved && names.merge(step.one, renamed), mostEvents);
    }
  }
}

/** The stored and derived rows, with names instead of keys. */
async function read(db: Queries, withTree: boolean): Promise<Record<string, unknown>> {
  await refresh(db);
  expect(await db.value("select count(*)::int from track.renamed_month")).toBe(0);
  await db.query(
    `create or replace temporary view owner as
     select person_id, min(external_id) as person from track.identity where kind in ('user', 'anonymous') group by 1;
     create or replace temporary view thing as select item_id, external_id as item from track.item`,
  );
  const derived = {
    sessions: await db.rows(`
      select person, session_id, started_at, ended_at, event_count, view_count, engaged::text, engaged_by,
        entry.item as entry, exit_.item as exit
      from track.session join owner using (person_id)
      left join thing as entry on entry.item_id = entry_item_id left join thing as exit_ on exit_.item_id = exit_item_id
      order by session_id`),
    views: await db.rows(`
      select person, event_id, session_id, view_number, item, started_at, ended_at, engaged::text, engaged_by
      from track.page_view join owner using (person_id) left join thing using (item_id) order by event_id`),
    activity: await db.rows(`
      select person, day::text, event_type.name, item, event_count, engaged::text, automatic_count
      from track.activity_of(null, '-infinity', 'infinity') as activity join owner using (person_id)
      left join track.event_type using (event_type_id)
      left join thing using (item_id) order by person, day, name collate "C", item collate "C"`),
  };
  if (!withTree) return derived;
  await db.query("update analytics.setting set smallest_group = 1");
  const trends = [];
  for (const name of events)
    trends.push(await db.rows("select * from analytics.trend($1, 'day', '2026-01-28Z', '2026-02-06Z')", [name]));
  const popular = [];
  for (const measure of ["people", "events", "engaged"])
    popular.push(
      await db.rows(
        `select * from analytics.popular_items(null, '2026-01-28Z', '2026-02-06Z', '7 days', 20, '${measure}')`,
      ),
    );
  return {
    ...derived,
    trends,
    popular: popular.map((rows) =>
      rows.map((row) => Object.fromEntries(Object.entries(row).filter(([name]) => name !== "item_id"))),
    ),
    interactions: await db.rows(`
      select person, item, weight, event_count, first_at, last_at
      from recommend.interaction join owner using (person_id) join thing using (item_id) order by 1, 2`),
    items: await db.rows(`
      select external_id, kind, title, parent.item as parent, merged.item as merged
      from track.item left join thing as parent on parent.item_id = parent_item_id
      left join thing as merged on merged.item_id = merged_item_id order by external_id collate "C"`),
    ancestors: await db.rows(`
      select part.item, whole.item as ancestor, depth
      from track.item_ancestor join thing as part on part.item_id = item_ancestor.item_id
      join thing as whole on whole.item_id = ancestor_item_id order by 1, 3`),
    enrolments: await db.rows(`
      select person, item, status, enrolled_at
      from track.enrolment join owner using (person_id) join thing using (item_id) order by 1, 2, 4`),
    named: await db.rows(`
      select part.item, kind, title, whole.item as parent
      from track.named_item join thing as part on part.item_id = named_item.item_id
      left join thing as whole on whole.item_id = parent_item_id order by 1`),
  };
}

test("as if the names had been so from the beginning", { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 30 }), async (steps) => {
      const world: World = {
        sent: [],
        enrolled: [],
        changes: [],
        events: new Names(events),
        items: new Names(items),
      };
      const changed = await database.as("postgres", {}, async (db) => {
        await seed(db);
        for (const [index, step] of steps.entries()) await take(db, world, step, index);
        return { all: await read(db, true), derived: await read(db, false) };
      });
      // The names first, and then the messages in one batch.
      const before = await database.as("postgres", {}, async (db) => {
        await seed(db);
        for (const [call, values] of world.changes)
          await db.query(`select track.${call}(${values.map((_, place) => `$${place + 1}`).join(", ")})`, values);
        await ingest(db, world.sent);
        await enrol(db, world.enrolled);
        return await read(db, true);
      });
      expect(changed.all).toEqual(before);
      // Messages that come with the final names, and no change of names.
      const final = await database.as("postgres", {}, async (db) => {
        const rename = (message: Message): Message => {
          const { item } = (message["properties"] ?? {}) as { item?: string };
          return {
            ...message,
            ...(typeof message["event"] === "string" ? { event: world.events.root(message["event"]) } : {}),
            ...(item === undefined ? {} : { properties: { item: world.items.root(item) } }),
          };
        };
        await ingest(
          db,
          events.flatMap((name) =>
            items.map((external) =>
              rename({
                type: "track",
                messageId: `seed ${name} ${external}`,
                userId: "catalogue",
                event: name,
                timestamp: "2026-01-01T00:00:00Z",
                properties: { item: external },
              }),
            ),
          ),
        );
        await ingest(db, world.sent.map(rename));
        return await read(db, false);
      });
      expect(changed.derived).toEqual(final);
    }),
    { numRuns: runs(10, 3, database.native) },
  );
});
