import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("changes what is given, and keeps the rest", async () => {
  const id = await database.value(
    "select key_id from track.create_write_key('web', 'anonymous', '{events}', '{}', 60)",
  );
  await database.query("select track.change_write_key($1, origins => '{https://campus.example}')", [id]);
  await database.query("select track.change_write_key($1, requests_per_minute => 90)", [id]);
  expect(
    await database.rows("select scopes, origins, requests_per_minute from track.write_key where key_id = $1", [id]),
  ).toEqual([{ scopes: ["events"], origins: ["https://campus.example"], requests_per_minute: 90 }]);
  expect(
    await database.rows(
      "select details -> 'requests_per_minute' as rate from track.write_key_log where action = 'changed' order by logged_at",
    ),
  ).toEqual([{ rate: 60 }, { rate: 90 }]);
  expect(await rolesThatMay(database, `select track.change_write_key(${id})`)).toEqual(["admin"]);
});

test("errors change nothing", async () => {
  const id = await database.value("select key_id from track.create_write_key('web')");
  for (const [values, code] of [
    ["null", "CF002"],
    ["0", "CF002"],
    [`${id}, '{everything}'`, "CF001"],
    [`${id}, null, '{campus.example}'`, "CF001"],
    [`${id}, null, null, 0`, "CF001"],
  ]) {
    expect(await database.rejects(`select track.change_write_key(${values})`)).toMatchObject({ code });
  }
  expect(await database.value("select count(*) from track.write_key_log where key_id = $1", [id])).toBe("1");
});
