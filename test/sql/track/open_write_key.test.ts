import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

const hashOf = (key: string): string => createHash("sha256").update(key).digest("hex");

async function create(values: string): Promise<{ key_id: number; hash: string }> {
  const [created] = await database.rows<{ key_id: number; write_key: string }>(
    `select key_id, write_key from track.create_write_key(${values})`,
  );
  if (created === undefined) throw new Error("no key");
  return { key_id: created.key_id, hash: hashOf(created.write_key) };
}

const open = (hash: string, scope = "events", origin: string | null = null): Promise<unknown> =>
  database.rows("select * from track.open_write_key($1, $2, $3)", [hash, scope, origin]);
const refusal = (hash: string | null, scope: string | null = "events", origin: string | null = null) =>
  database.rejects("select * from track.open_write_key($1, $2, $3)", [hash, scope, origin]);

test("returns the source, level and rate of a key", async () => {
  const { key_id, hash } = await create("'app', 'signed_in', '{events,features}', '{}', 77");
  expect(await open(hash)).toEqual([{ key_id, source: "app", level: "signed_in", requests_per_minute: 77 }]);
  expect(await open(hash, "features", "https://any.example")).toHaveLength(1);
});

test("is for the API, which calls it as a worker", async () => {
  const { hash } = await create("'web'");
  expect(await rolesThatMay(database, `select track.open_write_key('${hash}', 'events')`)).toEqual(["worker"]);
});

test("an unknown, revoked or expired key, another scope and another origin are errors", async () => {
  const { key_id, hash } = await create("'web', 'anonymous', '{events}', '{https://campus.example}'");
  expect(await open(hash, "events", "https://campus.example")).toHaveLength(1);
  // Clients other than browsers send no origin.
  expect(await open(hash)).toHaveLength(1);
  expect(await refusal(hash, "events", "https://evil.example")).toMatchObject({
    code: "CF005",
    message: expect.stringContaining('the origin "https://evil.example" may not use the write key cfi_'),
  });
  expect(await refusal(hash, "features")).toMatchObject({
    code: "CF005",
    message: expect.stringContaining('scope "features"'),
  });
  expect(await refusal(hash, null)).toMatchObject({ code: "CF005" });
  for (const wrong of [null, "", "x", hash.toUpperCase(), `${hash}0`, "a".repeat(1_000_000), hashOf("cfi_0")]) {
    expect(await refusal(wrong)).toMatchObject({ code: "CF005", message: "the write key is unknown" });
  }
  await database.query("update track.write_key set expires_at = now() - interval '1 second' where key_id = $1", [
    key_id,
  ]);
  expect(await refusal(hash)).toMatchObject({ code: "CF005", message: expect.stringContaining("expired at ") });
  await database.query("select track.revoke_write_key($1)", [key_id]);
  expect(await refusal(hash)).toMatchObject({ code: "CF005", message: expect.stringContaining("is revoked") });
});

test("a key that expires during a transaction may not be used in the rest of it", async () => {
  await database.as("postgres", {}, async (db) => {
    const [created] = await db.rows<{ write_key: string }>(
      "select write_key from track.create_write_key('web', expires_at => clock_timestamp() + interval '0.1 seconds')",
    );
    await db.query("select pg_sleep(0.2)");
    await db.query("select set_config('insights.write_key', $1, true)", [hashOf(created?.write_key ?? "")]);
    expect(await db.rejects("select * from track.ingest('[]')")).toMatchObject({
      code: "CF005",
      message: expect.stringContaining("expired at "),
    });
  });
});

test("a batch with a key that may not be used stores nothing", async () => {
  const { key_id, hash } = await create("'web', 'anonymous', '{events}', '{https://campus.example}'");
  const browser = () => message({ userId: undefined, anonymousId: "b" });
  await database.as(
    "insights_visitor",
    { "insights.write_key": hash, "insights.origin": "https://campus.example" },
    async (db) => {
      expect(await ingest(db, [browser()])).toMatchObject({ accepted: 1 });
    },
  );
  const attempt = (settings: Record<string, string>) =>
    database.as("insights_visitor", settings, (db) =>
      db.rejects("select * from track.ingest($1::jsonb)", [JSON.stringify([browser()])]),
    );
  expect(await attempt({ "insights.write_key": hash, "insights.origin": "https://evil.example" })).toMatchObject({
    code: "CF005",
  });
  expect(await attempt({ "insights.write_key": "unknown" })).toMatchObject({ code: "CF005" });
  const features = await create("'web', 'anonymous', '{features}'");
  expect(await attempt({ "insights.write_key": features.hash })).toMatchObject({ code: "CF005" });
  await database.query("select track.revoke_write_key($1)", [key_id]);
  expect(await attempt({ "insights.write_key": hash })).toMatchObject({ code: "CF005" });
  expect(await database.value("select count(*) from track.event")).toBe("0");
});
