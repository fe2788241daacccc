import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { makePeople } from "../../support/people.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await makePeople(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const years = (count: number): string => `(current_date - interval '${count} years')::date`;
const allowed = (db: Queries, purpose = "advertising") => db.value("select privacy.allowed(7, $1)", [purpose]);

test("below the age of consent, a grant stays void, and a guardian's counts", async () => {
  await inside(async (db) => {
    await db.query("select privacy.record_consent(7, 'advertising', true)");
    expect(await allowed(db)).toBe(true);
    await db.query(`select privacy.record_birth_date(7, ${years(12)})`);
    expect(await allowed(db)).toBe(false);
    // Other bases are not affected.
    expect(await allowed(db, "analytics")).toBe(true);
    await db.query("select privacy.record_consent(7, 'advertising', true)");
    expect(await allowed(db)).toBe(false);
    await db.query("select privacy.record_consent(7, 'advertising', true, decided_by => 'guardian')");
    expect(await allowed(db)).toBe(true);
    // Both may withdraw, and after that only the guardian can grant.
    await db.query("select privacy.record_consent(7, 'advertising', false)");
    expect(await allowed(db)).toBe(false);
    await db.query("select privacy.record_consent(7, 'advertising', true)");
    expect(await allowed(db)).toBe(false);
    await db.query("select privacy.record_consent(7, 'advertising', true, decided_by => 'guardian')");
    expect(await allowed(db)).toBe(true);
  });
});

test("a grant from before the birthday does not become valid by growing up", async () => {
  await inside(async (db) => {
    await db.query("select privacy.record_consent(7, 'advertising', true, now() - interval '1 year')");
    await db.query(`select privacy.record_birth_date(7, ${years(16)} - 30)`);
    expect(await allowed(db)).toBe(false);
    await db.query("select privacy.record_consent(7, 'advertising', true)");
    expect(await allowed(db)).toBe(true);
  });
});

test("the age is that of the country and of the purpose, and people are refreshed when it changes", async () => {
  await inside(async (db) => {
    await db.query(`select privacy.record_birth_date(7, ${years(14)})`);
    await db.query("select privacy.record_consent(7, 'advertising', true)");
    expect(await allowed(db)).toBe(false);
    await db.query("update privacy.setting set age_of_consent = 13");
    expect(await allowed(db)).toBe(true);
    await db.query("update privacy.purpose set minimum_age = 18 where purpose = 'advertising'");
    expect(await allowed(db)).toBe(false);
    // Whatever the basis, such as for profiling of children.
    await db.query("update privacy.purpose set minimum_age = 15 where purpose = 'personalization'");
    expect(await allowed(db, "personalization")).toBe(false);
    await db.query("update privacy.purpose set minimum_age = 0 where purpose = 'advertising'");
    expect(await allowed(db)).toBe(true);
  });
  await inside(async (db) => {
    await db.query(`select track.ingest('{"type": "identify", "messageId": "1", "userId": "ada"}')`);
    for (const sql of [
      "update privacy.setting set age_of_consent = 14",
      "update privacy.purpose set minimum_age = 18 where purpose = 'personalization'",
      `select privacy.record_birth_date(track.find_person('ada'), ${years(12)})`,
    ]) {
      await db.query("delete from track.changed");
      await db.query(sql);
      expect(await db.value("select count(*) > 0 from track.changed")).toBe(true);
    }
  });
});

test("replaces every other date of the person, also after a merge, and stays when people are split again", async () => {
  await inside(async (db) => {
    await db.query(`select track.ingest(format('[
      {"type": "identify", "messageId": "1", "userId": "ada", "traits": {"birthday": "%s"}},
      {"type": "identify", "messageId": "2", "userId": "ben", "traits": {"birthday": "1980-02-03T00:00:00Z"}}]', ${years(9)})::jsonb)`);
    const ages = () =>
      db.rows(
        `select external_id as name, extract(year from age(birth_date))::int as years, is_verified as verified,
           age.person_id = identity.person_id as own
         from privacy.person_age as age join track.identity using (identity_id) order by 1`,
      );
    const before = await ages();
    expect(before).toMatchObject([{ name: "ada", years: 9 }, { name: "ben" }]);
    await db.query("select track.link_identities('ada', 'ben')");
    expect(await ages()).toMatchObject([{ own: true }, { own: true }]);
    // The youngest age applies.
    await db.query("select privacy.record_consent(track.find_person('ben'), 'advertising', true)");
    expect(await db.value("select privacy.allowed(track.find_person('ben'), 'advertising')")).toBe(false);
    await db.query("select track.unlink_identities('ada', 'ben')");
    expect(await ages()).toEqual(before);

    await db.query("select track.link_identities('ada', 'ben')");
    await db.query(`select privacy.record_birth_date(track.find_person('ada'), ${years(30)})`);
    expect(await ages()).toMatchObject([
      { years: 30, verified: true },
      { years: 30, verified: true },
    ]);
    expect(await db.value("select privacy.allowed(track.find_person('ben'), 'advertising')")).toBe(true);
    // A message cannot change what was verified.
    await db.query(
      `select track.ingest(format('{"type": "identify", "messageId": "3", "userId": "ada", "traits": {"birthday": "%s"}}', ${years(9)})::jsonb)`,
    );
    expect(await ages()).toMatchObject([{ years: 30 }, { years: 30 }]);
    await db.query("select track.unlink_identities('ada', 'ben')");
    expect(await ages()).toMatchObject([
      { years: 30, own: true },
      { years: 30, own: true },
    ]);
  });
});

test.each([
  "null, '2000-01-01'",
  "0, '2000-01-01'",
  "7, null",
  "7, '1799-12-31'",
  "7, current_date + 3",
  "7, 'infinity'",
])("record_birth_date(%s) is CF001", async (values) => {
  const error = await database.rejects(`select privacy.record_birth_date(${values})`);
  expect(error.code).toBe("CF001");
  expect(error.hint).toBeTruthy();
});

test("is for admins and workers, and a learner sees her own date only", async () => {
  expect(await rolesThatMay(database, "select privacy.record_birth_date(7, '2000-01-01')")).toEqual([
    "admin",
    "worker",
  ]);
  await database.query(
    `select track.ingest('[{"type": "identify", "messageId": "1", "userId": "ada"}, {"type": "identify", "messageId": "2", "userId": "ben"}]')`,
  );
  await database.query(
    "select privacy.record_birth_date(track.find_person(name), '2000-01-01') from unnest(array['ada', 'ben']) as name",
  );
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    expect(await db.rows("select person_id = track.current_person_id() as own from privacy.person_age")).toEqual([
      { own: true },
    ]);
    expect(await db.rejects("update privacy.person_age set birth_date = '1980-01-01'")).toMatchObject({
      code: "42501",
    });
    expect(await db.rejects("update privacy.setting set age_of_consent = 0")).toMatchObject({ code: "42501" });
  });
});
