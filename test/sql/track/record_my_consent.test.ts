import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makePeople } from "../../support/people.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
await makePeople(database);

test("learners decide for themselves only, also before any other message of theirs", async () => {
  await database.as("insights_learner", { "insights.person": "newcomer" }, async (db) => {
    const sql = "select purpose, granted, source from track.record_my_consent('personalization', false, 'v1')";
    expect(await db.rows(sql)).toEqual([{ purpose: "personalization", granted: false, source: "api" }]);
    expect(await db.rows("select purpose, granted, document_version from privacy.current_consent")).toEqual([
      { purpose: "personalization", granted: false, document_version: "v1" },
    ]);
    expect(await db.value("select privacy.allowed(track.current_person_id(), 'personalization')")).toBe(false);
    expect(await db.rejects("select track.record_my_consent('spying', false)")).toMatchObject({ code: "CF002" });
    expect(await db.rejects("select privacy.record_consent(1, 'service', true)")).toMatchObject({ code: "42501" });
    expect(
      await db.rejects(
        "insert into privacy.consent (person_id, identity_id, purpose, granted) values (1, 1, 'service', true)",
      ),
    ).toMatchObject({ code: "42501" });
  });
  await database.as("insights_learner", {}, async (db) =>
    expect(await db.rejects("select track.record_my_consent('service', true)")).toMatchObject({ code: "CF005" }),
  );
  await database.as("insights_visitor", {}, async (db) =>
    expect(await db.rejects("select track.record_my_consent('service', true)")).toMatchObject({ code: "42501" }),
  );
});

test("a person who is known decides as that person, whatever was decided before", async () => {
  await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
  await database.query("select privacy.record_consent(track.find_person('ada'), 'advertising', true, '2026-01-01')");
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    const own = await db.value("select track.current_person_id()");
    expect(
      await db.rows("select person_id, granted, document_version from track.record_my_consent('advertising', false)"),
    ).toEqual([{ person_id: own, granted: false, document_version: null }]);
    expect(await db.value("select privacy.allowed($1, 'advertising')", [own])).toBe(false);
  });
  expect(await database.value("select count(*) from privacy.consent where person_id = track.find_person('ben')")).toBe(
    "0",
  );
});

test("what is missing or too long is refused, with a hint", async () => {
  for (const [values, code] of [
    ["'service', null", "CF001"],
    ["null, true", "CF002"],
    ["'service', true, repeat('v', 201)", "CF008"],
  ] as const) {
    await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
      const error = await db.rejects(`select track.record_my_consent(${values})`);
      expect(error.code).toBe(code);
      expect(error.hint).toBeTruthy();
    });
  }
});

test("is for learners", async () => {
  expect(
    await rolesThatMay(database, "select track.record_my_consent('service', true)", { "insights.person": "ada" }),
  ).toEqual(["learner", "instructor"]);
});
