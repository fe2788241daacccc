import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

interface NewKey {
  key_id: number;
  write_key: string;
  source: string;
  level: string;
}

const hashOf = (key: string): string => createHash("sha256").update(key).digest("hex");

async function createKey(values: string): Promise<NewKey> {
  const [created] = await database.rows<NewKey>(`select * from track.create_write_key(${values})`);
  if (created === undefined) throw new Error("no key");
  return created;
}

/** Runs work with a key, as a role; without a role as a visitor, as the API does for a request without a token. */
const withKey = <T>(
  key: string,
  work: (db: Queries) => Promise<T>,
  { role = "insights_visitor", person = "", origin = "" } = {},
): Promise<T> =>
  database.as(
    role,
    {
      "insights.write_key": hashOf(key),
      "insights.origin": origin,
      ...(person === "" ? {} : { "insights.person": person }),
    },
    work,
  );

const sourceOf = (db: Queries): Promise<unknown> =>
  db.rows("select name, level from track.source join track.event using (source_id) group by 1, 2 order by 1, 2");

const asUser = () => message({ userId: "someone", receivedAt: undefined });
const asBrowser = () => message({ userId: undefined, anonymousId: "a-browser" });
const refused = { accepted: 0, rejected: 1, errors: [{ code: "CF005" }] };

test("returns the key once, and stores its hash and first characters", async () => {
  const created = await createKey("'shop', 'server'");
  expect(created).toMatchObject({ source: "shop", level: "server" });
  expect(created.write_key).toMatch(/^cfi_[0-9a-f]{64}$/);
  expect(
    await database.rows(
      "select encode(key_hash, 'hex') as hash, preview, scopes, origins, requests_per_minute from track.write_key where key_id = $1",
      [created.key_id],
    ),
  ).toEqual([
    {
      hash: hashOf(created.write_key),
      preview: created.write_key.slice(0, 12),
      scopes: ["events"],
      origins: [],
      requests_per_minute: 6000,
    },
  ]);
  const everything = JSON.stringify(
    await database.rows("select * from track.write_key join track.write_key_log using (key_id)"),
  );
  expect(everything).not.toContain(created.write_key);
});

test.each([
  ["''", "CF001"],
  ["null", "CF001"],
  ["'   '", "CF001"],
  ["repeat('x', 101)", "CF001"],
  ["'web', 'root'", "CF001"],
  ["'web', null", "CF001"],
  ["'web', 'anonymous', '{everything}'", "CF001"],
  ["'web', 'anonymous', '{}'", "CF001"],
  ["'web', 'anonymous', null", "CF001"],
  ["'web', 'anonymous', array[null]", "CF001"],
  ["'web', 'anonymous', '{events}', '{campus.example}'", "CF001"],
  ["'web', 'anonymous', '{events}', '{https://Campus.example}'", "CF001"],
  ["'web', 'anonymous', '{events}', '{https://campus.example/}'", "CF001"],
  ["'web', 'anonymous', '{events}', '{*}'", "CF001"],
  ["'web', 'anonymous', '{events}', null", "CF001"],
  ["'web', 'anonymous', '{events}', array[null]", "CF001"],
  ["'web', 'anonymous', '{events}', array_fill('https://a.example'::text, array[101])", "CF008"],
  ["'web', 'anonymous', '{events}', '{}', 0", "CF001"],
  ["'web', 'anonymous', '{events}', '{}', null", "CF001"],
  ["'web', 'anonymous', '{events}', '{}', 10, now()", "CF001"],
])("create_write_key(%s) is %s", async (values, code) => {
  expect(await database.rejects(`select track.create_write_key(${values})`)).toMatchObject({ code });
});

test("only administrators create keys, and nobody reads a hash", async () => {
  expect(await rolesThatMay(database, "select track.create_write_key('web')")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select preview from track.write_key")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select key_hash from track.write_key")).toEqual([]);
  expect(await rolesThatMay(database, "update track.write_key set requests_per_minute = 9")).toEqual([]);
  expect(await rolesThatMay(database, "update track.source set level = 'server'")).toEqual([]);
  expect(await rolesThatMay(database, "delete from track.write_key_log")).toEqual([]);
});

