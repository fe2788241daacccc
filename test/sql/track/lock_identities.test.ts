import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
await ingest(database, [
  message({ userId: "ada" }),
  message({ userId: "grace" }),
  message({ userId: undefined, anonymousId: "browser" }),
]);

const ids = "array(select identity_id from track.identity where external_id in ('ada', 'browser'))";

test("returns whether all of the identities exist", async () => {
  expect(await database.value(`select track.lock_identities(${ids})`)).toBe(true);
  expect(await database.value(`select track.lock_identities(${ids} || 123456789::bigint)`)).toBe(false);
  expect(await database.value("select track.lock_identities('{}')")).toBe(true);
});

test("is for other rooms alone", async () => {
  expect(await rolesThatMay(database, "select track.lock_identities('{1}')")).toEqual([]);
});

test.runIf(database.native)("a move waits for the lock, another lock does not", async () => {
  const [one, other, mover] = await Promise.all([1, 2, 3].map(() => database.pool.connect()));
  if (one === undefined || other === undefined || mover === undefined) throw new Error("no connection");
  try {
    await one.query("begin");
    await one.query(`select track.lock_identities(${ids})`);
    await other.query("begin");
    await other.query("set local lock_timeout = '2s'");
    expect((await other.query(`select track.lock_identities(${ids}) as locked`)).rows).toEqual([{ locked: true }]);
    await other.query("rollback");
    await mover.query("begin");
    await mover.query("set local lock_timeout = '100ms'");
    await expect(mover.query("select track.link_identities('ada', 'browser')")).rejects.toMatchObject({
      code: "55P03",
    });
    await mover.query("rollback");
  } finally {
    for (const client of [one, other, mover]) {
      await client.query("rollback");
      client.release();
    }
  }
});
