import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { makePeople } from "../../support/people.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await makePeople(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("keeps each version in each language, and the same one again changes nothing", async () => {
  await inside(async (db) => {
    const publish = "select text_id, body, language from privacy.publish_text('advertising', $1, $2, $3)";
    const [first] = await db.rows<{ text_id: string }>(publish, ["1", "We count clicks.", "en"]);
    await db.rows(publish, ["1", "Wir zählen Klicks.", "de-CH"]);
    await db.rows(publish, ["2", "We count clicks and views.", "en"]);
    expect(await db.rows(publish, ["1", "We count clicks.", "en"])).toEqual([first]);
    expect(await db.rows("select version, language, body from privacy.consent_text order by 1, 2")).toEqual([
      { version: "1", language: "de-CH", body: "Wir zählen Klicks." },
      { version: "1", language: "en", body: "We count clicks." },
      { version: "2", language: "en", body: "We count clicks and views." },
    ]);
    expect(await db.rejects("select privacy.publish_text('advertising', '1', 'Another text.')")).toMatchObject({
      code: "CF003",
      message: 'the version "1" of "advertising" in "en" has another text',
    });
    expect(
      await db.rejects("select privacy.publish_text('advertising', '1', 'We count clicks.', url => '/other')"),
    ).toMatchObject({ code: "CF003" });
  });
});

test("from the first text on, a decision names one of the versions, or none", async () => {
  await inside(async (db) => {
    const record = (purpose: string, version: string) =>
      `select privacy.record_consent(7, '${purpose}', true, document_version => ${version})`;
    await db.query(record("advertising", "'anything'"));
    await db.query("select privacy.publish_text('advertising', 'terms-1', 'We count clicks.')");
    await db.query(record("advertising", "'terms-1'"));
    await db.query(record("advertising", "null"));
    await db.query(record("analytics", "'anything'"));
    expect(await db.rejects(record("advertising", "'terms-2'"))).toMatchObject({
      code: "CF002",
      message: 'there is no version "terms-2" of the text of "advertising"',
      hint: 'The nearest version is "terms-1".',
    });
    expect(await db.rejects(record("advertising", "repeat('x', 150)"))).toMatchObject({
      code: "CF002",
      hint: "Publish it first, with privacy.publish_text.",
    });
  });
  // A message from elsewhere keeps its version, whatever it is.
  await inside(async (db) => {
    await db.query("select privacy.publish_text('advertising', 'terms-1', 'We count clicks.')");
    await db.query(`select track.ingest('{"type": "track", "messageId": "1", "userId": "ada", "event": "consent_preferences",
      "properties": {"eventType": "allow_all", "consentScopes": ["advertising"], "consentVersion": "cmp-7"}}')`);
    expect(await db.value("select document_version from privacy.consent")).toBe("cmp-7");
  });
});

test("is never changed by a role", async () => {
  for (const sql of [
    "update privacy.consent_text set body = 'x'",
    "delete from privacy.consent_text",
    "insert into privacy.consent_text (purpose, version, body, valid_from) values ('service', '1', 'x', now())",
  ])
    expect(await rolesThatMay(database, sql)).toEqual([]);
  expect(await rolesThatMay(database, "select * from privacy.consent_text")).toContain("visitor");
});

test.each([
  ["'spying', '1', 'x'", "CF002"],
  ["null, '1', 'x'", "CF002"],
  ["'service', null, 'x'", "CF001"],
  ["'service', '', 'x'", "CF001"],
  ["'service', '1', null", "CF001"],
  ["'service', '1', ' '", "CF001"],
  ["'service', '1', 'x', null", "CF001"],
  ["'service', '1', 'x', 'English'", "CF001"],
  ["'service', '1', 'x', repeat('e', 10000)", "CF001"],
  ["'service', '1', 'x', valid_from => null", "CF001"],
  ["'service', repeat('1', 201), 'x'", "CF008"],
  ["'service', '1', repeat('x', 1000001)", "CF008"],
  ["'service', '1', 'x', url => repeat('x', 2001)", "CF008"],
])("publish_text(%s) is %s", async (values, code) => {
  const error = await database.rejects(`select privacy.publish_text(${values})`);
  expect(error.code).toBe(code);
  expect(error.hint).toBeTruthy();
  expect(error.message.length).toBeLessThan(300);
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select privacy.publish_text('service', '1', 'x')")).toEqual(["admin"]);
});
