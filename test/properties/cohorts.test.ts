import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/* The people of cohorts and segments after any history are those of plain SQL over events, traits and enrolments. */
const database = await testDatabase();
// People on both sides of the edge of a block.
await database.query("select setval('track.identity_identity_id_seq', 4092)");

const users = ["ada", "ben", "cleo", "dan"];
const browsers = ["b1", "b2"];
const items = ["course-1", "module-1", "page-1", "course-2", "page-2"];
const person = fc.constantFrom(...users, ...browsers);

const event = fc.record({
  who: person,
  hour: fc.oneof(fc.integer({ min: 0, max: 70 * 24 }), fc.integer({ min: 24 * 24, max: 32 * 24 })),
  event: fc.constantFrom("Page Viewed", "Task Submitted", "Task Submitted", "Task Graded", "Submitted"),
  item: fc.constantFrom(null, ...items),
  score: fc.constantFrom<unknown>(5, "5", 6),
});
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ what: fc.constant("events" as const), events: fc.array(event, { maxLength: 12 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      what: fc.constant("traits" as const),
      who: person,
      at: fc.integer({ min: 0, max: 40 }),
      traits: fc.record(
        {
          plan: fc.constantFrom<unknown>("pro", "Pro plus", "free", ["pro", "old"], null),
          age: fc.constantFrom<unknown>(20, 31, 40.5, "31"),
        },
        { requiredKeys: [] },
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constantFrom("identify" as const, "unlink" as const, "alias" as const),
      user: fc.constantFrom(...users),
      other: person,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constant("enrol" as const),
      user: fc.constantFrom(...users),
      item: fc.constantFrom("course-1", "course-2"),
      status: fc.constantFrom("active", "completed", "dropped"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constantFrom("exclude" as const, "list" as const),
      user: fc.constantFrom(...users),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("delete" as const), fraction: fc.integer({ min: 2, max: 5 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constantFrom("merge items" as const, "merge events" as const, "move" as const, "rebuild" as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("days" as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("redefine" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      what: fc.constant("refresh" as const),
      people: fc.integer({ min: 1, max: 3 }),
      step: fc.constantFrom(null, null, "track.session", "analytics.cohort"),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const day = "(occurred_at at time zone 'UTC')::date";
/** Events with whether they are automatic, their name now, and whether they are of an item or of what it contains. */
const events = `(select event.person_id, occurred_at, ${day} as day, event.properties, event.item_id, event_type.name,
    event_type.is_automatic or source.is_automatic as is_automatic
  from track.event join track.event_type using (event_type_id) join track.source using (source_id)) as event`;
const within = (item: string): string =>
  `item_id in (select item_id from track.item_ancestor where ancestor_item_id = (
     select coalesce(merged_item_id, item_id) from track.item where external_id = '${item}'))`;
const having = (condition: string, people: string): string =>
  `(select count(${people}) from ${events} where event.person_id = person.person_id and ${condition})`;
const trait = (name: string): string =>
  `(select value from track.trait where trait.person_id = person.person_id and name = '${name}'
    order by set_at desc, value desc, identity_id limit 1)`;
const submitted = `(select coalesce(other.name, own.name) from track.event_type as own left join track.event_type as other
  on other.event_type_id = own.merged_event_type_id where own.name = 'Submitted')`;

/** Rules, and the same as SQL about `person`, as of the day AS_OF. */
const rules: Record<string, [unknown, string]> = {
  plan: [{ trait: "plan", is: "pro" }, `${trait("plan")} = '"pro"'`],
  not_plan: [{ trait: "plan", is_not: "pro" }, `${trait("plan")} = '"pro"' is not true`],
  some_plan: [{ trait: "plan", in: ["pro", "free"] }, `${trait("plan")} in ('"pro"', '"free"')`],
  contains: [
    { trait: "plan", contains: "pro" },
    `${trait("plan")} in ('"pro"', '"Pro plus"') or ${trait("plan")} = '["pro", "old"]'`,
  ],
  set: [{ not: { trait: "plan", is_set: true } }, `coalesce(${trait("plan")}, 'null') = 'null'`],
  older: [
    { trait: "age", greater: 25, less: 40 },
    `jsonb_typeof(${trait("age")}) = 'number' and (${trait("age")} #>> '{}')::numeric between 25.1 and 39.9`,
  ],
  lately: [
    { event: "Task Submitted", within: "28 days" },
    `${having("name = 'Task Submitted' and day > AS_OF - 28", "*")} > 0`,
  ],
  often: [
    { event: "Task Submitted", at_least: 2, at_most: 3, older_than: "4 weeks" },
    `${having("name = 'Task Submitted' and day <= AS_OF - 28", "*")} between 2 and 3`,
  ],
  days: [
    { event: null, counted: "days", at_least: 2, at_most: 4, within: "30 days", older_than: "2 days" },
    `${having("not is_automatic and day > AS_OF - 30 and day <= AS_OF - 2", "distinct day")} between 2 and 4`,
  ],
  one_day: [
    { event: "Task Graded", counted: "days", exactly: 1 },
    `${having("name = 'Task Graded'", "distinct day")} = 1`,
  ],
  never: [{ event: "Page Viewed", at_most: 0 }, `${having("name = 'Page Viewed'", "*")} = 0`],
  in_course: [
    { event: "Task Submitted", item: "course-1", at_least: 2, within: "40 days" },
    `${having(`name = 'Task Submitted' and ${within("course-1")} and day > AS_OF - 40`, "*")} >= 2`,
  ],
  any_use: [
    { event: null, item: "module-1", counted: "days", at_most: 1, within: "28 days" },
    `${having(`${within("module-1")} and day > AS_OF - 28`, "distinct day")} <= 1`,
  ],
  score: [
    { event: "Task Submitted", property: { name: "score", is: 5 }, within: "28 days" },
    `${having("name = 'Task Submitted' and properties -> 'score' = '5' and day > AS_OF - 28", "*")} > 0`,
  ],
  any_score: [
    { event: null, property: { name: "score", is: "5" }, at_least: 2 },
    `${having(`not is_automatic and properties -> 'score' = '"5"'`, "*")} >= 2`,
  ],
  first: [
    { event: "Submitted", first: true, within: "28 days" },
    `(select min(day) from ${events} where event.person_id = person.person_id and name = ${submitted}) > AS_OF - 28`,
  ],
  first_there: [
    { event: null, item: "course-2", first: true, within: "56 days", older_than: "1 week" },
    `(select min(day) from ${events} where event.person_id = person.person_id and ${within("course-2")})
       between AS_OF - 55 and AS_OF - 7`,
  ],
  enrolled: [
    { enrolment: "course-1" },
    `exists (select from track.enrolment where enrolment.person_id = person.person_id and item_id = (
       select coalesce(merged_item_id, item_id) from track.item where external_id = 'course-1'))`,
  ],
  completed: [
    { enrolment: "course-2", status: "completed" },
    `exists (select from track.enrolment where enrolment.person_id = person.person_id and status = 'completed'
       and item_id = (select coalesce(merged_item_id, item_id) from track.item where external_id = 'course-2'))`,
  ],
  listed: [
    { all: [{ set: "mine" }, { not: { set: "excluded" } }] },
    `exists (select from track.identity join track.person_set_member using (identity_id)
       where identity.person_id = person.person_id and person_set_member.name = 'mine')
     and not exists (select from track.identity join track.exclusion using (identity_id)
       where identity.person_id = person.person_id)`,
  ],
};
rules["mixed"] = [
  {
    any: [
      { all: [{ set: "cohort.plan" }, { set: "cohort.lately" }, { not: { set: "cohort.days" } }] },
      { not: { any: [{ set: "cohort.never" }, { set: "cohort.listed" }, { set: "segment.dormant" }] } },
    ],
  },
  `(${rules["plan"]?.[1]}) and (${rules["lately"]?.[1]}) and not (${rules["days"]?.[1]})
   or not ((${rules["never"]?.[1]}) or (${rules["listed"]?.[1]}) or (SEGMENT) = 'dormant')`,
];

/** The segment of a person who was ever active, by its definition. */
const segment = `(select case
    when count(*) = 0 then null
    when max(day) <= AS_OF - 28 then 'dormant'
    when min(day) > AS_OF - 28 then 'new'
    when count(*) filter (where day > AS_OF - 56 and day <= AS_OF - 28) = 0 then 'returning'
    when count(distinct day) filter (where day > AS_OF - 28) >= 3 then 'power'
    when count(distinct day) filter (where day > AS_OF - 28) >= 2 then 'regular'
    when count(*) > 0 then 'casual'
  end
  from ${events} where event.person_id = person.person_id and not is_automatic)`;
const asOf = (sql: string): string =>
  sql
    .replaceAll("SEGMENT", `coalesce(${segment}, '')`)
    .replaceAll("AS_OF", "(select min(as_of) from analytics.cohort)");

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const define = (db: Queries, name: string): Promise<unknown> =>
  db.query("select analytics.define_cohort($1, $2)", [name, JSON.stringify(rules[name]?.[0])]);

/** Items, events and cohorts, before there are people. */
async function prepare(db: Queries): Promise<void> {
  await db.query(
    `create table public.catalogue as select * from (values ('course-1', 'course', null), ('module-1', 'module', 'course-1'),
       ('page-1', 'page', 'module-1'), ('course-2', 'course', null), ('page-2', 'page', 'course-2')) as row (external_id, kind, parent)`,
  );
  await db.query(
    "create table public.enrolled (person text, item text, status text, enrolled_at timestamptz, primary key (person, item))",
  );
  await db.query("select track.sync_items('public.catalogue')");
  await db.query("insert into track.event_type (name) values ('Task Submitted'), ('Submitted') on conflict do nothing");
  await db.query("select track.set_person_set('mine', '{}')");
  await db.query("select analytics.define_segments(28, 2, 3)");
  for (const name of Object.keys(rules)) await define(db, name);
}
await prepare(database);

async function perform(db: Queries, action: Step, key: string): Promise<void> {
  const attempt = async (sql: string, values: unknown[]): Promise<void> => {
    await db.query("savepoint attempt");
    try {
      await db.query(sql, values);
    } catch (error) {
      expect((error as { code?: string }).code).toMatch(/^CF00[12]$/);
      await db.query("rollback to attempt");
    }
  };
  const named = (who: string): Message => (browsers.includes(who) ? { anonymousId: who } : { userId: who });
  switch (action.what) {
    case "events":
      await ingest(
        db,
        action.events.map(
          ({ who, hour, event: type, item, score }, index): Message => ({
            type: "track",
            messageId: `${key}-${index}`,
            ...named(who),
            event: type,
            timestamp: new Date(Date.now() - hour * 3_600_000).toISOString(),
            properties: { score, ...(item === null ? {} : { item }) },
          }),
        ),
      );
      return;
    case "traits":
      await ingest(db, [
        {
          type: "identify",
          messageId: key,
          ...named(action.who),
          traits: action.traits,
          timestamp: new Date(Date.now() - action.at * 86_400_000).toISOString(),
        },
      ]);
      return;
    case "identify":
      if (browsers.includes(action.other))
        await ingest(db, [{ type: "identify", messageId: key, userId: action.user, anonymousId: action.other }]);
      return;
    case "alias":
      await ingest(db, [{ type: "alias", messageId: key, userId: action.user, previousId: action.other }]);
      return;
    case "unlink":
      await attempt("select track.unlink_identities($1, $2)", [action.other, action.user]);
      return;
    case "enrol":
      await db.query(
        `insert into public.enrolled values ($1, $2, $3, now()) on conflict (person, item) do update set status = excluded.status`,
        [action.user, action.item, action.status],
      );
      await db.query("select track.sync_enrolments('public.enrolled')");
      return;
    case "exclude":
      await attempt("select track.exclude_person($1, 'staff')", [action.user]);
      return;
    case "list":
      await db.query(
        `select track.add_to_person_set('mine', array(select distinct person_id from track.identity where external_id = $1))`,
        [action.user],
      );
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
    case "merge items":
      await attempt("select track.merge_items('page-2', 'page-1')", []);
      return;
    case "merge events":
      await attempt("select track.merge_events('Submitted', 'Task Submitted')", []);
      return;
    case "move":
      await db.query(
        "update track.item set parent_item_id = (select item_id from track.item where external_id = 'course-2') where external_id = 'page-1'",
      );
      return;
    case "rebuild":
      await db.query("select track.rebuild()");
      return;
    case "days":
      await db.query("select analytics.refresh_cohorts()");
      return;
    case "redefine":
      await define(db, "lately");
      return;
    case "refresh":
      await db.query("select track.refresh($1, $2)", [action.people, action.step]);
  }
}

const sets = "(select name from track.person_set where name ~ '^(cohort|segment)[.]') as sets";
const members = (blocks: string): string =>
  `select sets.name, person.person_id from ${sets} cross join lateral ${blocks} as members
   join track.person on person.person_id / 4096 = members.block
     and get_bit(members.people, (person.person_id % 4096)::int) <> 0 order by 1, 2`;
const now = members("track.person_set_blocks(sets.name)");
const stored = members("(select * from track.person_set_block as stored where stored.name = sets.name)");
const expected = asOf(`
  select 'segment.' || ${segment} as name, person_id from track.person where person_id <> 0 and ${segment} is not null
  ${Object.entries(rules)
    .map(
      ([name, [, sql]]) =>
        `union all select ${quote(`cohort.${name}`)}, person_id from track.person where person_id <> 0 and (${sql})`,
    )
    .join("\n")}
  order by 1, 2`);

test("cohorts and segments are those of plain SQL after any history", { timeout: 900_000 }, async () => {
  let found = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 14 }),
      fc.constantFrom(0, 1, 3, 30),
      async (steps, daysAgo) => {
        await database.as("postgres", {}, async (db) => {
          await db.query("update analytics.cohort set as_of = as_of - $1::int", [daysAgo]);
          for (const [index, one] of steps.entries()) await perform(db, one, `${index}`);
          // Names that changed, and days that passed, are applied by the task; each cohort is then as of the same day.
          await db.query("select analytics.refresh_cohorts()");
          while ((await db.rows("select from track.refresh(100, 'track.name')")).length > 0);
          const computed = await db.rows(expected);
          expect(await db.rows(now)).toEqual(computed);
          await refresh(db);
          expect(await db.rows(stored)).toEqual(await db.rows(expected));
          expect(await db.rows(now)).toEqual(computed);
          found += computed.length;
        });
      },
    ),
    {
      numRuns: runs(8, 3, database.native),
      // A random history may have no people.
      examples: [[[{ what: "traits", who: "ada", at: 1, traits: { plan: "pro" } }], 0]],
    },
  );
  expect(found).toBeGreaterThan(0);
});
