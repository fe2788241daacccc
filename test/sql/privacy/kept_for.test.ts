import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("by default only what was deleted before there were rules", async () => {
  expect(
    await database.rows(
      `select data_class, privacy.kept_for(data_class)::text as keep from privacy.retention_class
       where privacy.kept_for(data_class) is not null order by 1`,
    ),
  ).toEqual([
    { data_class: "latencies", keep: "400 days" },
    { data_class: "refusal_samples", keep: "7 days" },
    { data_class: "refusals", keep: "400 days" },
    { data_class: "runs", keep: "90 days" },
    { data_class: "serving_times", keep: "400 days" },
  ]);
});

test("a rule, longer or shorter, takes the place of the default", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "select privacy.set_retention('runs', '2 years'), privacy.set_retention('events', '1 year', 'service')",
    );
    expect(await db.value("select privacy.kept_for('runs')::text")).toBe("2 years");
    // Of a purpose, not of the class.
    expect(await db.value("select privacy.kept_for('events')")).toBe(null);
  });
  expect(await database.rejects("select privacy.kept_for('run')")).toMatchObject({ code: "CF002" });
  expect(await rolesThatMay(database, "select privacy.kept_for('runs')")).toEqual(["admin", "worker"]);
});
