import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("without a decision the lawful basis answers, and an unknown purpose has none", async () => {
  expect(
    await database.rows("select purpose, privacy.allowed(7, purpose) as allowed from privacy.purpose order by 1"),
  ).toEqual([
    { purpose: "advertising", allowed: false },
    { purpose: "analytics", allowed: true },
    { purpose: "personalization", allowed: true },
    { purpose: "sale", allowed: true },
    { purpose: "sensitive", allowed: true },
    { purpose: "service", allowed: true },
    { purpose: "sharing", allowed: true },
  ]);
  expect(await database.value("select privacy.allowed(7, 'spying')")).toBeNull();
});

test("the latest decision of the person wins over the lawful basis, and binds nobody else", async () => {
  await database.as("postgres", {}, async (db) => {
    const allowed = () =>
      db.rows("select person_id, purpose, privacy.allowed(person_id, purpose) as allowed from asked order by 1, 2");
    await db.query(
      "create temporary table asked as select * from unnest(array[7, 8]) as person_id, unnest(array['advertising', 'analytics']) as purpose",
    );
    await db.query(
      `insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at)
       values (7, 7, 'advertising', true, '2026-01-02'), (7, 7, 'advertising', false, '2026-01-01'), (7, 7, 'analytics', false, '2026-01-01')`,
    );
    expect(await allowed()).toEqual([
      { person_id: 7, purpose: "advertising", allowed: true },
      { person_id: 7, purpose: "analytics", allowed: false },
      { person_id: 8, purpose: "advertising", allowed: false },
      { person_id: 8, purpose: "analytics", allowed: true },
    ]);
    // Processing that needs consent is not allowed for a person who has not decided.
    await db.query("update privacy.purpose set basis = 'consent' where purpose = 'analytics'");
    expect(await db.value("select privacy.allowed(8, 'analytics')")).toBe(false);
  });
});

test("a learner is answered from own decisions only", async () => {
  await database.query(
    "insert into privacy.consent (person_id, identity_id, purpose, granted) values (7, 7, 'analytics', false)",
  );
  await database.as("insights_learner", { "insights.person": "unknown" }, async (db) =>
    expect(await db.value("select privacy.allowed(7, 'analytics')")).toBe(true),
  );
  await database.as("insights_admin", {}, async (db) =>
    expect(await db.value("select privacy.allowed(7, 'analytics')")).toBe(false),
  );
});

test("is for those who read decisions", async () => {
  expect(await rolesThatMay(database, "select privacy.allowed(7, 'service')")).toEqual([
    "learner",
    "instructor",
    "admin",
    "worker",
  ]);
});
