import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * After any history of events, links of people, moves and merges of items and changes of roles: an instructor sees a course
 * if and only if the tree and the roles, followed here step by step, say that she teaches it; and the figures are those of
 * plain SQL over the events.
 */

const database = await testDatabase();

const person = fc.constantFrom("ann", "bea", "cid", "dot");
const item = fc.constantFrom("i0", "i1", "i2", "i3", "i4");

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ what: fc.constant("event"), person, other: person, item, parent: item }) },
  fc.record({ what: fc.constantFrom("link", "unlink"), person, other: person, item, parent: item }),
  { weight: 2, arbitrary: fc.record({ what: fc.constant("move"), person, other: person, item, parent: item }) },
  fc.record({
    what: fc.constantFrom("merge", "merge", "unmerge", "enrol", "opt out", "refresh"),
    person,
    other: person,
    item,
    parent: item,
  }),
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constantFrom("instructor", "assistant", "author", "ended", "no role"),
      person,
      other: person,
      item,
      parent: item,
    }),
  },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function take(db: Queries, { what, person, other, item, parent }: Step, index: number): Promise<void> {
  const attempt = async (sql: string, values: unknown[]): Promise<void> => {
    await db.query("savepoint attempt");
    try {
      await db.query(sql, values);
    } catch (error) {
      expect((error as { code?: string }).code).toMatch(/^CF0(01|02|10)$/);
      await db.query("rollback to attempt");
    }
  };
  const minute = String(index).padStart(2, "0");
  switch (what) {
    case "event":
      await ingest(db, [
        {
          type: "track",
          messageId: `m${index}`,
          userId: person,
          event: "Task Submitted",
          timestamp: `2026-03-0${1 + (index % 3)}T10:${minute}:00Z`,
          properties: { item },
        },
      ]);
      break;
    case "link":
      await attempt("select track.link_identities($1, $2)", [person, other]);
      break;
    case "unlink":
      await attempt("select track.unlink_identities($1, $2)", [person, other]);
      break;
    case "move":
      await attempt(
        `update track.item set parent_item_id = (
           select parent.item_id from track.item as parent where parent.external_id = $2 and parent.merged_item_id is null and parent.external_id <> $1
         ) where external_id = $1 and merged_item_id is null`,
        [item, parent],
      );
      break;
    case "merge":
      await attempt("select track.merge_items($1, $2)", [item, parent]);
      break;
    case "unmerge":
      await attempt("select track.unmerge_item($1)", [item]);
      break;
    case "enrol":
      await db.query("delete from public.enrolled");
      await db.query("insert into public.enrolled values ($1, $2, '2026-01-01')", [person, item]);
      await db.query("select track.sync_enrolments('public.enrolled')");
      break;
    case "opt out":
      await db.query("select privacy.record_consent(track.find_person($1), 'analytics', false)", [person]);
      break;
    case "refresh":
      await refresh(db);
      break;
    default:
      await db.query("delete from public.staff where person = $1 and item = $2", [person, item]);
      if (what !== "no role") {
        await db.query("insert into public.staff values ($1, $2, $3, $4)", [
          person,
          item,
          what === "ended" ? "instructor" : what,
          what === "ended" ? "2020-01-01Z" : null,
        ]);
      }
      await db.query("select track.sync_item_roles('public.staff')");
  }
}

/** The items that contain an item, itself included, through its parents; a merged item is the other one. */
function containers(
  items: ReadonlyMap<string, { parent: string | null; merged: string | null }>,
  of: string,
): string[] {
  const found: string[] = [];
  for (let name: string | null = items.get(of)?.merged ?? of; name !== null; name = items.get(name)?.parent ?? null) {
    found.push(name);
  }
  return found;
}

