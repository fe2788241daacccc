import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("a key is revoked once, permanently", async () => {
  const id = await database.value("select key_id from track.create_write_key('web')");
  expect(await rolesThatMay(database, `select track.revoke_write_key(${id})`)).toEqual(["admin"]);
  expect(await database.value("select track.revoke_write_key($1)", [id])).toBe(true);
  expect(await database.value("select track.revoke_write_key($1)", [id])).toBe(false);
  expect(await database.value("select revoked_at is not null from track.write_key where key_id = $1", [id])).toBe(true);
  expect(await database.value("select count(*) from track.write_key_log where action = 'revoked'")).toBe("1");
  for (const change of ["track.rotate_write_key($1)", "track.change_write_key($1, '{features}')"]) {
    expect(await database.rejects(`select ${change}`, [id])).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("is revoked"),
    });
  }
});

test.each(["null", "2147483647", "-1"])("revoke_write_key(%s) is CF002", async (id) => {
  expect(await database.rejects(`select track.revoke_write_key(${id})`)).toMatchObject({ code: "CF002" });
});
