import { describe, expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld, refresh } from "../support/world.ts";

/*
 * The person of a transaction: the setting that the row policies compare with, the function that sets it, and attempts
 * to set it to others.
 */

const database = await testDatabase();
await makeWorld(database);
await database.query(
  `select privacy.record_consent(identity.person_id, 'analytics', identity.external_id <> 'kim')
   from track.identity
   where identity.kind = 'user' and identity.external_id in ('ada', 'ben', 'kim')`,
);
// Kim opted out: her later events are kept without her, as events of person 0.
await database.query("select track.ingest($1)", [
  JSON.stringify([
    { type: "track", event: "Task Submitted", messageId: "k", userId: "kim", properties: { item: "course-drama" } },
    { type: "track", event: "Task Submitted", messageId: "a", userId: "ada", properties: { item: "course-algebra" } },
  ]),
]);
await refresh(database);
await database.query("select track.rebuild()");
await database.query("insert into track.stale (person_id, since, until) values (0, now(), now())");

const { ask } = await testApi(database);
const key = (name: string): Promise<string> =>
  database.value<string>("select person_id from track.identity where kind = 'user' and external_id = $1", [name]);

/** Tables and views that show learners their own rows. */
const tables = (
  await database.rows<{ name: string }>(
    `select attribute.attrelid::regclass::text as name
     from pg_attribute as attribute
     join pg_class as class on class.oid = attribute.attrelid and class.relkind in ('r', 'p', 'v')
     where attribute.attname = 'person_id'
       and has_table_privilege('insights_learner', attribute.attrelid, 'select')
       and class.relnamespace::regnamespace::text in ('privacy', 'track', 'analytics', 'recommend')
     order by 1`,
  )
).map(({ name }) => name);

test("person 0 has rows that could be shown", async () => {
  expect(tables).toEqual(expect.arrayContaining(["track.event", "track.person", "track.identity", "privacy.consent"]));
  for (const table of ["track.event", "track.person", "track.identity", "track.stale"]) {
    expect(await database.value(`select count(*) > 0 from ${table} where person_id = 0`), table).toBe(true);
  }
});

describe.each(
  [
    ["", "0", "00", "-0", "+0", " 0 ", "-1", "9223372036854775807"].map((value) => ({ value, code: undefined })),
    ["abc", "1e3", "1.0", "1 or true", "{1}", "null"].map((value) => ({ value, code: "22P02" })),
    ["99999999999999999999"].map((value) => ({ value, code: "22003" })),
  ].flat(),
)('insights.person_id is "$value"', ({ value, code }) => {
  test("shows no rows of any person", async () => {
    await database.as("insights_learner", { "insights.person_id": value }, async (db) => {
      for (const table of [...tables, "track.identity_link"]) {
        if (code === undefined) expect(await db.rows(`select * from ${table}`), table).toEqual([]);
        else expect(await db.rejects(`select * from ${table}`), table).toMatchObject({ code });
      }
    });
  });
});

describe("track.sign_in", () => {
  test("shows a person her rows; the name alone shows nothing", async () => {
    const ada = await key("ada");
    await database.as("insights_learner", {}, async (db) => {
      await db.query("select set_config('insights.person', 'ada', true)");
      expect(await db.rows("select * from track.event")).toEqual([]);
      expect(await db.value("select track.sign_in()")).toBe(ada);
      const seen = await db.rows<{ person_id: string }>("select distinct person_id from track.event");
      expect(seen).toEqual([{ person_id: ada }]);
    });
  });

  test.each(["ghost", "none", "", "browser of ada", "0"])(
    'signs in no person for "%s", after any other person',
    async (name) => {
      await database.as("insights_learner", { "insights.person_id": await key("ben") }, async (db) => {
        expect(await db.value("select count(*) > 0 from track.event")).toBe(true);
        await db.query("select set_config('insights.person', $1, true)", [name]);
        expect(await db.value("select track.sign_in()")).toBe(null);
        expect(await db.value("select current_setting('insights.person_id')")).toBe("");
        for (const table of tables) expect(await db.rows(`select * from ${table}`), table).toEqual([]);
      });
    },
  );

  test("applies until the end of the transaction", async () => {
    const ada = await key("ada");
    const client = await database.pool.connect();
    try {
      await client.query("begin; select set_config('insights.person', 'ada', true); select track.sign_in()");
      const during = await client.query("select current_setting('insights.person_id') as id");
      expect(during.rows).toEqual([{ id: ada }]);
      await client.query("commit");
      const after = await client.query("select coalesce(current_setting('insights.person_id', true), '') as id");
      expect(after.rows).toEqual([{ id: "" }]);
    } finally {
      client.release();
    }
  });

  test("the first decision of an unknown person creates a person, whose rows are visible in the same transaction", async () => {
    await database.as("insights_learner", { "insights.person": "newcomer" }, async (db) => {
      expect((await db.rows("select basis from recommend.for_me()")).map(({ basis }) => basis)).toContain("popularity");
      expect(await db.rows("select * from track.my_journey('-infinity')")).toEqual([]);
      // Not through db, which undoes each attempt at an error.
      await db.query("select track.record_my_consent('personalization', true)");
      const rows = await db.rows(
        "select purpose, person_id = current_setting('insights.person_id')::bigint as own from privacy.consent",
      );
      expect(rows).toEqual([{ purpose: "personalization", own: true }]);
    });
  });

  test("a concurrent merge shows the transaction no rows of others", async ({ skip }) => {
    if (!database.native) skip("the embedded database is one session");
    await database.as("insights_learner", { "insights.person": "jon" }, async (db) => {
      const before = await key("jon");
      expect(await db.value("select count(*)::int from track.event")).toBe(3);
      await database.query("select track.link_identities('ida', 'jon')");
      expect(await key("jon")).not.toBe(before);
      expect(await db.rows("select * from track.event")).toEqual([]);
      expect(await db.value("select track.sign_in()")).toBe(await key("ida"));
      expect(await db.value("select count(*)::int from track.event")).toBe(6);
    });
    await database.query("select track.unlink_identities('ida', 'jon')");
  });
});

describe("over HTTP", () => {
  test("each concurrent request belongs to its own person", async () => {
    const people = ["ada", "ben", "cleo", "dan", "ghost", "eve"];
    const answers = await Promise.all(
      people.map((person) =>
        ask(`learner:${person}`, "{ a: trackEvents { nodes { personId } } b: trackPeople { nodes { personId } } }"),
      ),
    );
    for (const [index, { data, errors }] of answers.entries()) {
      expect(errors).toEqual([]);
      const seen = new Set([...data.a.nodes, ...data.b.nodes].map(({ personId }: { personId: string }) => personId));
      expect([...seen]).toEqual(people[index] === "ghost" ? [] : [await key(people[index] ?? "")]);
    }
  });

  test("rows that the mutation of an unknown person created are hers within the same request", async () => {
    const { data, errors } = await ask(
      "learner:a new person",
      `mutation {
        trackRecordMyConsent(input: { purpose: "personalization", granted: true }) {
          query { privacyConsents { nodes { purpose } } trackIdentities { nodes { externalId } } }
        }
      }`,
    );
    expect(errors).toEqual([]);
    expect(data.trackRecordMyConsent.query).toEqual({
      privacyConsents: { nodes: [{ purpose: "personalization" }] },
      trackIdentities: { nodes: [{ externalId: "a new person" }] },
    });
  });
});
