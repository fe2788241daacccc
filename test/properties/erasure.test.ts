import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { served, signed } from "../sql/recommend/servings.ts";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { contents, rowsOf } from "../support/contents.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * After an erasure the database equals the one that never saw the person, on every table. The histories have shared
 * browsers, merges, traits, decisions, sets, excluded people, lists that were served, and refreshes at any time.
 */
const database = await testDatabase();

const users = ["ada", "ben", "eve"] as const;
const user = fc.constantFrom(...users);
const browser = fc.constantFrom("b1", "b2", "b3");
const day = fc.integer({ min: 1, max: 70 });
const item = fc.constantFrom("algebra", "botany", "page/1", "page/2", "page/3");
const event = fc.constantFrom(
  "Course Viewed",
  "Course Enrolled",
  "Course Completed",
  "Item Liked",
  "Item Dismissed",
  "Topic Dismissed",
  "Task Graded",
  "Rare Event",
);
const said = { day, item, event, plan: fc.constantFrom("free", "team", "secret") };

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant("track" as const), userId: user, ...said }) },
  { weight: 6, arbitrary: fc.record({ what: fc.constant("track" as const), anonymousId: browser, ...said }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant("page" as const), anonymousId: browser, day, item }) },
  {
    weight: 4,
    arbitrary: fc.record({ what: fc.constant("identify" as const), userId: user, anonymousId: browser, day }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("traits" as const), anonymousId: browser, day }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("alias" as const), userId: user, previousId: user, day }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("decide" as const), userId: user, day, granted: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("exclude" as const), userId: user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("list" as const), userId: user }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("serve" as const), userId: user, item, day }) },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant("refresh" as const), people: fc.integer({ min: 1, max: 4 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const start = Date.UTC(2026, 0, 1);
const time = (step: { day: number }, index: number): string =>
  new Date(start + step.day * 86_400_000 + index * 60_000).toISOString();

function messageOf(step: Step, index: number): Message | undefined {
  const common = (moment: { day: number }) => ({
    messageId: `m${index}`,
    timestamp: time(moment, index),
    receivedAt: new Date(start + 100 * 86_400_000 + index * 1000).toISOString(),
  });
  switch (step.what) {
    case "track":
      return {
        type: "track",
        ...("userId" in step ? { userId: step.userId } : { anonymousId: step.anonymousId }),
        event: step.event,
        properties: {
          message: `m${index}`,
          item: step.item,
          plan: step.plan,
          ...(step.item.startsWith("page")
            ? { parent: "algebra" }
            : { itemKind: "course", itemTitle: `${step.item} ${step.plan}` }),
        },
        ...common(step),
      };
    case "page":
      return {
        type: "page",
        anonymousId: step.anonymousId,
        properties: { message: `m${index}`, path: `/${step.item}`, title: `Page ${step.item}` },
        ...common(step),
      };
    case "identify":
      return {
        type: "identify",
        userId: step.userId,
        anonymousId: step.anonymousId,
        traits: { plan: index, [`t${index % 2}`]: step.userId },
        ...common(step),
      };
    case "traits":
      return { type: "identify", anonymousId: step.anonymousId, traits: { seen: index, plan: index }, ...common(step) };
    case "alias":
      return step.userId === step.previousId
        ? undefined
        : { type: "alias", userId: step.userId, previousId: step.previousId, ...common(step) };
    case "decide":
      return {
        type: "track",
        userId: step.userId,
        event: "Segment Consent Preference Updated",
        context: { consent: { categoryPreferences: { personalization: step.granted, advertising: step.granted } } },
        ...common(step),
      };
    default:
      return undefined;
  }
}

async function play(db: Queries, steps: readonly (Step | undefined)[]): Promise<void> {
  await db.query("insert into track.event_type (name, description) values ('Course Viewed', 'As in the docs.')");
  await db.query("select track.declare_property('Course Viewed', 'plan')");
  await db.query("select track.set_person_set('listed', '{}', 'Listed people.')");
  // The application has items, too: not everything is named by messages.
  await db.query("create table pg_temp.items (external_id text, kind text, title text)");
  await db.query("insert into pg_temp.items values ('algebra', 'course', 'Algebra')");
  await db.query("select track.sync_items('pg_temp.items')");
  for (const [index, step] of steps.entries()) {
    if (step === undefined) continue;
    const message = messageOf(step, index);
    if (message !== undefined) await ingest(db, [message]);
    const isKnown = async (name: string) =>
      (await db.value<number>("select count(*)::int from track.identity where external_id = $1 and kind = 'user'", [
        name,
      ])) > 0;
    switch (step.what) {
      case "exclude":
        if (await isKnown(step.userId)) await db.query("select track.exclude_person($1, 'test')", [step.userId]);
        break;
      case "list":
        if (await isKnown(step.userId))
          await db.query("select track.add_to_person_set('listed', array[track.find_person($1)])", [step.userId]);
        break;
      case "serve":
        if (
          (await isKnown(step.userId)) &&
          (await db.value<number>("select count(*)::int from track.item where external_id = 'algebra'")) > 0
        )
          await served(db, await signed(db, { person: step.userId, item: "algebra", day: step.day, rank: index + 1 }));
        break;
      case "refresh":
        await db.query("select track.refresh($1)", [step.people]);
        break;
      default:
        break;
    }
  }
}

/** The user names and the messages of a person. */
async function herShare(db: Queries, person: number): Promise<{ users: string[]; messages: Set<string> }> {
  const texts = async (sql: string) => (await db.rows<{ text: string }>(sql, [person])).map(({ text }) => text);
  return {
    users: await texts("select external_id as text from track.identity where person_id = $1 and kind = 'user'"),
    messages: new Set(await texts("select properties ->> 'message' as text from track.event where person_id = $1")),
  };
}

test("an erased person leaves the tables as if she had never been there", async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 40 }), user, async (steps, erased) => {
      const others: (Step | undefined)[] = [];
      const after = await database.as("postgres", {}, async (db) => {
        await play(db, steps);
        const person = Number(await db.value("select track.find_person($1)", [erased]));
        if (person === 0) return undefined;
        const hers = await herShare(db, person);
        for (const [index, one] of steps.entries()) {
          let isHers = hers.messages.has(`m${index}`);
          if ("userId" in one) isHers ||= hers.users.includes(one.userId);
          // Traits without a user have no event: they are of whose browser it was at that time.
          if (one.what === "traits") {
            const owner = await db.value(
              "select person_id from track.identity where identity_id = track._browser_identity($1, $2)",
              [one.anonymousId, time(one, index)],
            );
            isHers ||= Number(owner) === person;
          }
          others.push(isHers ? undefined : one);
        }
        const keys = (
          await db.rows<{ key: number }>("select identity_id::int as key from track.identity where person_id = $1", [
            person,
          ])
        ).map(({ key }) => key);
        await db.query("select privacy.erase_person($1)", [erased]);
        expect(await rowsOf(db, keys)).toEqual([]);
        await refresh(db);
        return await contents(db);
      });
      if (after === undefined) return;
      const never = await database.as("postgres", {}, async (db) => {
        await play(db, others);
        await refresh(db);
        return await contents(db);
      });
      compared += Object.values(never).flat().length;
      expect(after).toEqual(never);
    }),
    {
      numRuns: runs(40, 4, database.native),
      // With few runs, the erased ones may never have been there.
      examples: [
        [
          users.map((userId) => ({
            what: "track" as const,
            userId,
            day: 1,
            item: "page/1" as const,
            event: "Course Viewed" as const,
            plan: "free" as const,
          })),
          "ada",
        ],
      ],
    },
  );
  expect(compared).toBeGreaterThan(database.native ? 1000 : 100);
}, 600_000);

