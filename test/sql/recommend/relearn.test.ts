import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { deploy, ingest, refresh } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory } from "./history.ts";

const database = await testDatabase();
beforeAll(() => makeHistory(database));

test("recommend.relearn measures what updates left, and learns changes that queue no person", async () => {
  await database.as("postgres", {}, async (db) => {
    await deploy(db, "edlae(lambda => 5, dropout => 0.3)");
    expect(await db.value("select recommend.relearn()")).toBeNull();
    await ingest(db, [
      { person: "new", event: "Course Enrolled", item: "law-6", day: 300, kind: "course" },
      { person: "new", event: "Course Enrolled", item: "art-1", day: 300, kind: "course" },
    ]);
    await refresh(db);
    expect(await db.value("select update_count from recommend.learning")).toBe(1);
    const drift = await db.value<number>("select recommend.relearn()");
    expect(drift).toBeGreaterThan(0);
    expect(drift).toBeLessThan(1e-5);
    expect(await db.value("select update_count from recommend.learning")).toBe(0);

    // A course becomes something else: no person is queued for it.
    const items = () => db.value<number>("select count(*)::int from recommend.neighbours");
    const before = await items();
    await db.query("update track.item set kind = 'book' where external_id = 'law-1'");
    await refresh(db);
    expect(await items()).toBe(before);
    await db.query("select recommend.relearn()");
    expect(await items()).toBe(before - 1);
  });
});

test("recommend.relearn refuses a kind without such a model, and is for those who train", async () => {
  expect(await database.rejects("select recommend.relearn()")).toMatchObject({
    code: "CF006",
    hint: "Train one: select * from recommend.train('course').",
  });
  expect((await database.rejects("select recommend.relearn('curse')")).code).toBe("CF002");
  expect(await rolesThatMay(database, "select recommend.relearn()")).toEqual(["admin", "worker"]);
});
