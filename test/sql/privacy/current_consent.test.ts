import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await database.query(
  `select track.ingest('[
     {"type": "identify", "messageId": "1", "userId": "ada"}, {"type": "identify", "messageId": "2", "userId": "ben"}]')`,
);
await database.query(
  `insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, recorded_at, source, document_version)
   select person_id, person_id, purpose, granted, decided_at::timestamptz, recorded_at::timestamptz, source, document_version
   from track.identity
   join (
     values
       ('ada', 'analytics', true, '2026-01-02 00:00Z', '2026-01-02 00:00Z', 'api', 'v1'),
       -- Late, and an older decision.
       ('ada', 'analytics', false, '2026-01-01 00:00Z', '2026-01-03 00:00Z', 'event', null),
       -- At the same time: what was recorded last.
       ('ada', 'advertising', true, '2026-01-01 00:00Z', '2026-01-01 00:00Z', 'import', null),
       ('ada', 'advertising', false, '2026-01-01 00:00Z', '2026-01-01 00:01Z', 'gpc', null),
       ('ben', 'analytics', false, '2026-01-05 00:00Z', '2026-01-05 00:00Z', 'api', null)
   ) as said (name, purpose, granted, decided_at, recorded_at, source, document_version) on said.name = external_id`,
);

const current = `
  select external_id as person, purpose, granted, decided_at, source, document_version
  from privacy.current_consent join track.identity using (person_id)
  order by 1, 2`;

const ofAda = [
  {
    person: "ada",
    purpose: "advertising",
    granted: false,
    decided_at: new Date("2026-01-01T00:00Z"),
    source: "gpc",
    document_version: null,
  },
  {
    person: "ada",
    purpose: "analytics",
    granted: true,
    decided_at: new Date("2026-01-02T00:00Z"),
    source: "api",
    document_version: "v1",
  },
];

test("has one row per person and purpose: the last decision, and of one time the one recorded last", async () => {
  const rows = await database.rows(current);
  expect(rows.slice(0, 2)).toEqual(ofAda);
  expect(rows.slice(2)).toMatchObject([{ person: "ben", purpose: "analytics", granted: false }]);
});

test("is what privacy.allowed answers by, wherever anything was decided", async () => {
  expect(
    await database.rows(
      "select person_id from privacy.current_consent where granted is distinct from privacy.allowed(person_id, purpose)",
    ),
  ).toEqual([]);
});

test("shows a learner her own decisions, and is read by those who may read decisions", async () => {
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) =>
    expect(await db.rows(current)).toEqual(ofAda),
  );
  expect(await rolesThatMay(database, "select * from privacy.current_consent")).toEqual([
    "learner",
    "instructor",
    "admin",
    "worker",
  ]);
});