/* Each step of each erase function is left out once: the comparison must find it. */
const history: Step[] = [
  { what: "track", anonymousId: "b1", day: 1, item: "botany", event: "Course Viewed", plan: "free" },
  { what: "identify", userId: "ben", anonymousId: "b1", day: 2 },
  { what: "track", userId: "ben", day: 2, item: "algebra", event: "Course Viewed", plan: "team" },
  { what: "track", userId: "ben", day: 3, item: "page/1", event: "Topic Dismissed", plan: "team" },
  { what: "track", userId: "ben", day: 3, item: "algebra", event: "Course Enrolled", plan: "free" },
  { what: "decide", userId: "ben", day: 4, granted: true },
  { what: "traits", anonymousId: "b1", day: 5 },
  { what: "identify", userId: "ada", anonymousId: "b1", day: 10 },
  { what: "track", userId: "ada", day: 10, item: "algebra", event: "Course Viewed", plan: "secret" },
  { what: "track", userId: "ada", day: 10, item: "algebra", event: "Course Enrolled", plan: "free" },
  { what: "track", userId: "ada", day: 11, item: "page/2", event: "Rare Event", plan: "free" },
  { what: "track", userId: "ada", day: 11, item: "botany", event: "Topic Dismissed", plan: "free" },
  { what: "page", anonymousId: "b1", day: 12, item: "page/3" },
  { what: "traits", anonymousId: "b1", day: 13 },
  // She describes an item, and a browser is hers first.
  { what: "track", userId: "ada", day: 13, item: "page/3", event: "Course Viewed", plan: "secret" },
  { what: "track", userId: "ben", day: 14, item: "page/3", event: "Course Viewed", plan: "team" },
  { what: "identify", userId: "ada", anonymousId: "b3", day: 13 },
  { what: "identify", userId: "ben", anonymousId: "b3", day: 15 },
  { what: "decide", userId: "ada", day: 13, granted: true },
  { what: "serve", userId: "ada", item: "algebra", day: 14 },
  { what: "exclude", userId: "ada" },
  { what: "list", userId: "ada" },
  { what: "identify", userId: "ben", anonymousId: "b2", day: 20 },
  { what: "track", userId: "eve", day: 20, item: "algebra", event: "Course Viewed", plan: "free" },
];

