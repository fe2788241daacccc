import { expect, test } from "vitest";
import { makeKnownCourse } from "../sql/analytics/known-course.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import * as algebra from "../support/matrix.ts";
import { ingest, type Recommendation, refresh, twoTastes } from "../support/recommend.ts";

/*
 * Any client can invent browsers. A thousand of them, in two requests, change nothing of what others are shown: popular
 * items, the list of a newcomer, and models.
 */

const database = await testDatabase();
await ingest(database, twoTastes(40, algebra.generator(5)));
await ingest(database, [
  { person: "publisher", event: "Published", item: "spam", kind: "course" },
  { person: "publisher", event: "Published", item: "spam-page", kind: "page", parent: "spam" },
  { person: "newcomer", event: "Signed Up" },
  { person: "tester", event: "Course Enrolled", item: "spam" },
]);
await makeKnownCourse(database);
await database.query("update analytics.setting set smallest_group = 2");
await refresh(database);

const invent = async (message: (n: number) => object): Promise<void> => {
  for (const half of [0, 500])
    await database.as("insights_visitor", {}, async (db) => {
      const { accepted } = await db.value<{ accepted: number }>("select to_jsonb(track.ingest($1))", [
        JSON.stringify(Array.from({ length: 500 }, (_, n) => message(half + n))),
      ]);
      expect(accepted).toBe(500);
      await db.query("commit");
    });
  await refresh(database);
};

/** The lists that people are shown, and the data that models are trained on. */
async function shown(db: Queries): Promise<Record<string, unknown>> {
  const read = async (sql: string) => await db.rows(sql);
  return {
    popular: await read("select * from analytics.popular_items('course', '2020-01-01', now() + interval '1 day')"),
    courses: await read("select * from analytics.popular_courses('2020-01-01', now() + interval '1 day', 'rating')"),
    trending: await read("select * from analytics.trending_items(null, now() - interval '7 days', bias => 1)"),
    pages: await read("select * from analytics.popular_items(null, '2020-01-01', now(), '1 day', 100, 'events')"),
    popularity: await read("select * from recommend._popularity('course') order by item_id"),
    newcomer: (
      await db.rows<{ row: Recommendation }>("select to_jsonb(one) as row from recommend.for_person('newcomer') as one")
    ).map(({ row: { serving_id: _, next_page: __, ...row } }) => row),
    due: [await read("select recommend.due_trainings(0.01)"), await read("select analytics.due_predictions()")],
    snapshots: await read(
      `select person_id, course_id, as_of, snapshot.feature::text, outcome
       from analytics.prediction_target as entry
       cross join lateral analytics._snapshots(entry, analytics._snapshot_times(entry, 60)) as snapshot
       where entry.target = 'activity'
       order by 1, 2, 3`,
    ),
  };
}

/** The weights of a new model, which is not kept, and whether another training is expected after it. */
const model = (): Promise<unknown> =>
  database.as("postgres", {}, async (db) => [
    await db.value("select to_jsonb(recommend.train()) - 'duration' - 'version'"),
    await db.rows(
      "select item_id, person_count, neighbour_ids, weights from recommend.neighbours order by model_id, item_id",
    ),
    await db.rows("select recommend.due_trainings(0)"),
  ]);

for (const populated of [false, true]) {
  test(`in two requests, ${populated ? "after" : "before"} the first refresh of the popular items`, async () => {
    if (populated) await database.query("select analytics.refresh_views(), recommend.refresh_lists()");
    const before = await shown(database);
    const trained = await model();
    expect(before["newcomer"]).not.toEqual([]);
    expect(before["snapshots"]).not.toEqual([]);
    const now = Date.now();
    await invent((n) => ({
      type: "page",
      messageId: `${populated} ${n}`,
      anonymousId: `invented ${populated} ${n}`,
      timestamp: new Date(n % 3 === 0 ? now - 390 * 86_400_000 : now).toISOString(),
      properties: { item: n % 2 === 0 ? "spam" : "spam-page" },
    }));
    await invent((n) => ({
      type: "track",
      event: "Course Completed",
      messageId: `${populated} completed ${n}`,
      anonymousId: `invented ${populated} ${n}`,
      properties: { item: n % 2 === 0 ? "spam" : "known" },
    }));
    if (populated) await database.query("select analytics.refresh_views(), recommend.refresh_lists()");
    expect(await shown(database)).toEqual(before);
    expect(await model()).toEqual(trained);
    expect(await database.value("select count(distinct person_id)::int > 900 from recommend.interaction")).toBe(true);
  });
}

test("a visitor and an excluded person are served, each by her own history", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select recommend.train()");
    const list = async (person: string) =>
      (
        await db.rows<{ basis: string; item: string }>("select basis, item from recommend.for_person($1)", [person])
      ).map(({ basis, item }) => [basis, item]);
    const before = await list("p1");
    expect(before[0]?.[0]).toBe("model");
    await db.query("select track.exclude_person('p1', 'staff')");
    await refresh(db);
    expect(await list("p1")).toEqual(before);
    const visitor = await list("invented true 1");
    expect(visitor.length).toBeGreaterThan(0);
    expect(visitor.map(([, item]) => item)).not.toContain("known");
  });
});
