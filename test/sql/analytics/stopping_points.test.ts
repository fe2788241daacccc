import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { excluded, holder, items, learners, makeClass, optedOut, today, uses } from "./class.ts";
import { DAY, iso, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeClass(database);

interface Point {
  item: string | null;
  reached: number;
  stopped: number;
  share: number | null;
  of_stopped: number | null;
}

const course = Object.keys(items).filter((item) => holder(item, "course") === "rust");

function expected(kind: string | null, days: number, floor: number, people: string[]): Point[] {
  const activeSince = today - days * DAY;
  const reached = new Map<string, Set<string>>();
  const stopped = new Map<string | null, number>();
  const mine = learners.filter(({ person }) => people.includes(person));
  for (const { person, status, enrolledAt } of mine) {
    const own = uses.filter((use) => use.person === person && course.includes(use.item)).sort((a, b) => a.at - b.at);
    const ofKind = own.flatMap(({ item }) => {
      const place = holder(item, kind);
      return place === null || !course.includes(place) ? [] : [place];
    });
    for (const place of ofKind) reached.set(place, (reached.get(place) ?? new Set()).add(person));
    const last = own.at(-1)?.at ?? enrolledAt;
    if (status === "dropped" || (status === "active" && last < activeSince)) {
      const place = ofKind.at(-1) ?? null;
      stopped.set(place, (stopped.get(place) ?? 0) + 1);
    }
  }
  const places = [null, ...course.filter((item) => kind === null || items[item]?.[0] === kind)];
  const points = places.map((item) => {
    const all = item === null ? mine.length : (reached.get(item)?.size ?? 0);
    const some = stopped.get(item) ?? 0;
    return { item, reached: shown(all, all, floor), stopped: shown(some, some, floor) };
  });
  const sum = points.reduce((total, point) => total + point.stopped, 0);
  return points
    .map((point) => ({
      ...point,
      share: point.reached === 0 ? null : point.stopped / point.reached,
      of_stopped: sum === 0 ? null : point.stopped / sum,
    }))
    .sort(
      (a, b) =>
        b.stopped - a.stopped ||
        b.reached - a.reached ||
        (a.item === null ? -1 : b.item === null ? 1 : a.item < b.item ? -1 : 1),
    );
}

const columns =
  "item, reached_count::int as reached, stopped_count::int as stopped, share, share_of_stopped as of_stopped";
const people = learners.map(({ person }) => person).filter((person) => person !== excluded);
const ask = (floor: number, kind: string | null, days: number): Promise<Point[]> =>
  withFloor<Point>(database, floor, `select ${columns} from analytics.stopping_points('rust', $1, $2)`, [kind, days]);

for (const refreshed of [false, true]) {
  test(`the last item of each kind, ${refreshed ? "after" : "before"} a refresh`, async () => {
    if (refreshed) await refresh(database);
    for (const kind of [null, "page", "video", "module", "task"])
      for (const days of [1, 14, 15]) expect(await ask(1, kind, days)).toEqual(expected(kind, days, 1, people));
    expect(expected(null, 14, 1, people).filter(({ stopped }) => stopped > 0).length).toBeGreaterThan(3);
  });
}

test("analysts see rounded numbers, and none where there are too few people", async () => {
  for (const floor of [2, 5])
    for (const kind of [null, "page", "module"])
      expect(await ask(floor, kind, 14)).toEqual(expected(kind, 14, floor, people));
});

test("an instructor sees exact figures of her course, without people who have opted out", async () => {
  const seen = people.filter((person) => person !== optedOut);
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    expect(await db.rows(`select ${columns} from analytics.stopping_points('rust', 'page')`)).toEqual(
      expected("page", 14, 1, seen),
    );
  });
  for (const person of ["otto", "l0", "l1"])
    await database.as("insights_instructor", { "insights.person": person }, async (db) => {
      expect(await db.rejects("select * from analytics.stopping_points('rust')")).toMatchObject({ code: "CF002" });
      expect(await db.rejects("select * from analytics.stopping_points('nothing')")).toMatchObject({ code: "CF002" });
    });
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    expect(await db.rejects("select * from analytics.stopping_points('rust', among => 'counted')")).toMatchObject({
      code: "CF005",
    });
  });
});

test("of a set of people; a learner with two names has stopped once", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.set_person_set('some', array[track.find_person('l0'), track.find_person('l1')])");
    expect(await db.rows(`select ${columns} from analytics.stopping_points('rust', 'page', among => 'some')`)).toEqual(
      expected("page", 14, 1, ["l0", "l1"]),
    );
    await db.query("insert into public.class_enrolments values ('second', 'rust', 'active', $1, null)", [
      iso(today - 60 * DAY),
    ]);
    await db.query("select track.sync_enrolments('public.class_enrolments')");
    await db.query("select track.link_identities('l0', 'second')");
    expect(await db.value("select reached_count::int from analytics.stopping_points('rust') where item is null")).toBe(
      people.length,
    );
  });
});

test("a course without items, and without learners", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "x", event: "Made", properties: { item: "bare", itemKind: "course" } })]);
    expect(await db.rows(`select ${columns} from analytics.stopping_points('bare')`)).toEqual([
      { item: null, reached: 0, stopped: 0, share: null, of_stopped: null },
      { item: "bare", reached: 0, stopped: 0, share: null, of_stopped: null },
    ]);
    expect(await db.rejects("select * from analytics.stopping_points('bare', 'page')")).toMatchObject({
      code: "CF002",
    });
  });
});

test("invalid arguments", async () => {
  for (const [given, code] of [
    ["'rusty'", "CF002"],
    ["null", "CF002"],
    ["'rust', 'hall'", "CF002"],
    ["'rust', repeat('x', 100000)", "CF002"],
    ["'rust', among => 'none'", "CF002"],
    ["'rust', among => '&'", "CF001"],
    ["'rust', inactive_days => 0", "CF001"],
    ["'rust', inactive_days => 3651", "CF001"],
    ["'rust', inactive_days => null", "CF001"],
  ])
    expect(await database.rejects(`select * from analytics.stopping_points(${given})`)).toMatchObject({ code });
});

test("is for instructors, analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.stopping_points('rust')")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
