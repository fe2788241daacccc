import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("records the tables and views with data of people, and no other name", async () => {
  await database.as("postgres", {}, async (db) => {
    const names = [
      ...["track.event", "track.event", "track.page_view", "track.identity", "privacy.consent", "recommend.impression"],
      ...["track.item", "track.nothing", "pg_catalog.pg_class", "event", "privacy.disclosure", "track.journey", ""],
      // Lists of people, and no numbers of people.
      ...["track.item_month", "track.person_set_block", "track.presence", "track.course_presence", "ml.score"],
      ...["experiment.day_sum", "track.item_day", "ml.model"],
      ...["track.event; drop table x", '"track"."event"', "x".repeat(100_000)],
    ];
    await db.query("select privacy.record_table_reads($1)", [names]);
    expect(
      await db.rows("select function_name, identity_id, subject_name, role from privacy.disclosure order by 1"),
    ).toEqual(
      [
        ...["ml.score", "privacy.consent", "recommend.impression", "track.course_presence", "track.event"],
        ...["track.identity", "track.item_month", "track.page_view", "track.person_set_block", "track.presence"],
      ].map((function_name) => ({ function_name, identity_id: null, subject_name: null, role: "postgres" })),
    );
    expect(await db.value("select count(distinct read_id)::int from privacy.disclosure")).toBe(1);
    await db.query("select privacy.record_table_reads('{}'), privacy.record_table_reads(null)");
    expect(await db.value("select count(*)::int from privacy.disclosure")).toBe(10);
    await db.query("set transaction read only");
    expect(await db.rejects("select privacy.record_table_reads('{track.event}')")).toMatchObject({ code: "CF005" });
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select privacy.record_table_reads('{}')")).toEqual(["admin"]);
});
