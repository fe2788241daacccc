import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("grants and withdraws several purposes, or all, in one call", async () => {
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    expect(
      await db.rows(
        "select purpose, granted, source, subject_name from track.record_my_consents(true, '{advertising,analytics}') order by 1",
      ),
    ).toEqual([
      { purpose: "advertising", granted: true, source: "api", subject_name: "ada" },
      { purpose: "analytics", granted: true, source: "api", subject_name: "ada" },
    ]);
    expect(await db.rows("select purpose, granted from track.record_my_consents(false) order by 1")).toEqual(
      ["advertising", "analytics", "personalization", "sale", "sensitive", "sharing"].map((purpose) => ({
        purpose,
        granted: false,
      })),
    );
    expect(await db.value("select bool_or(granted) from privacy.current_consent")).toBe(false);
  });
});

test("is stored for the identity that is signed in, and follows it out of a merge", async () => {
  await ingest(database, [message({ userId: "kim" }), message({ userId: "lea" })]);
  await database.query("select track.link_identities('kim', 'lea')");
  for (const person of ["kim", "lea"])
    await database.as("insights_learner", { "insights.person": person }, async (db) => {
      await db.query("select track.sign_in()");
      expect(
        await db.rows(
          "select subject_name, external_id from track.record_my_consents(false, '{analytics}') join track.identity using (identity_id)",
        ),
      ).toEqual([{ subject_name: person, external_id: person }]);
    });
});

test.each([
  ["null", "CF001"],
  ["true, '{}'", "CF001"],
  ["true, '{spying}'", "CF002"],
  ["true, null, repeat('v', 201)", "CF008"],
])("record_my_consents(%s) is %s", async (values, code) => {
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    const error = await db.rejects(`select track.record_my_consents(${values})`);
    expect(error.code).toBe(code);
    expect(error.hint).toBeTruthy();
  });
});

test("is for learners who are signed in", async () => {
  expect(await rolesThatMay(database, "select track.record_my_consents(true)", { "insights.person": "ada" })).toEqual([
    "learner",
    "instructor",
  ]);
  for (const settings of [{}, { "insights.person": "undefined" }])
    await database.as("insights_learner", settings, async (db) =>
      expect(await db.rejects("select track.record_my_consents(true)")).toMatchObject({ code: "CF005" }),
    );
});