/** Data that other statements than messages store about her, or in her name; `isThere` false: without her. */
async function fill(db: Queries, isThere: boolean): Promise<void> {
  const author = isThere ? "ada" : "erased";
  const name = "select track.find_person('ada')";
  await db.query(`insert into analytics.annotation (title, starts_at, created_by) values ('t', '2026-01-01', $1)`, [
    author,
  ]);
  await db.query("insert into analytics.saved_query (name, function_name, created_by) values ('q', 'a.b', $1)", [
    author,
  ]);
  await db.query(
    `insert into analytics.saved_view (view_id, name, address, is_shared, created_by, created_at, changed_at)
    overriding system value values (1, 'v', '/explore', true, $1, '2026-01-01', '2026-01-01')`,
    [author],
  );
  // With numbers of its own: a sequence continues after a rollback.
  const note = `
    insert into analytics.intervention (
      intervention_id, identity_id, course_id, action, happened_at, created_by, created_at
    )
    overriding system value
    select $3, identity_id, (select min(item_id) from track.item), 'call', '2026-01-01', $2, '2026-01-01'
    from track.identity where external_id = $1 and kind = 'user' order by identity_id limit 1`;
  await db.query(note, ["ben", author, 1]);
  if (isThere) await db.query(note, ["ada", "ben", 2]);
  await db.query("select track.define_person_set('cluster.test', 'Test', 'analytics.cluster_members')");
  await db.query(
    `insert into analytics.cluster (name, centroid, means, deviations, person_count, created_at)
     values ('cluster.test', '{0}', '{0}', '{0}', 1, '2026-01-01')`,
  );
  const member = `
    insert into analytics.cluster_member (identity_id, name)
    select min(identity_id), 'cluster.test' from track.identity where external_id = $1 and kind = 'user'`;
  await db.query(member, ["ben"]);
  if (isThere) await db.query(member, ["ada"]);
  await db.query("update analytics.cluster_setting set is_marked = true");
  await db.query("insert into recommend.rule_log (name, actor) values ('r', $1)", [author]);
  await db.query("insert into privacy.retention_log (rule, action, actor) values ('events', 'set', $1)", [author]);
  await db.query("insert into track.name_log (action, name, target, actor) values ('event renamed', 'a', 'b', $1)", [
    author,
  ]);
  await db.query("insert into track.forgotten_import (source_id, name, actor) values (32000, 'moodle', $1)", [author]);
  await db.query(
    `with created as (select key_id from track.create_write_key('campus'))
     insert into track.write_key_log (key_id, action, actor) select key_id, 'changed', $1 from created`,
    [author],
  );
  await db.query(
    `insert into track.exclusion (identity_id, reason, excluded_by)
     select identity_id, 'test', $1 from track.identity where external_id = 'b2'`,
    [author],
  );
  await db.query(`select analytics.define_cohort('team', '{"event": "Course Viewed"}')`);
  await db.query("update analytics.cohort set defined_by = $1 where name = 'cohort.team'", [author]);
  const message = isThere ? "person 'ada' is invalid" : "erased";
  await db.query(
    "insert into monitor.run (task, outcome, error, started_at) values ('refresh', 'failed', $1, '2026-01-01')",
    [message],
  );
  await db.query(
    `with opened as (
       insert into monitor.alert (
         alert_id, source, subject, owner, severity, state, message, fix, opened_at, changed_at, seen_at, acknowledged_at,
         acknowledged_by
       )
       overriding system value
       values (
         1, 'queue', 's', 'operator', 'warning', 'acknowledged', 'm', 'f', '2026-01-01', '2026-01-01', '2026-01-01', '2026-01-01', $1
       )
       returning alert_id
     ),
     silenced as (
       insert into monitor.alert_silence (silence_id, source, since, until, reason, author)
       overriding system value
       values (1, 'queue', '2026-01-01', '2026-01-02', 'r', $1)
     ),
     ruled as (
       insert into monitor.rule (rule, metric, set_by, set_at)
       values ('r', 'insights_queue_waiting_jobs', $1, '2026-01-01')
     )
     insert into monitor.alert_event (alert_event_id, alert_id, transition, happened_at, severity, owner, is_notified, author)
     overriding system value
     select 1, alert_id, 'acknowledged', '2026-01-01', 'warning', 'operator', false, $1 from opened`,
    [author],
  );
  const example = isThere ? `person ${await db.value(name)}, event type 1` : "erased";
  await db.query(
    `insert into track.rollup_check (check_id, rollup, checked_at, month, block, checked, differing, example, duration)
     values (1, 'track.step', '2026-01-01', '2026-01-01', 0, 1, 1, $1, '0')`,
    [example],
  );
  // The application's tables, without her in the other database.
  await db.query("create table pg_temp.enrolments (person text, item text, status text, enrolled_at timestamptz)");
  await db.query("create table pg_temp.roles (person text, item text, role text)");
  for (const person of isThere ? ["ada", "ben"] : ["ben"]) {
    await db.query("insert into pg_temp.enrolments values ($1, 'algebra', 'active', '2026-01-01')", [person]);
    await db.query("insert into pg_temp.roles values ($1, 'algebra', 'instructor')", [person]);
  }
  await db.query("select track.sync_enrolments('pg_temp.enrolments')");
  await db.query("select track.sync_item_roles('pg_temp.roles')");
  await refresh(db);
  // Declared after the last refresh: the values are not stored yet.
  await db.query("select track.declare_property('Course Enrolled', 'plan')");
  const queueCourse = () =>
    db.query("insert into track.stale_course (item_id) select item_id from track.item where external_id = 'algebra'");
  await db.query(
    "insert into privacy.export_log (identity_id, exported_by, row_count) select track.find_person('ben'), $1, 1",
    [author],
  );
  await db.query("select privacy.record_disclosure(array[track.find_person('ben')], 'track.journey')");
  if (!isThere) {
    await queueCourse();
    return;
  }
  await db.query(`insert into privacy.export_log (identity_id, exported_by, row_count) select (${name}), 'ben', 1`);
  await db.query(`select privacy.record_disclosure(array[(${name})], 'track.journey')`);
  await db.query("select track.link_identities('ada', 'eve')");
  await refresh(db);
  await db.query("select track.unlink_identities('ada', 'eve')");
  await db.query("select track.link_identities('eve', 'ada')");
  await db.query("select track.unlink_identities('ada', 'eve')");
  await db.query(
    "insert into analytics.saved_query (name, function_name, created_by, arguments) values ('hers', 'a.b', 'ben', '{\"person\": \"ada\"}')",
  );
  await db.query(
    `insert into analytics.snapshot (target, person_id, course_id, as_of, feature)
     select 'dropout', (${name}), item_id, '2026-01-01', row((${name}), item_id) from track.item where external_id = 'algebra'`.replace(
      "row((select track.find_person('ada')), item_id)",
      "jsonb_populate_record(null::analytics.learner_features, '{}')",
    ),
  );
  await db.query(
    `insert into recommend.taken (person_id, identity_id, item_id, first_at, last_at)
     select (${name}), (${name}), item_id, '2025-01-01', '2025-01-01' from track.item where external_id = 'botany'`,
  );
  await db.query(
    `insert into recommend.dismissed_topic (person_id, topic, identity_id, first_at) select (${name}), 'plants', (${name}), '2025-01-01'`,
  );
  await db.query(
    `with running as (
       insert into recommend.evaluation (kind, purpose, protocol, k, seed, most_people, resamples, until_at)
       values ('course', 'evaluation', 'time', '{10}', 1, 100, 100, '2026-01-01')
       returning evaluation_id
     )
     insert into recommend.evaluation_person (evaluation_id, person_id, items, strengths)
     select evaluation_id, (${name}), '{1}', '{1}' from running`,
  );
  await db.query(
    `insert into track.stale_property (person_id, property_id) select (${name}), max(property_id) from track.declared_property`,
  );
  await db.query(
    `insert into privacy.person_age (person_id, identity_id, birth_date) select (${name}), (${name}), '2000-01-01'`,
  );
  await queueCourse();
}

