import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, type Message, message } from "./messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("postgres", {}, async (db) => {
    await db.query("insert into track.event_type (name, purpose) values ('Ad Clicked', 'advertising')");
    return await work(db);
  });

/** A date of birth, by the age in years. */
function born(years: number): string {
  const date = new Date();
  date.setUTCFullYear(date.getUTCFullYear() - years, 0, 1);
  return date.toISOString().slice(0, 10);
}

const birthday = (years: number, fields: Message = {}) =>
  message({ type: "identify", traits: { birthday: born(years) }, ...fields });
const ad = (fields: Message = {}) => message({ event: "Ad Clicked", ...fields });
const grant = (fields: Message = {}) =>
  message({
    event: "Segment Consent Preference Updated",
    properties: { categoryPreferences: { advertising: true } },
    ...fields,
  });
const agreeing = { context: { consent: { categoryPreferences: { advertising: true } } } };
const anonymous = (fields: Message = {}): Message => ({ userId: undefined, anonymousId: "b", ...fields });

const ads = (db: Queries) =>
  db.value<number>(
    "select count(*)::int from track.event join track.event_type using (event_type_id) where name = 'Ad Clicked'",
  );
const allowed = (db: Queries) => db.value("select privacy.allowed(track.find_person('ada'), 'advertising')");

/** Batches of a child, sent by the application's server, so that her clicks on advertising are stored. */
const attempts: Record<string, Message[][]> = {
  "grants, as an adult does": [[birthday(12)], [grant()], [ad()]],
  "grants in the message itself": [[birthday(12)], [ad(agreeing)]],
  "grants in the batch that states the birthday": [[birthday(12), grant(), ad(), ad(agreeing)]],
  "grants in the batch, before the birthday is stated": [[grant(), ad(), birthday(12)]],
  "grants with an earlier time": [
    [birthday(12)],
    [grant({ timestamp: "2026-01-01T00:00:00Z" })],
    [ad({ timestamp: "2026-01-02T00:00:00Z" })],
  ],
  "grants with a later time": [
    [birthday(12)],
    [grant({ timestamp: new Date(Date.now() + 3_000_000).toISOString() })],
    [ad()],
  ],
  "sends the click with another browser id": [[birthday(12)], [grant()], [ad({ anonymousId: "other" })]],
  "grants before she signs in": [
    [message(anonymous())],
    [grant(anonymous())],
    [birthday(12, { anonymousId: "b" })],
    [ad()],
    [ad(anonymous())],
  ],
  "grants as a browser that the batch links": [
    [grant(anonymous()), birthday(12, { anonymousId: "b" }), ad(anonymous()), ad()],
  ],
  "states another birthday afterwards": [[birthday(12)], [birthday(30)], [grant()], [ad()]],
  "states several birthdays in one batch": [[birthday(30), birthday(12), birthday(31)], [grant()], [ad()]],
  "states her age in the context": [
    [message({ type: "identify", context: { traits: { birthday: born(12) } } })],
    [grant()],
    [ad()],
  ],
  "opts out of analytics first, so that nothing is stored of her": [
    [
      message({
        event: "Segment Consent Preference Updated",
        properties: { categoryPreferences: { analytics: false } },
      }),
    ],
    [birthday(12)],
    [grant()],
    [ad()],
  ],
  "refuses analytics in the message with the birthday": [
    [birthday(12, { context: { consent: { categoryPreferences: { analytics: false } } } })],
    [grant()],
    [ad()],
  ],
  "takes the name of another by an alias": [
    [birthday(12)],
    [grant({ userId: "old" }), message({ type: "alias", previousId: "old" })],
    [ad()],
  ],
  "sends Snowplow's event": [
    [birthday(12)],
    [message({ event: "consent_preferences", properties: { eventType: "allow_all" } })],
    [ad()],
  ],
};

test.each(Object.entries(attempts))("a child who %s", async (_name, batches) => {
  await inside(async (db) => {
    const errors: unknown[] = [];
    for (const batch of batches) errors.push(...((await ingest(db, batch)) as unknown as { errors: unknown[] }).errors);
    expect(await ads(db)).toBe(0);
    expect(await allowed(db)).toBe(false);
    expect(errors.length).toBeGreaterThan(0);
    for (const error of errors)
      expect(error).toMatchObject({ code: "CF005", message: 'the person has not agreed to "advertising"' });
    expect(await db.value("select max(birth_date)::text from privacy.person_age")).toBe(born(12));
    // A guardian opens it.
    await db.query(
      "select privacy.record_consent(track.find_person('ada'), 'advertising', true, decided_by => 'guardian')",
    );
    expect(await ingest(db, [ad()])).toMatchObject({ accepted: 1 });
  });
});

test.each(Object.entries(attempts))("an adult who %s", async (name, batches) => {
  if (name.includes("several birthdays") || name.includes("another birthday")) return;
  await inside(async (db) => {
    for (const batch of JSON.parse(JSON.stringify(batches).replaceAll(born(12), born(40)))) await ingest(db, batch);
    expect(await ads(db)).toBeGreaterThan(0);
  });
});

test("the birthday of a client is a trait, and decides nothing", async () => {
  await inside(async (db) => {
    await ingest(db, [birthday(12)]);
    // The browser of the child.
    await db.query("set local role insights_learner; select set_config('insights.person', 'ada', true)");
    expect(await ingest(db, [birthday(40)])).toMatchObject({ accepted: 1 });
    await db.query("select track.sign_in()");
    expect(await db.value("select granted from track.record_my_consent('advertising', true)")).toBe(true);
    expect(await ingest(db, [ad()])).toMatchObject({ rejected: 1 });
    expect(await db.value("select privacy.allowed(track.current_person_id(), 'advertising')")).toBe(false);
    expect(await db.rejects("select privacy.record_birth_date(track.current_person_id(), '1980-01-01')")).toMatchObject(
      { code: "42501" },
    );
    await db.query("reset role");
    expect(await db.value("select max(birth_date)::text from privacy.person_age")).toBe(born(12));
  });
});

test("a person of age grants as before, and a date that is not one is a trait only", async () => {
  await inside(async (db) => {
    for (const [index, value] of [
      "2010",
      "01/02/2015",
      "2015-02-30",
      "2015-13-01",
      "soon",
      2015,
      null,
      ["2015-01-02"],
      "9999-99-99",
    ].entries())
      expect(
        await ingest(db, [message({ type: "identify", userId: `p${index}`, traits: { birthday: value } })]),
      ).toMatchObject({ accepted: 1 });
    expect(await db.value("select count(*)::int from privacy.person_age")).toBe(0);
    await ingest(db, [birthday(17), grant(), ad()]);
    expect(await ads(db)).toBe(1);
    expect(await db.value("select count(*)::int from privacy.person_age")).toBe(1);
  });
});

test("of duplicates, nothing is stored again", async () => {
  await inside(async (db) => {
    const sent = birthday(12);
    await ingest(db, [sent]);
    await db.query("delete from privacy.person_age");
    expect(await ingest(db, [sent])).toMatchObject({ duplicates: 1 });
    expect(await db.value("select count(*)::int from privacy.person_age")).toBe(0);
  });
});