async function check(db: Queries): Promise<void> {
  const rows = await db.rows<{ name: string; kind: string; parent: string | null; merged: string | null }>(
    `select item.external_id as name, item.kind, parent.external_id as parent, other.external_id as merged
     from track.item left join track.item as parent on parent.item_id = item.parent_item_id
     left join track.item as other on other.item_id = item.merged_item_id`,
  );
  const items = new Map(rows.map((row) => [row.name, row]));
  const people = new Map(
    (
      await db.rows<{ name: string; key: string }>(
        "select external_id as name, person_id as key from track.identity where kind = 'user'",
      )
    ).map(({ name, key }) => [name, key]),
  );
  const staff = await db.rows<{ person: string; item: string; role: string; ended_at: Date | null }>(
    "select * from public.staff",
  );

  for (const [name, key] of people) {
    const own = staff.filter(
      ({ person, role, ended_at }) => people.get(person) === key && role !== "author" && !ended_at,
    );
    const taught = new Set(own.map(({ item }) => items.get(item)?.merged ?? item));
    await db.query("select set_config('role', 'insights_instructor', true), set_config('insights.person', $1, true)", [
      name,
    ]);
    await db.query("select track.sign_in()");
    const courses = rows.filter(
      (row) => row.kind === "course" && containers(items, row.name).some((container) => taught.has(container)),
    );
    expect(await db.rows("select course from track.taught_courses() order by 1")).toEqual(
      courses.map(({ name: course }) => ({ course })).sort((a, b) => (a.course < b.course ? -1 : 1)),
    );
    for (const { name: course, kind } of rows) {
      const target = items.get(course)?.merged ?? course;
      const expected = courses.some((row) => row.name === target);
      await db.query("savepoint ask");
      const answer = await db.rows("select person, event_count::int from analytics.course_learners($1)", [course]).then(
        () => true,
        () => false,
      );
      await db.query("rollback to ask");
      expect({ name, course, kind, answer }).toEqual({ name, course, kind, answer: expected });
    }
    await db.query("set local role postgres");
  }

  // The figures, as plain SQL over the events computes them.
  for (const { name: course } of rows.filter(({ kind }) => kind === "course")) {
    const inside = rows.filter((row) => containers(items, row.name).includes(course)).map(({ name }) => name);
    const roles = staff.filter((row) => containers(items, course).includes(items.get(row.item)?.merged ?? row.item));
    const withRole = roles.map((row) => people.get(row.person));
    const expected = await db.rows<{ person_id: string; enrolled: boolean; out: boolean; events: number | null }>(
      `select identity.person_id, enrolled.yes as enrolled, coalesce(decided.out, false) as out, happened.events
       from (select distinct person_id from track.identity where kind = 'user') as identity
       cross join lateral (
         select exists (
           select from track.enrolment join track.item using (item_id)
           where enrolment.person_id = identity.person_id and item.external_id = $1
         ) as yes
       ) as enrolled
       left join lateral (
         select not granted as out from privacy.consent
         where consent.person_id = identity.person_id and purpose = 'analytics' order by decided_at desc, recorded_at desc limit 1
       ) as decided on true
       cross join lateral (
         select count(*)::int as events from track.event join track.item using (item_id)
         where event.person_id = identity.person_id and item.external_id = any ($2)
       ) as happened`,
      [course, inside],
    );
    const seen = await db.rows<{ person_id: string; events: number | null }>(
      `select identity.person_id, learner.event_count::int as events
       from analytics.course_learners($1) as learner
       join track.identity on identity.external_id = learner.person and identity.kind = 'user'`,
      [course],
    );
    // A role that ended counts too, so that the roles are read as they are stored.
    const ever = new Set(
      (
        await db.rows<{ person_id: string; item: string }>(
          "select item_role.person_id, item.external_id as item from track.item_role join track.item using (item_id)",
        )
      )
        .filter((row) => containers(items, course).includes(items.get(row.item)?.merged ?? row.item))
        .map((row) => row.person_id),
    );
    for (const key of withRole) expect(ever.has(key ?? "")).toBe(true);
    const wanted = expected
      .filter((row) => row.enrolled || (!row.out && (row.events ?? 0) > 0 && !ever.has(row.person_id)))
      .map((row) => ({ person_id: row.person_id, events: row.out ? null : row.events }));
    const inOrder = (a: { person_id: string }, b: { person_id: string }): number =>
      Number(a.person_id) - Number(b.person_id);
    expect({ course, learners: [...seen].sort(inOrder) }).toEqual({ course, learners: wanted.sort(inOrder) });
  }
}

test("instructors see their courses only, and exact figures, after any history", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      await database.as("postgres", {}, async (db) => {
        await db.query(`
          create table public.items (external_id text, kind text, parent text);
          insert into public.items values
            ('i0', 'course', null), ('i1', 'course', 'i0'), ('i2', 'module', 'i1'), ('i3', 'task', 'i2'), ('i4', 'course', null);
          create table public.staff (person text, item text, role text, ended_at timestamptz);
          create table public.enrolled (person text, item text, enrolled_at timestamptz)`);
        await db.query("select track.sync_items('public.items')");
        await ingest(
          db,
          ["ann", "bea", "cid", "dot"].map((userId) => ({ type: "track", messageId: userId, userId, event: "Seen" })),
        );
        await refresh(db);
        for (const [index, one] of steps.entries()) await take(db, one, index);
        await check(db);
        await refresh(db);
        await check(db);
      });
    }),
    { numRuns: runs(10, 4, database.native) },
  );
}, 300_000);
