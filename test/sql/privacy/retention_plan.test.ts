import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { applyAll, happened, plan } from "./retention.ts";

const database = await testDatabase();

test("counts what the next run deletes, and changes nothing", async () => {
  await database.as("postgres", {}, async (db) => {
    expect(await plan(db)).toEqual([]);
    await db.query("insert into track.event_type (name, purpose) values ('Ad Seen', 'service')");
    await happened(db, { ada: [5, 100, 130], ben: [100] });
    await happened(db, { ada: [6, 20, 101] }, { event: "Ad Seen" });
    await db.query("insert into monitor.run (task, started_at) values ('t', now() - interval '9 days'), ('t', now())");
    await db.query("select privacy.restrict_person('ben', 'claims')");
    await db.query("select privacy.set_retention('events', '60 days')");
    await db.query("select privacy.set_retention('events', '10 days', 'service')");
    await db.query("select privacy.set_retention('runs', '3 days')");
    const before = await db.value("select count(*)::int from track.event");
    const planned = await plan(db);
    expect(planned).toMatchObject([
      { rule: "events", table_name: "track.event", method: "delete", row_count: 3, held_count: 1 },
      { rule: "events/service", row_count: 2, held_count: 0, partitions: [] },
      { rule: "runs", table_name: "monitor.run", row_count: 1, held_count: 0 },
    ]);
    expect(
      await db.rows(
        "select extract(day from now() - oldest_at)::int as age, extract(day from now() - horizon)::int as keep from privacy.retention_plan()",
      ),
    ).toEqual([
      { age: 130, keep: 60 },
      { age: 101, keep: 10 },
      { age: 9, keep: 3 },
    ]);
    expect(await db.value("select count(*)::int from track.event")).toBe(before);
    // The run deletes the same. An event of both rules is counted by each.
    const steps = await applyAll(db);
    expect(steps.reduce((sum, { row_count: rows }) => sum + rows, 0)).toBe(5);
    expect((await plan(db)).map(({ row_count: rows }) => rows)).toEqual([0, 0, 0]);
    expect((await plan(db))[0]?.held_count).toBe(1);
  });
});

test("only administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select * from privacy.retention_plan()")).toEqual(["admin", "worker"]);
});
