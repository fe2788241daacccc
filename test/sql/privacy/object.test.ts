import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

/** Two people with the same history, in the cohort `pro`. */
const profiled = <T>(work: (db: Queries) => Promise<T>): Promise<T> =>
  inside(async (db) => {
    await ingest(
      db,
      ["ada", "ben"].flatMap((userId) => [
        message({ userId, properties: { item: "course", itemKind: "course" } }),
        message({ userId, type: "identify", traits: { plan: "pro" } }),
      ]),
    );
    await db.query(
      "create temp table enrolments as select unnest('{ada,ben}'::text[]) as person, 'course' as item, now() - interval '9 days' as enrolled_at",
    );
    await db.query("select track.sync_enrolments('enrolments')");
    await db.query(`select analytics.define_cohort('pro', '{"trait": "plan", "is": "pro"}')`);
    await refresh(db);
    return work(db);
  });

test("no profiling: no segment and prediction, no interaction and list", async () => {
  await profiled(async (db) => {
    expect(await db.value("select privacy.object('ada')")).toEqual([
      "advertising",
      "analytics",
      "personalization",
      "sale",
      "sensitive",
      "sharing",
    ]);
    await refresh(db);
    const ben = await db.rows("select track.find_person('ben') as person_id");
    expect(await db.rows("select person_id from recommend.interaction")).toEqual(ben);
    expect(await db.rows("select person_id from analytics._learner_features(array[now()])")).toEqual(ben);
    expect(await db.rows("select person_id from analytics.cohort_people('pro')")).toEqual(ben);
    expect(await db.rows("select person_id from analytics.person_rfm()")).toEqual(ben);
    expect(await db.rows("select purpose, granted, evidence from privacy.consent order by 1")).toEqual(
      ["advertising", "analytics", "personalization", "sale", "sensitive", "sharing"].map((purpose) => ({
        purpose,
        granted: false,
        evidence: { objection: "GDPR article 21" },
      })),
    );
  });
});

test("one purpose alone, until a later grant", async () => {
  await profiled(async (db) => {
    expect(await db.value("select privacy.object('ada', 'analytics')")).toEqual(["analytics"]);
    await refresh(db);
    expect(await db.value("select count(*)::int from recommend.interaction")).toBe(2);
    expect(await db.value("select count(*)::int from analytics.cohort_people('pro')")).toBe(1);
    await db.query("select privacy.record_consent(track.find_person('ada'), 'analytics', true)");
    await refresh(db);
    expect(await db.value("select count(*)::int from analytics.cohort_people('pro')")).toBe(2);
  });
});

test("where analytics needs consent, those who have not granted it are in no segment", async () => {
  await profiled(async (db) => {
    await db.query("update privacy.purpose set basis = 'consent' where purpose = 'analytics'");
    await db.query("select privacy.record_consent(track.find_person('ada'), 'analytics', true)");
    await refresh(db);
    expect(await db.rows("select person from analytics.cohort_people('pro')")).toEqual([{ person: "ada" }]);
  });
});

test("belongs to the name that was given, and answers its requests", async () => {
  await profiled(async (db) => {
    await db.query("select track.merge_persons('ada', 'ben')");
    await db.query("select privacy.open_request('ben', 'objection'), privacy.open_request('ben', 'opt_out', 'ccpa')");
    await db.query("select privacy.open_request('ben', 'limit_use', 'ccpa')");
    const open = () => db.value("select array_agg(kind order by kind) from privacy.open_requests");
    await db.query("select privacy.object('ben', 'personalization')");
    expect(await open()).toEqual(["limit_use", "opt_out"]);
    // By the CCPA, an opt-out is one of sale and of sharing.
    await db.query("select privacy.object('ben', 'sale')");
    expect(await open()).toEqual(["limit_use", "opt_out"]);
    await db.query("select privacy.object('ben', 'sharing')");
    expect(await open()).toEqual(["limit_use"]);
    await db.query("select privacy.object('ben', 'sensitive')");
    expect(await open()).toBeNull();
    await db.query("select track.split_person('ada', '{ben}')");
    expect(
      await db.rows(
        "select privacy.allowed(track.find_person(name), 'personalization') as may from unnest('{ada,ben}'::text[]) as name",
      ),
    ).toEqual([{ may: true }, { may: false }]);
  });
});

test.each([
  ["'ada', 'spying'", "CF002"],
  ["'ada', 'service'", "CF005"],
  ["'who is this'", "CF002"],
  ["null", "CF001"],
])("object(%s) is %s", async (values, code) => {
  await profiled(async (db) => expect(await db.rejects(`select privacy.object(${values})`)).toMatchObject({ code }));
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select privacy.object('ada')")).toEqual(["admin"]);
});
