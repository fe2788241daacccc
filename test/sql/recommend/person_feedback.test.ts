import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import type { Recommendation } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);

const list = (db: Queries, call: string): Promise<Recommendation[]> =>
  db
    .rows<{ row: Recommendation }>(`select to_jsonb(r) as row from ${call} as r`)
    .then((rows) => rows.map(({ row }) => row));
const send = (db: Queries, ...values: unknown[]): Promise<boolean> =>
  db.value<boolean>(`select recommend.person_feedback(${values.map((_, n) => `$${n + 1}`).join(", ")})`, values);

test("stores the answer of any person or browser, for admins and workers", async () => {
  await database.query("select track.ingest($1)", [
    JSON.stringify([{ type: "track", messageId: "b", anonymousId: "browser", event: "Seen" }]),
  ]);
  for (const role of ["insights_admin", "insights_worker"]) {
    await database.as(role, {}, async (db) => {
      for (const person of ["p4", "browser", "a new one"]) {
        const listed = async () => (await list(db, `recommend.for_person('${person}', 100)`)).map(({ item }) => item);
        const [item = "", next = ""] = await listed();
        expect(await send(db, person, "dismiss", item)).toBe(true);
        expect(await listed()).not.toContain(item);
        const [row] = await list(db, `recommend.for_person('${person}')`);
        expect(await send(db, person, "click", next, null, null, row?.serving_id)).toBe(true);
      }
    });
  }
  expect(Number(await database.value("select count(*) from track.identity where external_id = 'browser'"))).toBe(1);
});

test("refuses an empty name and another person's serving_id, and is not for learners", async () => {
  await database.as("insights_admin", {}, async (db) => {
    for (const name of ["", "  ", null])
      expect((await db.rejects("select recommend.person_feedback($1, 'like', 'art-1')", [name])).code).toBe("CF001");
    const [row] = await list(db, "recommend.for_person('p4')");
    expect(
      (await db.rejects("select recommend.person_feedback('p5', 'click', serving_id => $1)", [row?.serving_id]))
        .message,
    ).toMatch(/is that of another person$/);
  });
  expect(await rolesThatMay(database, "select recommend.person_feedback('p0', 'like', 'art-1')")).toEqual([
    "admin",
    "worker",
  ]);
});
