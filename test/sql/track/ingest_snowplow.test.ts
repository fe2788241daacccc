import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const send = (properties: Record<string, unknown>, event = "consent_preferences") => message({ event, properties });
const own = ["advertising", "analytics", "personalization", "sensitive"];
const all = [...own, "sale", "sharing"];
const decided = async (db: Queries) =>
  Object.fromEntries(
    (
      await db.rows<{ purpose: string; granted: boolean }>(
        "select purpose, granted from privacy.consent order by purpose",
      )
    ).map(({ purpose, granted }) => [purpose, granted]),
  );
const each = (purposes: string[], granted: boolean) =>
  Object.fromEntries(purposes.map((purpose) => [purpose, granted]));

test.each([
  // Data leaves the organization by a grant of this purpose alone.
  [{ eventType: "allow_all" }, each(own, true)],
  [{ eventType: "allow_all", consentScopes: ["sale"] }, { sale: true }],
  [{ eventType: "allow_all", consentScopes: ["analytics"] }, { analytics: true }],
  [{ eventType: "allow_all", consentScopes: [] }, {}],
  [
    { eventType: "allow_selected", consentScopes: ["advertising"] },
    { ...each(all, false), advertising: true },
  ],
  [{ eventType: "allow_selected", consentScopes: [] }, each(all, false)],
  [{ eventType: "deny_all" }, each(all, false)],
  [
    { eventType: "deny_all", consentScopes: ["service"] },
    { ...each(all, false), service: false },
  ],
  [{ eventType: "withdrawn" }, each(all, false)],
  [{ eventType: "withdrawn", consentScopes: ["advertising"] }, { advertising: false }],
  [{ eventType: "withdrawn", consentScopes: [] }, each(all, false)],
  [{ eventType: "expired" }, { advertising: false }],
  [{ eventType: "expired", consentScopes: ["analytics"] }, {}],
  [{ eventType: "pending", consentScopes: ["analytics"] }, {}],
  [{ eventType: "implicit_consent", consentScopes: ["analytics"] }, {}],
  [{ eventType: "implicit_consent", consentScopes: ["analytics"], gdprApplies: true }, {}],
  [{ eventType: "implicit_consent", consentScopes: ["analytics"], gdprApplies: false }, { analytics: true }],
  // Details have precedence.
  [
    { eventType: "allow_all", categoryPreferences: { analytics: false } },
    { ...each(own, true), analytics: false },
  ],
])("%j", async (properties, expected) => {
  for (const event of ["consent_preferences", "Segment Consent Preference Updated"])
    await inside(async (db) => {
      expect(await ingest(db, [send(properties, event)])).toMatchObject({ accepted: 1 });
      expect(await decided(db)).toEqual(expected);
      expect(await db.rows("select name from track.event join track.event_type using (event_type_id)")).toEqual([
        { name: "Segment Consent Preference Updated" },
      ]);
    });
});

test("keeps the message as evidence, with the version, the basis and the name", async () => {
  await inside(async (db) => {
    const properties = {
      eventType: "allow_all",
      basisForProcessing: "consent",
      consentUrl: "https://example.org/privacy",
      consentVersion: "4.0",
      consentScopes: ["advertising"],
      domainsApplied: ["example.org"],
      gdprApplies: true,
    };
    await ingest(db, [send(properties)]);
    expect(
      await db.rows(
        "select evidence, document_version, basis, subject_name, source, decided_by, valid_until from privacy.consent",
      ),
    ).toEqual([
      {
        evidence: properties,
        document_version: "4.0",
        basis: "consent",
        subject_name: "ada",
        source: "event",
        decided_by: "person",
        valid_until: null,
      },
    ]);
  });
});

test.each([
  [{}, "CF001", '"properties.eventType" is not given'],
  [{ eventType: "allow-all" }, "CF001", '"properties.eventType" is "allow-all"'],
  [{ eventType: "x".repeat(5000) }, "CF001", `"properties.eventType" is "${"x".repeat(100)}"`],
  [{ eventType: "allow_selected" }, "CF001", '"properties.consentScopes" is not given'],
  [{ eventType: "allow_all", consentScopes: "analytics" }, "CF001", '"properties.consentScopes" is "analytics"'],
  [
    { eventType: "allow_all", consentScopes: ["analytics", 7] },
    "CF001",
    '"properties.consentScopes" is ["analytics", 7]',
  ],
  [{ eventType: "allow_all", consentScopes: ["analytcs"] }, "CF002", 'there is no purpose "analytcs"'],
  [{ eventType: "pending", categoryPreferences: { adverts: true } }, "CF002", 'there is no purpose "adverts"'],
  [
    { eventType: "pending", categoryPreferences: { [`q${"z".repeat(5000)}`]: true } },
    "CF002",
    `there is no purpose "q${"z".repeat(99)}"`,
  ],
])("a decision that cannot be read is refused, and the others are stored: %j", async (properties, code, text) => {
  await inside(async (db) => {
    const result = await ingest(db, [send(properties), send({ eventType: "deny_all" })]);
    expect(result).toMatchObject({ accepted: 1, rejected: 1, errors: [{ index: 0, code, message: text }] });
    expect(await decided(db)).toEqual(each(all, false));
  });
});

test("the nearest purpose is named", async () => {
  const hint = async (name: string) => {
    const { errors } = (await inside((db) =>
      ingest(db, [send({ categoryPreferences: { [name]: true } }, "Segment Consent Preference Updated")]),
    )) as unknown as { errors: { hint: string }[] };
    return errors[0]?.hint;
  };
  expect(await hint("analytcs")).toBe('The nearest name is "analytics".');
  expect(await hint("qq")).toBe(
    "The purposes are advertising, analytics, personalization, sale, sensitive, service, sharing.",
  );
});
