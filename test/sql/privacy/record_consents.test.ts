import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { makePeople } from "../../support/people.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await makePeople(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("records one decision per purpose; without a list, about all that a person can decide", async () => {
  await inside(async (db) => {
    const all = ["advertising", "analytics", "personalization", "sensitive"];
    const shared = ["sale", "sharing"];
    for (const granted of [true, false]) {
      expect(
        await db.rows("select purpose, granted, basis from privacy.record_consents(7, $1) order by 1", [granted]),
      ).toEqual([
        { purpose: "advertising", granted, basis: "consent" },
        { purpose: "analytics", granted, basis: "legitimate_interests" },
        { purpose: "personalization", granted, basis: "legitimate_interests" },
        // Data leaves the organization by a grant of this purpose alone, never by one of all.
        ...(granted ? [] : [{ purpose: "sale", granted, basis: "legitimate_interests" }]),
        { purpose: "sensitive", granted, basis: "legitimate_interests" },
        ...(granted ? [] : [{ purpose: "sharing", granted, basis: "legitimate_interests" }]),
      ]);
      for (const purpose of all) expect(await db.value("select privacy.allowed(7, $1)", [purpose])).toBe(granted);
      for (const purpose of shared) expect(await db.value("select privacy.allowed(7, $1)", [purpose])).toBe(granted);
      // A contract is not ended by a decision about consent.
      expect(await db.value("select privacy.allowed(7, 'service')")).toBe(true);
    }
    expect(
      await db.rows("select purpose from privacy.record_consents(7, true, '{analytics,service,analytics}') order by 1"),
    ).toEqual([{ purpose: "analytics" }, { purpose: "service" }]);
  });
});

test("keeps the name and the identity under which the person decided, so that a split takes the decision along", async () => {
  await inside(async (db) => {
    await db.query(
      `select track.ingest('[{"type": "identify", "messageId": "1", "userId": "ada"}, {"type": "identify", "messageId": "2", "userId": "ben"}]')`,
    );
    await db.query("select track.link_identities('ada', 'ben')");
    const ben = await db.value<string>("select identity_id from track.identity where external_id = 'ben'");
    await db.query("select privacy.record_consents(track.find_person('ada'), true, '{advertising}')");
    await db.query("select privacy.record_consents(track.find_person('ada'), true, '{analytics}', identity_id => $1)", [
      ben,
    ]);
    await db.query("select track.unlink_identities('ada', 'ben')");
    expect(
      await db.rows(
        "select subject_name, purpose, person_id = track.find_person(subject_name) as own from privacy.consent order by 1",
      ),
    ).toEqual([
      { subject_name: "ada", purpose: "advertising", own: true },
      { subject_name: "ben", purpose: "analytics", own: true },
    ]);
    expect(
      await db.rejects("select privacy.record_consents(track.find_person('ada'), true, identity_id => $1)", [ben]),
    ).toMatchObject({ code: "CF001" });
  });
});

test("a grant expires, and an earlier decision does not apply again", async () => {
  await inside(async (db) => {
    const allowed = () => db.value("select privacy.allowed(7, 'advertising')");
    await db.query("select privacy.record_consents(7, true, '{advertising}', now() - interval '3 days')");
    await db.query(
      "select privacy.record_consents(7, true, '{advertising}', now() - interval '2 days', valid_until => now() + interval '1 day')",
    );
    expect(await allowed()).toBe(true);
    await db.query("update privacy.consent set valid_until = now() where valid_until is not null");
    expect(await allowed()).toBe(false);
    await db.query("select privacy.record_consents(7, true, '{advertising}')");
    expect(await allowed()).toBe(true);
  });
});

test.each([
  ["null, true", "CF001"],
  ["0, true", "CF001"],
  ["7, null", "CF001"],
  ["7, true, '{}'", "CF001"],
  ["7, true, '{analytics,spying}'", "CF002"],
  ["7, true, array['analytics', null]", "CF002"],
  ["7, true, array_fill('analytics'::text, array[1001])", "CF001"],
  ["7, true, decided_at => now() + interval '2 hours'", "CF001"],
  ["7, false, valid_until => now() + interval '2 hours'", "CF001"],
  ["7, true, valid_until => now() - interval '2 hours'", "CF001"],
  ["7, true, decided_by => 'mother'", "CF001"],
  ["7, true, decided_by => null", "CF001"],
  ["7, true, identity_id => 8", "CF001"],
  ["7, true, document_version => repeat('v', 201)", "CF008"],
])("record_consents(%s) is %s, and records nothing", async (values, code) => {
  const error = await database.rejects(`select privacy.record_consents(${values})`);
  expect(error.code).toBe(code);
  expect(error.hint).toBeTruthy();
  expect(await database.value("select count(*)::int from privacy.consent")).toBe(0);
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select privacy.record_consents(7, true)")).toEqual(["admin", "worker"]);
});
