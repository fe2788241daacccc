import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

const database = await testDatabase();
// People on both sides of the edge of a block.
await database.query("select setval('track.identity_identity_id_seq', 4092)");
await database.query(`
  create schema lab;
  grant usage on schema lab to insights_owner;
  create function lab.busy_people(set_name text, people bigint[]) returns setof bigint language sql stable as $$
    select person_id from track.event where person_id = any (people) group by person_id having count(*) > 1
  $$`);
await database.query("select track.define_person_set('lab.busy', 'At least two events.', 'lab.busy_people')");

const user = fc.constantFrom("ada", "ben", "eve");
const browser = fc.constantFrom("b1", "b2", "b3", "b4");
const name = fc.oneof(user, browser);

/** One change of the people or of their data; the numbers make messages that are sent twice duplicates. */
const step = fc.oneof(
  fc.record({ what: fc.constant("track"), one: name, other: name }),
  fc.record({ what: fc.constant("track nobody"), one: user, other: user }),
  fc.record({ what: fc.constant("enrol"), one: user, other: user }),
  fc.record({ what: fc.constant("identify"), one: user, other: browser }),
  fc.record({ what: fc.constant("alias"), one: user, other: name }),
  fc.record({ what: fc.constantFrom("link", "unlink", "unlink"), one: name, other: name }),
  fc.record({
    what: fc.constantFrom("exclude", "include"),
    one: fc.constantFrom("ada", "ada", "ben", "b1"),
    other: name,
  }),
  fc.record({ what: fc.constantFrom("set", "add", "add", "remove"), one: name, other: name }),
  fc.record({ what: fc.constantFrom("refresh some", "refresh"), one: name, other: name }),
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function take(db: Queries, { what, one, other }: Step, index: number): Promise<void> {
  const say = (fields: Record<string, unknown>) => ingest(db, [{ messageId: `m${index}`, type: what, ...fields }]);
  const people = "array(select distinct person_id from track.identity where external_id = any ($1))";
  const named = (sql: string) => db.query(sql, [[one, other]]);
  // A call with an unknown name is an error, and changes nothing.
  const attempt = async (sql: string, values: unknown[]): Promise<void> => {
    await db.query("savepoint attempt");
    try {
      await db.query(sql, values);
    } catch (error) {
      expect((error as { code?: string }).code).toMatch(/^CF00[12]$/);
      await db.query("rollback to attempt");
    }
  };
  const id = one.startsWith("b") && one.length === 2 ? { anonymousId: one } : { userId: one };
  switch (what) {
    case "track":
      await say({ ...id, event: "Task Submitted" });
      break;
    case "track nobody":
      await ingest(db, [
        {
          type: "track",
          messageId: `m${index}`,
          userId: one,
          event: "Task Submitted",
          context: { consent: { categoryPreferences: { analytics: false } } },
        },
      ]);
      break;
    case "enrol":
      await db.query(
        "create or replace view public.enrolled as select 'x'::text as person, 'c'::text as item, now() as enrolled_at",
      );
      await db.query(
        `create or replace view public.enrolled as select '${one}'::text as person, 'c'::text as item, now() as enrolled_at`,
      );
      await db.query("select track.sync_enrolments('public.enrolled')");
      break;
    case "identify":
      await say({ userId: one, anonymousId: other });
      break;
    case "alias":
      await say({ userId: one, previousId: other });
      break;
    case "link":
    case "unlink":
      await attempt(`select track.${what}_identities($1, $2)`, [one, other]);
      break;
    case "exclude":
      await attempt("select track.exclude_person($1, 'test')", [one]);
      break;
    case "include":
      await attempt("select track.include_person($1)", [one]);
      break;
    case "set":
      await named(`select track.set_person_set('listed', ${people})`);
      break;
    case "add":
    case "remove":
      await db.query(
        "select track.set_person_set('listed', '{}') where not exists (select from track.person_set where name = 'listed')",
      );
      await named(`select track.${what === "add" ? "add_to" : "remove_from"}_person_set('listed', ${people})`);
      break;
    case "refresh some":
      await db.query("select track.refresh(1)");
      break;
    default:
      await refresh(db);
  }
}

const stored = (db: Queries) =>
  db.rows("select name, block, people::text from track.person_set_block where name !~ '^segment[.]' order by 1, 2");

/** The sets by their definitions, from the tables that they are about. */
const expected = (db: Queries) =>
  db.rows(`
    with named as (
      select
        identity.person_id,
        bool_or(identity.kind = 'user') as signed_in,
        bool_or(exclusion.identity_id is not null) as excluded,
        bool_or(member.identity_id is not null) as listed
      from track.identity
      left join track.exclusion using (identity_id)
      left join track.person_set_member as member on member.identity_id = identity.identity_id and member.name = 'listed'
      where identity.kind <> 'none'
      group by identity.person_id
    )
    select 'signed_in' as name, person_id from named where signed_in
    union all
    select 'counted', person_id from named where signed_in and not excluded
    union all
    select 'excluded', person_id from named where excluded
    union all
    select 'shareable', person_id from named
    union all
    select 'visitors', person_id from named where not excluded
    union all
    select 'listed', person_id from named where listed
    union all
    select 'lab.busy', person_id from track.event where person_id <> 0 group by person_id having count(*) > 1
    order by 1, 2`);

test("sets of people that are kept are those that are computed from scratch", { timeout: 600_000 }, async () => {
  let excluded = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), fc.boolean(), async (steps, always) => {
      await database.as("postgres", {}, async (db) => {
        for (const [index, one] of steps.entries()) {
          await take(db, one, index);
          if (always) await refresh(db);
        }
        await refresh(db);
        const kept = await stored(db);
        expect(
          await db.rows(
            "select person_set.name, member as person_id from track.person_set cross join track.person_set_members(name) as member where name !~ '^segment[.]' order by 1, 2",
          ),
        ).toEqual(await expected(db));
        // The sums contain the people of two of the sets, and are computed with them.
        await db.query(
          `truncate track.person_set_block, track.step, track.presence, track.item_month, track.item_day,
             track.course_presence`,
        );
        await db.query("select track.rebuild()");
        await db.query("select track.rebuild('track.person_set')");
        await refresh(db, 3);
        expect(await stored(db)).toEqual(kept);
        excluded += await db.value<number>("select count(*)::int from track.exclusion");
      });
    }),
    {
      numRuns: runs(25, 10, database.native),
      // With few runs, a random history may exclude nobody.
      examples: [
        [
          [
            { what: "track", one: "ada", other: "b1" },
            { what: "exclude", one: "ada", other: "b1" },
          ],
          false,
        ],
      ],
    },
  );
  expect(excluded).toBeGreaterThan(0);
});
