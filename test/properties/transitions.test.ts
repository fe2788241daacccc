import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";
import { pairs } from "./rollups.ts";

/* The transitions by month after any history are those of a computation from all sessions. */
const database = await testDatabase();

/** Sessions begin on both sides of the end of a month, and some continue in the next one. */
const start = Date.UTC(2026, 0, 31, 20);
const users = ["ada", "ben", "cleo", "dan"] as const;
const browsers = ["b1", "b2"] as const;
const items = ["page-1", "page-2", "page-3"];
const user = fc.constantFrom(...users);
const browser = fc.constantFrom(...browsers);

const event = fc.record({
  who: fc.constantFrom(...users, ...browsers),
  minute: fc.integer({ min: 0, max: 8 * 60 }),
  event: fc.constantFrom("Page Viewed", "Page Viewed", "Page Viewed", "Heartbeat", "Task Submitted"),
  item: fc.constantFrom(null, ...items, ...items),
  view: fc.constantFrom("v", "w"),
});
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ what: fc.constant("events" as const), events: fc.array(event, { maxLength: 30 }) }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("identify" as const), user, browser }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("alias" as const), user, previous: user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("unlink" as const), user, browser }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("exclude" as const), user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("include" as const), user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("erase" as const), user }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("delete" as const), fraction: fc.integer({ min: 2, max: 5 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ what: "merge" as const }) },
  { weight: 1, arbitrary: fc.constant({ what: "rebuild" as const }) },
  { weight: 1, arbitrary: fc.constant({ what: "upgrade" as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      what: fc.constant("refresh" as const),
      people: fc.integer({ min: 1, max: 4 }),
      step: fc.constantFrom(null, "track.session", "track.person_set", "track.transition"),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function perform(db: Queries, action: Step, key: string): Promise<void> {
  const isKnown = (name: string): Promise<boolean> =>
    db.value("select exists (select from track.identity where external_id = $1 and kind = 'user')", [name]);
  switch (action.what) {
    case "events":
      await ingest(
        db,
        action.events.map(
          ({ who, minute, event: type, item, view }, index): Message => ({
            type: "track",
            messageId: `${key}-${index}`,
            ...((browsers as readonly string[]).includes(who) ? { anonymousId: who } : { userId: who }),
            event: type,
            timestamp: new Date(start + minute * 60_000).toISOString(),
            properties: { viewId: view, ...(item === null ? {} : { item }) },
          }),
        ),
      );
      return;
    case "identify":
      await ingest(db, [{ type: "identify", messageId: key, userId: action.user, anonymousId: action.browser }]);
      return;
    case "alias":
      await ingest(db, [{ type: "alias", messageId: key, userId: action.user, previousId: action.previous }]);
      return;
    case "unlink":
      if (
        await db.value<boolean>(
          `select exists (
             select from track.identity_link as link
             join track.identity as one using (identity_id)
             join track.identity as other on other.identity_id = linked_identity_id
             where link.unlinked_at is null and one.external_id = $1 and other.external_id = $2)`,
          [action.browser, action.user],
        )
      )
        await db.query("select track.unlink_identities($1, $2)", [action.browser, action.user]);
      return;
    case "exclude":
      if (await isKnown(action.user)) await db.query("select track.exclude_person($1, 'staff')", [action.user]);
      return;
    case "include":
      if (
        await db.value<boolean>(
          "select exists (select from track.exclusion join track.identity using (identity_id) where external_id = $1)",
          [action.user],
        )
      )
        await db.query("select track.include_person($1)", [action.user]);
      return;
    case "erase":
      if (await isKnown(action.user)) await db.query("select privacy.erase_person($1)", [action.user]);
      return;
    case "delete":
      await db.query(
        `with deleted as (
           delete from track.event where abs(hashtext(event_id::text)) % $1 = 0 returning person_id, occurred_at
         )
         insert into track.stale (person_id, since, until)
         select person_id, min(occurred_at), max(occurred_at) from deleted group by person_id`,
        [action.fraction],
      );
      return;
    case "merge":
      if (
        await db.value<boolean>(
          `select count(*) = 2 from track.item
           where external_id in ('page-2', 'page-3') and merged_item_id is null`,
        )
      )
        await db.query("select track.merge_items('page-2', 'page-3')");
      return;
    case "rebuild":
      await db.query("select track.rebuild()");
      return;
    // As after an upgrade from a release without the table.
    case "upgrade":
      await db.query("truncate track.item_transition");
      await db.query(
        "insert into track.stale_transition_month values ('2026-01-01'), ('2026-02-01') on conflict do nothing",
      );
      return;
    case "refresh":
      await db.query("select track.refresh($1, $2)", [action.people, action.step]);
  }
}

test("transitions by month are those of the sessions, also to readers of queued months", async () => {
  const [stored, computed] = pairs["transitions"] as [string, string];
  let found = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 6, maxLength: 14 }), async (steps) => {
      await database.as("postgres", {}, async (db) => {
        for (const [index, one] of steps.entries()) await perform(db, one, `${index}`);
        // Before a refresh, a check finds nothing: all rows are those of the sessions as stored, or queued.
        const differing = `
          select sum((track._check_transitions(month, array(select item_id from track.item), false)).differing)::int
          from (values (date '2026-01-01'), ('2026-02-01')) as listed (month)`;
        expect(await db.value(differing)).toBe(0);
        await refresh(db);
        const rows = await db.rows(stored);
        expect(rows).toEqual(await db.rows(computed));
        expect(await db.value(differing)).toBe(0);
        expect(await db.value("select count(*)::int from track.stale_transition_month")).toBe(0);
        found += rows.length;
        // The month as a whole is what each change of it has left.
        for (const month of ["2026-01-01", "2026-02-01"])
          expect(await db.rows("select * from track.month_transitions($1) order by 2, 3", [month])).toEqual(
            await db.rows("select * from track.item_transition where month = $1 order by 2, 3", [month]),
          );
      });
    }),
    {
      numRuns: runs(30, 6, database.native),
      // One with transitions for certain.
      examples: [
        [
          [
            {
              what: "events",
              events: ["page-1", "page-2", "page-1"].map((item, minute) => ({
                who: "ada" as const,
                minute,
                event: "Page Viewed" as const,
                item,
                view: "v" as const,
              })),
            },
          ],
        ],
      ],
    },
  );
  expect(found).toBeGreaterThan(0);
});
