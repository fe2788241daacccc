import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { excluded, holder, items, learners, makeClass, optedOut, uses } from "./class.ts";
import { DAY, iso, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeClass(database);

interface Level {
  lower: number;
  upper: number;
  people: number;
  completed: number;
}
const bounds: [number, number][] = [
  [0, 0],
  [0, 0.25],
  [0.25, 0.5],
  [0.5, 0.75],
  [0.75, 1],
  [1, 1],
];
const columns =
  "lower_bound as lower, upper_bound as upper, person_count::int as people, completed_count::int as completed";

/** Items that the course has at a time; the end of the run of a learner, and of the uses that count. */
function expected(
  people: string[],
  floor: number,
  itemsAt: (time: number) => string[],
  endOf: (person: string) => number,
  usesUntil: (person: string) => number,
): Level[] {
  const levels = bounds.map(() => ({ people: 0, completed: 0 }));
  for (const { person, status, enrolledAt } of learners.filter((learner) => people.includes(learner.person))) {
    const own = itemsAt(endOf(person));
    if (own.length === 0) continue;
    const used = own.filter((item) =>
      uses.some(
        (use) => use.person === person && use.item === item && use.at >= enrolledAt && use.at <= usesUntil(person),
      ),
    ).length;
    const progress = used / own.length;
    const level = levels[
      progress === 0
        ? 0
        : progress === 1
          ? 5
          : bounds.findIndex(([lower, upper], index) => index > 0 && progress > lower && progress <= upper)
    ] as Level;
    level.people += 1;
    if (status === "completed") level.completed += 1;
  }
  return levels.map((level, index) => ({
    lower: bounds[index]?.[0] ?? 0,
    upper: bounds[index]?.[1] ?? 0,
    people: shown(level.people, level.people, floor),
    completed: shown(level.completed, level.completed, floor),
  }));
}

const people = learners.map(({ person }) => person).filter((person) => person !== excluded);
const now = Date.now();
const endOf = (person: string): number => {
  const learner = learners.find((one) => one.person === person);
  return learner === undefined || learner.status === "active" ? now : learner.enrolledAt + 9 * DAY;
};
const inCourse = (kind: string | null): string[] =>
  Object.keys(items).filter(
    (item) =>
      holder(item, "course") === "rust" &&
      (kind === null ? !["course", "module"].includes(items[item]?.[0] ?? "") : items[item]?.[0] === kind),
  );
const ask = (db: Queries, structure: string, kind: string | null): Promise<Level[]> =>
  db.rows<Level>(`select ${columns} from analytics.course_progress('rust', $1, $2)`, [structure, kind]);

/** As an application that published everything long ago. */
const published = "update track.item set created_at = '2020-01-01Z'";

for (const refreshed of [false, true])
  test(`of the items of now, ${refreshed ? "after" : "before"} a refresh`, async () => {
    if (refreshed) await refresh(database);
    for (const kind of [null, "page", "video"])
      expect(await ask(database, "now", kind)).toEqual(
        expected(
          people,
          1,
          () => inCourse(kind),
          () => now,
          () => Number.POSITIVE_INFINITY,
        ),
      );
  });

test("of the items of then: moved, added and withdrawn ones, and uses until the end of the run", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(published);
    for (const kind of [null, "page"])
      expect(await ask(db, "then", kind)).toEqual(expected(people, 1, () => inCourse(kind), endOf, endOf));

    // A module is moved to another course 20 days ago, a page is added 15 and another withdrawn 25 days ago.
    const [moved, added, withdrawn] = [20, 15, 25].map((days) => now - days * DAY) as [number, number, number];
    await db.query("update public.class_items set parent = 'go' where external_id = 'types'");
    await db.query("select track.sync_items('public.class_items')");
    await db.query("update track.former_parent set ended_at = $1", [iso(moved)]);
    await db.query("update track.item set available_from = $1 where external_id = 'unused'", [iso(added)]);
    await db.query("update track.item set available_until = $1 where external_id = 'hello'", [iso(withdrawn)]);
    const itemsAt = (time: number): string[] =>
      inCourse(null).filter(
        (item) =>
          (!["numbers", "generics", "talk", "quiz"].includes(item) || time < moved) &&
          (item !== "unused" || time >= added) &&
          (item !== "hello" || time < withdrawn),
      );
    expect(await ask(db, "then", null)).toEqual(expected(people, 1, itemsAt, endOf, endOf));
    expect(await ask(db, "now", null)).toEqual(
      expected(
        people,
        1,
        () => itemsAt(now),
        () => now,
        () => Number.POSITIVE_INFINITY,
      ),
    );
    expect(expected(people, 1, itemsAt, endOf, endOf)).not.toEqual(
      expected(
        people,
        1,
        () => itemsAt(now),
        () => now,
        () => Number.POSITIVE_INFINITY,
      ),
    );
  });
});

