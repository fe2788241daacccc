import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
const at = (day: number): string => new Date(Date.UTC(2026, 0, 1 + day)).toISOString();
const identify = (userId: string, day: number) => ({
  type: "identify",
  messageId: `${userId} ${day}`,
  userId,
  anonymousId: "browser",
  timestamp: at(day),
});
await ingest(database, [
  message({ userId: "ada", timestamp: at(0) }),
  message({ userId: undefined, anonymousId: "browser", timestamp: at(0) }),
  message({ userId: undefined, anonymousId: "other", timestamp: at(0) }),
]);
await ingest(database, [identify("ada", 3), identify("grace", 5)]);

test("returns the person that people_of_identities returns, for each identity and time", async () => {
  const rows = await database.rows<{ locked: string | null; expected: string | null }>(
    `select track.lock_person(identity_id, at)::text as locked,
       (track.people_of_identities(array[identity_id], array[at]))[1]::text as expected
     from (select identity_id from track.identity union all select 123456789 union all select null) as identity
     cross join unnest($1::timestamptz[]) as at`,
    [[at(-9), at(1), at(4), at(6), "-infinity", "infinity", null]],
  );
  for (const { locked, expected } of rows) expect(locked).toBe(expected);
  expect(rows.filter(({ expected }) => expected !== null).length).toBeGreaterThan(20);
  // A browser of two people belongs to the one who had identified on it last.
  expect(
    new Set(
      await Promise.all(
        [4, 6].map((day) =>
          database.value(
            `select track.lock_person(min(identity_id), $1) from track.identity
             where external_id = 'browser' and kind = 'anonymous'`,
            [at(day)],
          ),
        ),
      ),
    ).size,
  ).toBe(2);
});

test("is for other rooms alone", async () => {
  expect(await rolesThatMay(database, "select track.lock_person(1, now())")).toEqual([]);
});

test.runIf(database.native)("a move waits for the lock, and the person after a move is returned", async () => {
  const [one, mover] = await Promise.all([1, 2].map(() => database.pool.connect()));
  if (one === undefined || mover === undefined) throw new Error("no connection");
  const lock =
    "select track.lock_person((select identity_id from track.identity where external_id = 'other'), now()) as person";
  try {
    await one.query("begin");
    await one.query(lock);
    await mover.query("begin");
    await mover.query("set local lock_timeout = '100ms'");
    await expect(mover.query("select track.link_identities('ada', 'other')")).rejects.toMatchObject({ code: "55P03" });
    await mover.query("rollback");
    await one.query("rollback");

    // The move is first: a lock of a statement that began before it returns the new person.
    await mover.query("begin");
    await mover.query("select track.link_identities('ada', 'other')");
    await one.query("begin");
    const waiting = one.query(lock);
    await mover.query("commit");
    const { rows } = await mover.query("select track.find_person('ada')::text as ada");
    expect((await waiting).rows).toEqual([{ person: rows[0].ada }]);
  } finally {
    for (const client of [one, mover]) {
      await client.query("rollback");
      client.release();
    }
  }
});
