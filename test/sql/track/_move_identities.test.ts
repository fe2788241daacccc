import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { runs } from "../../support/runs.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();
await database.query("select track.make_partitions('2022-01-01')");

const misplaced = `
  select count(*)::int from track.event join track.identity using (identity_id)
  where event.person_id <> identity.person_id`;
const unknown = `
  select count(*)::int from track.event
  where person_id <> 0
    and not exists (
      select from track.stale
      where stale.person_id = event.person_id and isfinite(since) and occurred_at between since and until
    )
    and not exists (
      select from track.session
      where session.person_id = event.person_id and occurred_at between started_at and ended_at
    )`;

const identify = (anonymousId: string, userId: string) =>
  message({ type: "identify", event: undefined, anonymousId, userId });
const seen = (anonymousId: string, ...times: string[]) =>
  times.map((timestamp) => message({ userId: undefined, anonymousId, timestamp }));

/** Months of `track.event` that the transaction has locked. */
const locked = async (db: Queries): Promise<string[]> =>
  (
    await db.rows<{ name: string }>(
      `select distinct relname as name from pg_locks join pg_class on pg_class.oid = relation
       where pg_locks.pid = pg_backend_pid() and relname ~ '^event_\\d+_\\d+$' order by 1`,
    )
  ).map(({ name }) => name);

describe("a merge", () => {
  const ends = ["2022-03-31T23:59:59.999Z", "2026-03-01T00:00:00Z"];
  const months = ["event_2022_03", "event_2026_03"];

  test.each([
    ["events that are not refreshed yet", []],
    ["refreshed events", ["select track.refresh_sessions()"]],
    ["events that are queued for a rebuild", ["select track.refresh_sessions()", "select track.rebuild()"]],
    ["a rebuild before the refresh", ["select track.rebuild()"]],
  ])("locks the months of the events only, not those between: %s", async (label, steps) => {
    for (const [index, zone] of ["UTC", "America/New_York", "Asia/Kolkata"].entries()) {
      const browser = `browser of ${label} ${index}`;
      await ingest(database, seen(browser, ...ends));
      for (const step of steps) await database.query(step);
      await database.as("postgres", { timezone: zone }, async (db) => {
        await ingest(db, [identify(browser, `user of ${label} ${index}`)]);
        expect(await locked(db)).toEqual(months);
        expect(await db.value(misplaced)).toBe(0);
        expect(await db.value(unknown)).toBe(0);
      });
    }
  });

  test("a late identify of another user of the browser locks the months of its events only", async () => {
    const by = (userId: string, timestamp: string) => ({ ...identify("lab computer", userId), timestamp });
    await ingest(database, [by("first of the lab", "2022-01-10T00:00:00Z"), ...seen("lab computer", ...ends)]);
    for (const step of ["select track.refresh_sessions()", "select track.rebuild()"]) {
      await database.query(step);
      await database.as("postgres", {}, async (db) => {
        await ingest(db, [by("second of the lab", "2022-02-01T00:00:00Z")]);
        expect(await locked(db)).toEqual(months);
        expect(
          await db.value(
            "select count(*)::int from track.event where person_id = track.find_person('second of the lab')",
          ),
        ).toBe(2);
        expect(await db.value(misplaced)).toBe(0);
        expect(await db.value(unknown)).toBe(0);
      });
    }
  });

  test("an old and a new event of one batch queue two months", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, seen("traveller", ...ends));
      expect(
        await db.rows(
          `select since, until from track.stale join track.identity using (person_id)
           where external_id = 'traveller' order by since`,
        ),
      ).toEqual(ends.map((at) => ({ since: new Date(at), until: new Date(at) })));
    });
  });

  const at = fc.constantFrom(
    "2022-01-31T23:50:00Z",
    "2022-02-01T00:00:00Z",
    "2022-02-28T23:59:59.999999Z",
    "2022-03-01T00:00:00Z",
    "2022-03-31T22:30:00Z",
    "2023-05-31T23:59:00Z",
    "2023-06-01T00:10:00Z",
    "2026-03-01T00:00:00Z",
  );
  const who = fc.constantFrom("b1", "b2", "b3");
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant("see" as const), who, times: fc.array(at, { minLength: 1 }) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("alias" as const), who, other: who }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("identify" as const), who }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("unlink" as const), who }) },
    { weight: 1, arbitrary: fc.constant({ do: "refresh sessions" as const }) },
    { weight: 1, arbitrary: fc.constant({ do: "rebuild" as const }) },
  );

  test("moves every event of the identity, whatever the zone, the months and the queue", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 2, maxLength: 12 }),
        fc.constantFrom("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"),
        async (steps, zone) => {
          await database.as("postgres", { timezone: zone }, async (db) => {
            let sent = 0;
            for (const one of steps) {
              if (one.do === "see") {
                sent += one.times.length;
                await ingest(db, seen(one.who, ...one.times));
              } else if (one.do === "alias") {
                await ingest(db, [
                  message({ type: "alias", event: undefined, userId: `user ${one.other}`, previousId: one.who }),
                ]);
              } else if (one.do === "identify") {
                await ingest(db, [identify(one.who, `user ${one.who}`)]);
              } else if (one.do === "unlink") {
                await db.query(
                  `select track.unlink_identities(one.external_id, other.external_id)
                   from track.identity_link as link
                   join track.identity as one using (identity_id)
                   join track.identity as other on other.identity_id = linked_identity_id
                   where unlinked_at is null and one.external_id = $1
                   limit 1`,
                  [one.who],
                );
              } else {
                await db.query(one.do === "rebuild" ? "select track.rebuild()" : "select track.refresh_sessions()");
              }
              expect([await db.value(misplaced), await db.value(unknown)]).toEqual([0, 0]);
            }
            await refresh(db);
            expect([await db.value(misplaced), await db.value(unknown)]).toEqual([0, 0]);
            expect(
              await db.value(
                `select coalesce(sum(session.event_count), 0)::int from track.session
                 where person_id in (select person_id from track.identity where external_id in ('b1', 'b2', 'b3'))`,
              ),
            ).toBe(sent);
          });
        },
      ),
      { numRuns: runs(12, 5, database.native) },
    );
  });
});