test("an item that nobody had used before it was first seen was not there", async () => {
  await database.as("postgres", {}, async (db) => {
    // All were first seen today; `unused` has never been used, the others by the month of their first use.
    await refresh(db);
    const first = new Map<string, number>();
    for (const { item, at } of uses) {
      const month = Date.UTC(new Date(at).getUTCFullYear(), new Date(at).getUTCMonth());
      first.set(item, Math.min(first.get(item) ?? Number.POSITIVE_INFINITY, month));
    }
    const itemsAt = (time: number): string[] =>
      inCourse(null).filter((item) => (first.get(item) ?? Number.POSITIVE_INFINITY) <= time || time === now);
    expect(await ask(db, "then", null)).toEqual(expected(people, 1, itemsAt, endOf, endOf));
  });
});

test("a new run begins at 0", async () => {
  await database.as("postgres", {}, async (db) => {
    const progress = (): Promise<Level[]> =>
      db.rows<Level>(`select ${columns} from analytics.course_progress('go', 'now') where person_count > 0`);
    await db.query(
      "create table public.runs (person text, item text, status text, enrolled_at timestamptz, ended_at timestamptz)",
    );
    await db.query("insert into public.runs values ('rita', 'go', 'completed', '2025-01-01Z', '2025-06-01Z')");
    await db.query("select track.sync_enrolments('public.runs')");
    await ingest(db, [
      message({
        userId: "rita",
        event: "Thing Used",
        timestamp: "2025-03-01T00:00:00Z",
        properties: { item: "other" },
      }),
    ]);
    expect(await progress()).toEqual([{ lower: 1, upper: 1, people: 1, completed: 1 }]);
    await db.query("update public.runs set status = 'active', enrolled_at = '2025-09-01Z', ended_at = null");
    await db.query("select track.sync_enrolments('public.runs')");
    expect(await progress()).toEqual([{ lower: 0, upper: 0, people: 1, completed: 0 }]);
  });
});

test("analysts see rounded numbers, an instructor those of her course without people who have opted out", async () => {
  const all = () => Number.POSITIVE_INFINITY;
  for (const floor of [2, 5])
    expect(
      await withFloor<Level>(
        database,
        floor,
        `select ${columns} from analytics.course_progress('rust', 'now', 'page')`,
      ),
    ).toEqual(
      expected(
        people,
        floor,
        () => inCourse("page"),
        () => now,
        all,
      ),
    );
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    expect(await ask(db, "now", "page")).toEqual(
      expected(
        people.filter((person) => person !== optedOut),
        1,
        () => inCourse("page"),
        () => now,
        all,
      ),
    );
    expect(await db.rejects("select * from analytics.course_progress('go')")).toMatchObject({ code: "CF002" });
    expect(await db.rejects("select * from analytics.course_progress('rust', among => 'counted')")).toMatchObject({
      code: "CF005",
    });
  });
});

test("invalid arguments", async () => {
  for (const [given, code] of [
    ["'rusty'", "CF002"],
    ["null", "CF002"],
    ["'rust', 'before'", "CF001"],
    ["'rust', null", "CF001"],
    ["'rust', kind => repeat('z', 10000)", "CF002"],
    ["'rust', kind => 'song'", "CF002"],
    ["'rust', among => 'none'", "CF002"],
  ])
    expect(await database.rejects(`select * from analytics.course_progress(${given})`)).toMatchObject({ code });
});

test("is for instructors, analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.course_progress('rust')")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