const eraseFunctions = ["recommend.erase", "analytics.erase", "track.erase", "monitor.erase", "privacy.erase"];
/** Statements of one line. */
const stepOf =
  /^ {2,4}(return next privacy\.[^\n]*|perform track\.[^\n]*|v_rows := track\._erase[^\n]*|v_others := [^\n]*);$/gm;

/** Each step of each function, with a definition that leaves it out. */
async function mutants(db: Queries): Promise<{ step: string; definition: string }[]> {
  const found: { step: string; definition: string }[] = [];
  for (const name of eraseFunctions) {
    const definition = await db.value<string>("select pg_get_functiondef(to_regprocedure($1 || '(privacy.subject)'))", [
      name,
    ]);
    for (const { 0: line, index } of definition.matchAll(stepOf)) {
      const instead = /v_rows/.test(line) ? "v_rows := 0;" : /v_others/.test(line) ? "v_others := '{}';" : "null;";
      found.push({
        step: `${name}: ${line.trim()}`,
        definition: definition.slice(0, index) + instead + definition.slice(index + line.length),
      });
    }
  }
  return found;
}

test("leaving a step out is found", async () => {
  const others = history.map((one) => ("userId" in one && one.userId === "ada" ? undefined : one));
  // Messages of the browser while it was hers.
  for (const [index, one] of history.entries()) {
    if ("anonymousId" in one && !("userId" in one) && one.day > 10) others[index] = undefined;
  }
  const never = await database.as("postgres", {}, async (db) => {
    await play(db, others);
    await fill(db, false);
    await refresh(db);
    return await contents(db);
  });
  const missed: string[] = [];
  await database.as("postgres", {}, async (db) => {
    await play(db, history);
    await fill(db, true);
    const keys = (
      await db.rows<{ key: number }>(
        "select identity_id::int as key from track.identity where person_id = track.find_person('ada')",
      )
    ).map(({ key }) => key);
    const attempt = async () => {
      const counts = await db.value("select counts from privacy.erase_person('ada')");
      const left = await rowsOf(db, keys);
      await refresh(db);
      return { counts, left, stored: await contents(db) };
    };
    await db.query("savepoint whole");
    const { counts, left, stored } = await attempt();
    expect(left).toEqual([]);
    expect(stored).toEqual(never);
    await db.query("rollback to whole");
    const all = await mutants(db);
    expect(all.length).toBeGreaterThan(30);
    for (const { step, definition } of all) {
      await db.query(definition);
      // A refresh may remove what a step has left: then the receipt has less.
      const found = await attempt().then(
        (other) => !isDeepStrictEqual(other, { counts, left, stored }),
        () => true,
      );
      if (!found) missed.push(step);
      await db.query("rollback to whole");
    }
  });
  expect(missed).toEqual([]);
}, 600_000);