describe("the level of a key decides what its messages may say", () => {
  test("the key of a server gives the rights of a server, whatever the role of the request", async () => {
    const { write_key } = await createKey("'backend', 'server'");
    for (const role of ["insights_visitor", "insights_learner"]) {
      await withKey(
        write_key,
        async (db) => {
          expect(await ingest(db, [asUser()])).toMatchObject({ accepted: 1 });
          await db.query("set local role postgres");
          expect(await sourceOf(db)).toEqual([{ name: "backend", level: "server" }]);
        },
        { role, person: "ben" },
      );
    }
  });

  test("a key that browsers hold adds nothing to the rights of a visitor", async () => {
    for (const level of ["anonymous", "signed_in"]) {
      const { write_key } = await createKey(`'web', '${level}'`);
      await withKey(write_key, async (db) => {
        expect(await ingest(db, [asUser()])).toMatchObject(refused);
        expect(await ingest(db, [message({ type: "alias", previousId: "a", userId: "b" })])).toMatchObject(refused);
        expect(await ingest(db, [asBrowser()])).toMatchObject({ accepted: 1 });
        await db.query("set local role postgres");
        expect(await sourceOf(db)).toEqual([{ name: "web", level: "anonymous" }]);
      });
    }
  });

  test("with it a signed-in person names herself, and only with a key of that level", async () => {
    const web = await createKey("'web', 'signed_in'");
    const kiosk = await createKey("'kiosk', 'anonymous'");
    const learner = { role: "insights_learner", person: "someone" };
    await withKey(
      web.write_key,
      async (db) => expect(await ingest(db, [asUser()])).toMatchObject({ accepted: 1 }),
      learner,
    );
    await withKey(web.write_key, async (db) => expect(await ingest(db, [asUser()])).toMatchObject(refused), {
      ...learner,
      person: "ben",
    });
    await withKey(kiosk.write_key, async (db) => expect(await ingest(db, [asUser()])).toMatchObject(refused), learner);
    // Nor does such a key give a worker the rights of a server.
    await withKey(kiosk.write_key, async (db) => expect(await ingest(db, [asUser()])).toMatchObject(refused), {
      role: "insights_worker",
    });
  });
});

test("without a key, the role decides the level of the source", async () => {
  for (const [role, person, level] of [
    ["insights_visitor", "ada", "anonymous"],
    ["insights_learner", "", "anonymous"],
    ["insights_learner", "ada", "signed_in"],
    ["insights_instructor", "", "anonymous"],
    ["insights_instructor", "ada", "signed_in"],
    ["insights_analyst", "ada", "signed_in"],
    ["insights_worker", "", "server"],
    ["insights_admin", "ada", "server"],
    ["postgres", "", "server"],
  ]) {
    await database.as(role ?? "", { "insights.person": person ?? "" }, async (db) => {
      expect(await ingest(db, [asBrowser()])).toMatchObject({ accepted: 1 });
      await db.query("set local role postgres");
      expect(await sourceOf(db), `${role} ${person}`).toEqual([{ name: "default", level }]);
    });
  }
});

test("a visitor who uses a messageId first does not make the message of a server a duplicate", async () => {
  await database.as("postgres", {}, async (db) => {
    const stolen = { messageId: "order-1", timestamp: "2026-03-01T10:00:00Z" };
    await db.query("set local role insights_visitor");
    expect(await ingest(db, [{ ...asBrowser(), ...stolen, timestamp: undefined }])).toMatchObject({ accepted: 1 });
    await db.query("set local role insights_learner");
    await db.query("set local insights.person = 'ada'");
    expect(await ingest(db, [message({ ...stolen, timestamp: undefined })])).toMatchObject({ accepted: 1 });
    await db.query("set local role insights_worker");
    expect(await ingest(db, [message(stolen)])).toMatchObject({ accepted: 1 });
    expect(await ingest(db, [message(stolen)])).toMatchObject({ accepted: 0, duplicates: 1 });
  });
});

test("a batch with a key marks the day of its use", async () => {
  const { write_key, key_id } = await createKey("'used', 'server'");
  await database.as("postgres", { "insights.write_key": hashOf(write_key) }, async (db) => {
    const usedOn = () =>
      db.value("select used_on = (now() at time zone 'UTC')::date from track.write_key where key_id = $1", [key_id]);
    expect(await usedOn()).toBeNull();
    await ingest(db, []);
    expect(await usedOn()).toBe(true);
  });
});
