import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const keyId = async (values: string): Promise<number> =>
  Number(await database.value(`select key_id from track.create_write_key(${values})`));
const rotate = async (id: number, keepOld = "7 days") =>
  (
    await database.rows<{ key_id: number; write_key: string; source: string; level: string }>(
      "select * from track.rotate_write_key($1, $2::interval)",
      [id, keepOld],
    )
  )[0];

test("the new key has the properties of the old one, which expires", async () => {
  const old = await keyId("'web', 'signed_in', '{events,features}', '{https://campus.example}', 120");
  const created = await rotate(old);
  expect(created).toMatchObject({ source: "web", level: "signed_in" });
  expect(
    await database.rows(
      `select key_id, source_id, scopes, origins, requests_per_minute, expires_at = now()::date + interval '7 days' as ignored,
        expires_at between now() + interval '6 days 23 hours' and now() + interval '7 days' as expires
      from track.write_key where key_id in ($1, $2) order by key_id`,
      [old, created?.key_id],
    ),
  ).toMatchObject([
    {
      key_id: old,
      scopes: ["events", "features"],
      origins: ["https://campus.example"],
      requests_per_minute: 120,
      expires: true,
    },
    { scopes: ["events", "features"], origins: ["https://campus.example"], requests_per_minute: 120, expires: null },
  ]);
  const hash = createHash("sha256")
    .update(created?.write_key ?? "")
    .digest("hex");
  expect(await database.value("select level from track.open_write_key($1, 'events')", [hash])).toBe("signed_in");
});

test("an old key that expires earlier is not given more time, and 0 ends it at once", async () => {
  const early = await keyId("'web', 'anonymous', '{events}', '{}', 10, now() + interval '1 hour'");
  await rotate(early);
  expect(
    await database.value("select expires_at < now() + interval '61 minutes' from track.write_key where key_id = $1", [
      early,
    ]),
  ).toBe(true);
  const leaked = await keyId("'web'");
  await rotate(leaked, "0");
  expect(await database.value("select expires_at <= now() from track.write_key where key_id = $1", [leaked])).toBe(
    true,
  );
  expect(await database.rejects("select track.rotate_write_key($1)", [leaked])).toMatchObject({ code: "CF001" });
});

test("errors name the key", async () => {
  const id = await keyId("'web'");
  expect(await database.rejects("select track.rotate_write_key(null)")).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select track.rotate_write_key(2147483647)")).toMatchObject({
    code: "CF002",
    message: "there is no write key 2147483647",
  });
  for (const interval of ["null", "'-1 day'", "'2 years'"]) {
    expect(await database.rejects(`select track.rotate_write_key(${id}, ${interval})`)).toMatchObject({
      code: "CF001",
    });
  }
  expect(await rolesThatMay(database, `select track.rotate_write_key(${id})`)).toEqual(["admin"]);
});

test("each change is in the log, with its actor and without the key", async () => {
  const id = Number(
    await database.as("insights_admin", { "insights.person": "olga" }, (db) =>
      db.value("select key_id from track.create_write_key('logged')"),
    ),
  );
  expect(id).toBeGreaterThan(0);
  const again = await keyId("'logged'");
  const created = await rotate(again);
  await database.query("select track.revoke_write_key($1)", [again]);
  expect(
    await database.rows(
      "select key_id, action, actor from track.write_key_log where key_id in ($1, $2) order by logged_at",
      [again, created?.key_id],
    ),
  ).toEqual([
    { key_id: again, action: "created", actor: "postgres" },
    { key_id: again, action: "rotated", actor: "postgres" },
    { key_id: created?.key_id, action: "created", actor: "postgres" },
    { key_id: again, action: "revoked", actor: "postgres" },
  ]);
  expect(JSON.stringify(await database.rows("select details from track.write_key_log"))).not.toMatch(
    /cfi_[0-9a-f]{20}/,
  );
});
