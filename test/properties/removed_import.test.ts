import fc from "fast-check";
import { expect, test } from "vitest";
import { type Message, refresh } from "../sql/track/messages.ts";
import { contents } from "../support/contents.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * After an import was removed the database equals the one that never had it, on every table: events, sessions,
 * journeys, presence, sums, sets, interactions, people, items with their descriptions, and types of events. Its people
 * and items are partly those of an application that sends messages before and after it.
 */
const database = await testDatabase();

const users = ["ada", "ben", "eve", "only-1", "only-2"] as const;
const browsers = ["b1", "b2"] as const;
const user = fc.constantFrom(...users);
const browser = fc.constantFrom(...browsers);
const day = fc.integer({ min: 1, max: 70 });
const item = fc.constantFrom("algebra", "botany", "page/1", "page/2", "page/3");
const event = fc.constantFrom(
  "Course Viewed",
  "Course Enrolled",
  "Course Dropped",
  "Course Completed",
  "Item Liked",
  "Topic Dismissed",
  "Task Graded",
  "Page Viewed",
  "Rare Event",
);
const said = {
  day,
  item,
  event,
  plan: fc.constantFrom("free", "team", "secret"),
  hour: fc.integer({ min: 0, max: 2 }),
};
/** The tree of items that an import states; no cycles. */
const shape = {
  item: fc.constantFrom("page/1", "page/2", "botany", "chapter"),
  parent: fc.constantFrom(undefined, "chemistry", "shelf-free"),
  kind: fc.constantFrom(undefined, "course", "module"),
  title: fc.constantFrom(undefined, "One", "Two"),
};
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ what: fc.constant("track" as const), userId: user, ...said }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant("track" as const), anonymousId: browser, ...said }) },
  { weight: 8, arbitrary: fc.record({ what: fc.constant("import" as const), userId: user, ...said }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant("other" as const), userId: user, ...said }) },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("enrol" as const),
      userId: user,
      item: fc.constantFrom("algebra", "botany", "chemistry"),
      day,
    }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("structure" as const), wrong: fc.boolean(), ...shape }) },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant("identify" as const), userId: user, anonymousId: browser, day }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant("decide" as const), userId: user, day, granted: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("merge" as const), from: item, to: item }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("refresh" as const), people: fc.integer({ min: 1, max: 4 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The import that is removed, one that stays, and the application. */
const sourceOf = ({ what }: Step): string => (what === "import" ? "wrong" : what === "other" ? "right" : "default");

const isRemoved = (step: Step): boolean => step.what === "import" || (step.what === "structure" && step.wrong);

const start = Date.UTC(2026, 0, 1);

function messageOf(step: Step, index: number): Message | undefined {
  const common = (days: number, hours = 0) => ({
    messageId: `m${index}`,
    timestamp: new Date(start + days * 86_400_000 + hours * 3_600_000 + index * 60_000).toISOString(),
    receivedAt: new Date(start + 100 * 86_400_000 + index * 1000).toISOString(),
  });
  switch (step.what) {
    case "track":
    case "import":
    case "other":
      return {
        type: "track",
        ...("userId" in step ? { userId: step.userId } : { anonymousId: step.anonymousId }),
        event: step.event,
        properties: {
          item: step.item,
          plan: step.plan,
          ...(step.item.startsWith("page")
            ? {
                parent: step.plan === "secret" ? "botany" : `shelf-${step.plan}`,
                itemTitle: `${step.item} ${step.what}`,
              }
            : { itemKind: "course", itemTitle: `${step.item} ${step.plan} ${step.what}` }),
        },
        ...common(step.day, step.hour),
      };
    case "identify":
      return {
        type: "identify",
        userId: step.userId,
        anonymousId: step.anonymousId,
        traits: { plan: index },
        ...common(step.day),
      };
    case "decide":
      return {
        type: "track",
        userId: step.userId,
        event: "Segment Consent Preference Updated",
        context: { consent: { categoryPreferences: { personalization: step.granted } } },
        ...common(step.day),
      };
    default:
      return undefined;
  }
}

async function play(db: Queries, steps: readonly Step[]): Promise<void> {
  await db.query("insert into track.event_type (name, description) values ('Course Viewed', 'As in the docs.')");
  await db.query("select track.declare_property('Course Viewed', 'plan')");
  // Its key is in the ids of its events.
  await db.query("insert into track.source (source_id, name) overriding system value values (1000, 'right')");
  await db.query("create table pg_temp.items (external_id text, kind text, title text)");
  await db.query("insert into pg_temp.items values ('algebra', 'course', 'Algebra')");
  await db.query("select track.sync_items('pg_temp.items')");
  for (const [index, step] of steps.entries()) {
    const message = messageOf(step, index);
    if (message !== undefined) {
      await db.query(
        "select set_config('insights.source', $1, true), set_config('insights.states_enrolments', $2, true)",
        [sourceOf(step), sourceOf(step) === "default" ? "" : "on"],
      );
      await db.query("select * from track.ingest($1)", [JSON.stringify([message])]);
    }
    if (step.what === "enrol") {
      await db.query("create table if not exists pg_temp.enrolments (person text, item text, enrolled_at timestamptz)");
      await db.query("truncate pg_temp.enrolments");
      await db.query("insert into pg_temp.enrolments values ($1, $2, $3)", [
        step.userId,
        step.item,
        new Date(start + step.day * 86_400_000).toISOString(),
      ]);
      await db.query("select track.sync_enrolments('pg_temp.enrolments')");
    }
    if (step.what === "structure") {
      await db.query("select set_config('insights.source', $1, true)", [step.wrong ? "wrong" : "right"]);
      const { item, parent, kind, title } = step;
      await db.query("select track.import_items($1)", [JSON.stringify([{ item, parent, kind, title }])]);
    }
    if (step.what === "refresh") await db.query("select track.refresh($1)", [step.people]);
  }
}

async function forget(db: Queries, most: number): Promise<number> {
  for (let steps = 1; ; steps += 1) {
    expect(steps).toBeLessThan(500);
    const done = await db.value("select completed_at is not null from track.forget_import('wrong', $1)", [most]);
    if (done === true) return steps;
  }
}

/** Tables with rows of an item that nothing uses. The last one is the list of items to examine when an import is removed. */
const itsOwn = ["track.item", "track.item_ancestor", "track.item_source", "track.forgotten_item"];

/**
 * Leaves out items that the other state does not have and that nothing uses: a message named them as the parent of an
 * item, which has another parent.
 */
function withoutUnused(state: Record<string, string[]>, other: Record<string, string[]>): void {
  const idsOf = (of: Record<string, string[]>) => (of["track.item"] ?? []).map((row) => JSON.parse(row).external_id);
  const known = new Set(idsOf(other));
  for (const id of idsOf(state).filter((each) => !known.has(each))) {
    const uses = Object.entries(state).flatMap(([table, rows]) =>
      rows
        .map((row) => ({ table, row: { ...JSON.parse(row), properties: undefined } }))
        .filter(({ row }) => JSON.stringify(row).includes(`"${id}"`)),
    );
    const isUsed = ({ table, row }: { table: string; row: Record<string, unknown> }) =>
      !itsOwn.includes(table) ||
      (table === "track.item" && row["external_id"] !== id) ||
      (table === "track.item_ancestor" && row["item_id"] !== id);
    if (uses.some(isUsed)) continue;
    for (const table of itsOwn) {
      state[table] = (state[table] ?? []).filter((row) => JSON.parse(row).item_id !== id);
    }
  }
}

test("an import that was removed leaves the tables as if it had never been", async () => {
  let compared = 0;
  let steps = 0;
  let enrolments = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 3, maxLength: 40 }),
      fc.array(step, { maxLength: 10 }),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      async (first, later, most, isRefreshed) => {
        // A structure may state another kind than that of an item in which the application enrols people, which was a
        // course by then.
        const stated = new Set<string>(
          [...first, ...later].flatMap((one) => (one.what === "structure" && one.kind ? [one.item] : [])),
        );
        const all = [...first, ...later.filter((one) => !isRemoved(one))].filter(
          (one) => one.what !== "enrol" || !stated.has(one.item),
        );
        if (!all.some(isRemoved)) return;
        const after = await database.as("postgres", {}, async (db) => {
          await play(db, all);
          if (isRefreshed) await refresh(db);
          steps += await forget(db, most);
          await refresh(db);
          return await contents(db);
        });
        const never = await database.as("postgres", {}, async (db) => {
          // The others keep their places, which are in their ids and times.
          await play(
            db,
            all.map((one) => (isRemoved(one) ? { what: "merge", from: "algebra", to: "algebra" } : one)),
          );
          await refresh(db);
          return await contents(db);
        });
        // Bounds of the times of automatic events, which are not narrowed.
        delete after["track.automatic_period"];
        delete never["track.automatic_period"];
        expect(after["track.forgotten_import"]).toHaveLength(1);
        after["track.forgotten_import"] = [];
        enrolments += never["track.enrolment"]?.length ?? 0;
        compared += Object.values(never).flat().length;
        // Of an item in which the application has enrolled people, it is not known whether a message or the enrolment
        // stated the kind first. The kind itself is compared.
        const enrolled = new Set(all.flatMap((one) => (one.what === "enrol" ? [one.item] : [])));
        for (const state of [after, never]) {
          state["track.item_source"] = (state["track.item_source"] ?? []).filter((row) => {
            const { item_id: item, attribute } = JSON.parse(row);
            return attribute !== "kind" || !enrolled.has(item);
          });
        }
        withoutUnused(never, after);
        expect(after).toEqual(never);
      },
    ),
    { numRuns: runs(60, 4, database.native) },
  );
  expect(compared).toBeGreaterThan(100);
  expect(steps).toBeGreaterThan(10);
  if (database.native) expect(enrolments).toBeGreaterThan(5);
}, 600_000);
