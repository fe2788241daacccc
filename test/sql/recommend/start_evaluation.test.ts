import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { ingest, refresh, twoTastes } from "../../support/recommend.ts";

const database = await testDatabase();

beforeAll(async () => {
  await ingest(database, twoTastes(70, algebra.generator(23)));
  await refresh(database);
});

test("counts use after the split neither as taken nor in the strength before it", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      { person: "viewer", event: "Page Viewed", item: "art-2", day: 10, kind: "course" },
      { person: "viewer", event: "Course Enrolled", item: "art-3", day: 11, kind: "course" },
      { person: "viewer", event: "Course Enrolled", item: "art-2", day: 95, kind: "course" },
    ]);
    await refresh(db);
    await db.query("select recommend.start_evaluation('{popularity}', split_at => '2026-03-10')");
    const [row] = await db.rows<{ items: string[]; strengths: number[]; relevant: string[]; left_out: string[] }>(
      `select
         array(select external_id from unnest(items) with ordinality as entry (item_no, place)
           join recommend.evaluation_item using (item_no) join track.item using (item_id)
           where evaluation_item.evaluation_id = person.evaluation_id order by place) as items,
         strengths,
         array(select external_id from unnest(relevant) as item_no
           join recommend.evaluation_item using (item_no) join track.item using (item_id)
           where evaluation_item.evaluation_id = person.evaluation_id) as relevant,
         array(select external_id from unnest(left_out) as item_no
           join recommend.evaluation_item using (item_no) join track.item using (item_id)
           where evaluation_item.evaluation_id = person.evaluation_id) as left_out
       from recommend.evaluation_person as person
       where person_id = track.find_person('viewer')`,
    );
    expect(row?.items).toEqual(["art-2", "art-3"]);
    expect(row?.strengths[0]).toBeCloseTo(0.05, 6);
    expect(row?.relevant).toEqual(["art-2"]);
    expect(row?.left_out).toEqual(["art-3"]);
  });
});

test("one_vs_100 ranks the held-out item among items that the person never used", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select recommend.start_evaluation('{popularity}', protocol => 'one_vs_100')");
    const wrong = await db.value<number>(
      `select count(*)::int
       from recommend.evaluation_person
       where relevant <> '{}' and (candidates && items or cardinality(candidates) > 101 or not candidates @> relevant)`,
    );
    expect(wrong).toBe(0);
  });
});

test("random holds out a fifth of what each person took", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select recommend.start_evaluation('{popularity}', protocol => 'random')");
    const rows = await db.rows<{ kept: number; held: number }>(
      `select cardinality(items) as kept, cardinality(relevant) as held
       from recommend.evaluation_person where relevant <> '{}'`,
    );
    expect(rows.length).toBeGreaterThan(40);
    for (const { kept, held } of rows) expect(held).toBe(Math.max(1, Math.floor((kept + held) / 5)));
  });
});

test("refuses too few people, and leaves nothing", async () => {
  await database.query("update recommend.setting set fewest_people = 1000");
  const error = await database.rejects("select recommend.start_evaluation()");
  expect(error.code).toBe("CF004");
  expect(error.hint).toContain("At least 1000");
  expect(await database.value("select count(*)::int from recommend.evaluation_person")).toBe(0);
});
