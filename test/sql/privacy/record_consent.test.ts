import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { makePeople } from "../../support/people.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await makePeople(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("the latest decision holds, earlier ones stay", async () => {
  await inside(async (db) => {
    await db.query("select privacy.record_consent(7, 'advertising', true, '2026-01-01')");
    await db.query("select privacy.record_consent(7, 'advertising', false, '2026-01-03', 'v2', '{\"form\": 1}')");
    await db.query("select privacy.record_consent(7, 'advertising', true, '2026-01-02')");
    expect(await db.rows("select granted, document_version from privacy.current_consent")).toEqual([
      { granted: false, document_version: "v2" },
    ]);
    expect(await db.value("select privacy.allowed(7, 'advertising')")).toBe(false);
    expect(await db.value("select count(*) from privacy.consent")).toBe("3");
  });
});

test("answers what it stored, as said by the application, no later than now", async () => {
  await inside(async (db) => {
    const [row] = await db.rows(
      `select person_id, identity_id, purpose, granted, decided_at = now() as now, source, document_version, evidence
       from privacy.record_consent(7, 'analytics', false, now() + interval '59 minutes', 'v3', '{"form": "settings"}')`,
    );
    expect(row).toEqual({
      person_id: "7",
      identity_id: "7",
      purpose: "analytics",
      granted: false,
      now: true,
      source: "api",
      document_version: "v3",
      evidence: { form: "settings" },
    });
    expect(await db.value("select count(*) from privacy.consent where person_id = 7")).toBe("1");
  });
});

test.each([
  ["null, 'service', true", "CF001"],
  ["0, 'service', true", "CF001"],
  ["-1, 'service', true", "CF001"],
  ["7, 'service', null", "CF001"],
  ["7, 'spying', true", "CF002"],
  ["7, null, true", "CF002"],
  ["7, 'service', true, now() + interval '2 hours'", "CF001"],
])("record_consent(%s) is %s", async (values, code) => {
  expect(await database.rejects(`select privacy.record_consent(${values})`)).toMatchObject({ code });
});

test.each([
  ["repeat('v', 201)", "null", "document_version has 201 characters, evidence 0 bytes"],
  ["null", "jsonb_build_object('form', repeat('e', 40000))", "document_version has 0 characters, evidence 4"],
])("a document version %s and evidence %s are refused by size", async (version, evidence, text) => {
  const error = await database.rejects(
    `select privacy.record_consent(7, 'service', true, now(), ${version}, ${evidence})`,
  );
  expect(error.code).toBe("CF008");
  expect(error.message).toContain(text);
  expect(error.hint).toBe("Send at most 200 characters and 32768 bytes.");
});

test("an unknown purpose is answered with those there are, a long one is cut", async () => {
  const error = await database.rejects("select privacy.record_consent(7, repeat('spying', 1000), true)");
  expect(error.hint).toBe(
    "The purposes are advertising, analytics, personalization, sale, sensitive, service, sharing.",
  );
  expect(error.message.length).toBeLessThan(150);
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select privacy.record_consent(7, 'service', true)")).toEqual([
    "admin",
    "worker",
  ]);
});

test("a person or an identity that does not exist has no decision", async () => {
  for (const [call, problem] of [
    ["999999, 'analytics', true", "there is no person 999999"],
    ["1, 'analytics', true, identity_id => 999999", "there is no identity 999999"],
  ])
    expect(await database.rejects(`select privacy.record_consent(${call})`)).toMatchObject({
      code: "CF002",
      message: problem,
      hint: expect.stringContaining("track.find_person"),
    });
});
