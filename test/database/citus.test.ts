import { beforeAll, describe, expect, inject, test } from "vitest";
import { Options } from "../../src/simulator/options.ts";
import { simulate } from "../../src/simulator/run.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { everyTable } from "../support/every_table.ts";
import { readings, type Subject } from "../support/readings.ts";
import { statementOf, storeStatements, voidingOf } from "../support/statements.ts";

/*
 * The same calls on a database that is distributed over the workers of a cluster of Citus, and on one of a single server:
 * every result and every table is the same. TEST_CITUS_URL names the coordinator (test/support/citus.ts).
 */
const server = inject("server");
const isCluster = server.kind === "native" && server.citus === true;

const send = (messages: object[]) => ({
  sql: "select accepted, errors from track.ingest($1)",
  values: [JSON.stringify(messages.map((message) => ({ messageId: JSON.stringify(message), ...message })))],
});
const at = (minute: number): string => new Date(Date.UTC(2026, 0, 5, 10, minute)).toISOString();
const seen = (who: object, event: string, item: string, minute: number) => ({
  type: "track",
  ...who,
  event,
  timestamp: at(minute),
  properties: { item },
});
const refresh = { sql: "select count(*)::int from track.refresh()", values: [] };
const call = (sql: string) => ({ sql, values: [] });

const calls = [
  call(
    "insert into track.item (external_id, kind, title) values ('algebra', 'course', 'Algebra'), ('poetry', 'course', 'Poetry')",
  ),
  send([
    ...["ada", "ben", "eve"].flatMap((userId, n) => [
      seen({ userId }, "Course Enrolled", "algebra", n),
      seen({ userId }, "Course Viewed", "poetry", 10 + n),
    ]),
    seen({ anonymousId: "phone" }, "Course Viewed", "algebra", 20),
  ]),
  refresh,
  // Traits, in an order that is not that of their times, and more of them than are kept.
  call("update track.setting set most_trait_times = 3"),
  ...[5, 1, 9, 3, 7].map((minute) =>
    send([
      {
        type: "identify",
        userId: "ada",
        timestamp: at(minute),
        traits: { plan: minute % 4 ? "pro" : "free", age: minute },
      },
    ]),
  ),
  send([
    { type: "identify", userId: "ben", anonymousId: "phone", timestamp: at(30), traits: { plan: "pro" } },
    { type: "identify", userId: "ben", timestamp: at(30), traits: { plan: "free" } },
  ]),
  refresh,
  send([{ type: "alias", userId: "eve", previousId: "tablet", timestamp: at(31) }]),
  send([seen({ anonymousId: "tablet" }, "Course Completed", "poetry", 32)]),
  refresh,
  call("select track.merge_persons('ada', 'eve')"),
  refresh,
  call("select track.split_person('ada', '{eve}')"),
  refresh,
  call("select (privacy.record_consent(track.find_person('ben'), 'personalization', false, '2026-01-06Z')).purpose"),
  refresh,
  call("select (privacy.record_consent(track.find_person('ben'), 'personalization', true, '2026-01-07Z')).purpose"),
  refresh,
  call("select count(*)::int from recommend.serve_person('ada', 3)"),
  refresh,
  call("select (track.exclude_person('ben', 'staff')) is null"),
  refresh,
  call("select track.include_person('ben')"),
  refresh,
  call("select track.merge_items('poetry', 'algebra')"),
  refresh,
  call("select analytics.refresh_views()"),
];

/** The user of the simulated population with this number. */
const user = (number: number): string =>
  `(select external_id from track.identity where kind = 'user' order by identity_id limit 1 offset ${number})`;

/** Of a population of learners: what its tables are afterwards depends on the present time in some keys. */
const laterCalls = [
  ["properties", "select track.declare_property('Task Submitted', 'score')"],
  ["properties", "select count(*)::int from track.refresh()"],
  [
    "the check of the rollups",
    "select rollup, day, block, checked, differing from track.check_rollups() order by 1, 2, 3",
  ],
  ["sets of people", `select analytics.define_cohort('keen', '{"event": "Task Submitted", "at_least": 1}')`],
  [
    "sets of people",
    `select analytics.define_cohort('first', '{"event": "Page Viewed", "first": true, "within": "30 days"}')`,
  ],
  ["sets of people", "select count(*)::int from analytics.define_segments(28, 3, 8)"],
  ["clusters", "select count(*)::int from analytics.define_clusters(28, 3)"],
  ["clusters", "select count(*)::int from track.refresh()"],
  ["clusters", "select count(*)::int from (select * from analytics.fit_clusters(1)) as fit"],
  ["predictions", "select count(*)::int from (select * from analytics.train_predictions(null, 1)) as trained"],
  ["recommenders", "update recommend.setting set fewest_people = 5, fewest_test_people = 1"],
  ["recommenders", "select * from recommend.due_trainings(0.1)"],
  ["recommenders", "select to_jsonb(trained) as trained from recommend.train('course', 1) as trained"],
  [
    "recommenders",
    "select to_jsonb(measured) as measured from recommend.evaluate('{popularity,ease}', k => '{3}') as measured",
  ],
  ["recommenders", "select recommend.search('course', 3, 1) is null"],
  ["recommenders", "select ml.deploy('recommend.course', 1)"],
  ["recommenders", "select recommend.refresh_lists()"],
  ["answers to lists", `select count(*)::int from recommend.serve_person(${user(40)}, 3)`],
  ["answers to lists", `select (recommend.person_feedback(${user(5)}, 'dismiss_topic', topic => 'design')) is null`],
  ["answers to lists", `select (recommend.person_feedback(${user(5)}, 'rate', 'html-and-css', 4)) is null`],
  ["answers to lists", `select (recommend.person_feedback(${user(5)}, 'withdraw', 'html-and-css')) is null`],
  ["answers to lists", `select (recommend.person_feedback(${user(6)}, 'know', 'html-and-css')) is null`],
  ["answers to lists", "select count(*)::int from track.refresh()"],
  ["answers to lists", "select recommend.collect_servings(100)"],
  ["rebuilds", "select recommend.rebuild(), track.rebuild()"],
  ["rebuilds", "select experiment.rebuild('resume-videos')"],
  ["rebuilds", "select count(*)::int from track.refresh()"],
  ["allow lists", "select track.allow_properties('Task Submitted', '{item,score}')"],
  ["allow lists", "select track.apply_allow_lists()"],
  ["allow lists", "select track.allow_traits('{plan}')"],
  ["allow lists", "select track.apply_allow_lists()"],
  ["allow lists", "select count(*)::int from track.refresh()"],
  ["names", "select track.rename_event('Task Started', 'Task Opened')"],
  ["names", "select count(*)::int from track.refresh()"],
  ["rights", `select (privacy.object(${user(7)})) is null`],
  ["rights", `select (privacy.rectify(${user(7)}, '{"traits": {"plan": "other"}}')) is null`],
  ["rights", `select privacy.record_birth_date(track.find_person(${user(8)}), '2015-01-01')`],
  ["rights", `select (privacy.restrict_person(${user(9)}, 'accuracy')) is null`],
  ["rights", "select privacy.refresh_decisions()"],
  ["rights", "select privacy.seal()"],
  ["rights", "select count(*)::int from privacy.verify_ledger()"],
  ["rights", "select count(*)::int from track.refresh()"],
  ["views", "select analytics.refresh_views()"],
] as const;

const lastCalls = [
  ["erasure", `select (privacy.erase_person(${user(10)})) is null`],
  ["erasure", `select (privacy.erase_person(${user(11)}, keep_suppressed => false)) is null`],
  ["erasure", "select count(*)::int from track.refresh()"],
  ["erasure", "select count(*)::int from privacy.verify_ledger()"],
  ["retention", "select (privacy.set_retention('events', interval '25 days', method => 'anonymize')) is null"],
  ["retention", "select count(*)::int from privacy.apply_retention()"],
  ["retention", "select count(*)::int from track.refresh()"],
  ["retention", `select (privacy.lift_restriction(${user(9)})) is null`],
  ["retention", "select (privacy.set_retention('events', interval '15 days')) is null"],
  ["retention", "select count(*)::int from privacy.apply_retention()"],
  ["retention", "select count(*)::int from privacy.apply_retention()"],
  ["retention", "select count(*)::int from track.refresh()"],
  [
    "the check of the rollups",
    "select rollup, day, block, checked, differing from track.check_rollups() order by 1, 2, 3",
  ],
] as const;

/** Random, or of the moment. */
const volatileColumns = [
  "duration",
  "change_id",
  "event_id",
  "session_id",
  "message_hash",
  "view_event_ids",
  "serving_id",
  "next_page",
  "check_id",
  "ledger_position",
  "position",
  "salt",
  "hash",
  "erasure_id",
  "export_id",
  "consent_id",
  "serving_key",
];

describe.runIf(isCluster)("on a cluster of Citus", () => {
  let cluster: TestDatabase;
  let single: TestDatabase;
  const day = new Date(Math.floor(Date.now() / 86_400_000) * 86_400_000);
  const started = new Date(Date.now() - 3_600_000).toISOString().slice(0, 19);

  /** Without what differs between two histories of one test. */
  const comparable = (found: unknown): string =>
    JSON.stringify(found, (column, value: unknown) => {
      if (volatileColumns.includes(column)) return undefined;
      if (typeof value === "number" && !Number.isInteger(value)) return Number(value.toPrecision(9));
      if (typeof value === "string" && /^2\d{3}-\d\d-\d\d[T ]/.test(value) && value.replace(" ", "T") > started)
        return "now";
      return value;
    });

  async function compare(sql: string, values: readonly unknown[] = []): Promise<void> {
    const expected = await single.rows(sql, values);
    const found = await cluster.rows(sql, values).catch((error: { message: string; where?: string }) => {
      throw new Error(`${sql} ${values}: ${error.message}\n${error.where}`);
    });
    expect(comparable(found), `${sql} ${values}`).toEqual(comparable(expected));
  }

  async function compareTables(withoutColumns: readonly string[] = []): Promise<Record<string, string[]>> {
    // Durations, and the foreign keys that were dropped.
    const skip = [
      "recommend.serving_time",
      "track.dropped_reference",
      "recommend.secret",
      "privacy.ledger",
      "privacy.secret",
      "track.rollup_check",
      "privacy.removal",
      "monitor.sample",
    ];
    const expected = await everyTable(single, skip, withoutColumns);
    expect(await everyTable(cluster, skip, withoutColumns)).toEqual(expected);
    return expected;
  }

  beforeAll(async () => {
    cluster = await testDatabase();
    single = await testDatabase({ distributed: false });
  });

  test("the tables of people are distributed", async () => {
    const [missing] = await cluster.rows("select count(*)::int from track.distribution_steps()");
    expect(missing).toEqual({ count: 0 });
    expect(
      await cluster.value(
        "select count(*)::int > 0 from pg_dist_partition where logicalrelid = 'track.trait_history'::regclass",
      ),
    ).toBe(true);
  });

  test("events, traits, merges, decisions and lists: every table is that of a single server", async () => {
    for (const { sql, values } of calls) await compare(sql, values);
    const tables = await compareTables();
    expect(tables["track.trait_history"]?.length).toBeGreaterThan(2);
    expect(tables["recommend.impression"]?.length).toBeGreaterThan(0);
  });

  test("xAPI statements", async () => {
    const messages = [statementOf(1), statementOf(2, { timestamp: "2026-03-02T10:00:00Z" }), voidingOf(3, 1)];
    for (const database of [single, cluster]) {
      expect(await storeStatements(database, messages.slice(0, 2))).toBe(2);
      expect(await storeStatements(database, messages)).toBe(1);
    }
    for (const sql of [
      refresh.sql,
      "select jsonb_agg(entry - 'stored' order by entry ->> 'id') from track.statements('{}') as found, jsonb_array_elements(to_jsonb(found.statements)) as entry",
      "select (privacy.export_person('ada') -> 'data') - '{privacy.export_log}'::text[] as data",
    ]) {
      await compare(sql);
    }
    await compareTables(["stored", "stored_at", "export_id"]);
  });

  test("a population of learners", async () => {
    for (const database of [single, cluster]) {
      const client = await database.pool.connect();
      try {
        await simulate(client, Options.parse({ learners: 60, courses: 3, weeks: 8, seed: 5, until: day }));
      } finally {
        client.release();
      }
    }
    await compare("select track.sync_enrolments('canvas_flow.enrolment_states') is null");
    await compare(refresh.sql);
    await compare("select analytics.refresh_views()");
    await compareTables(volatileColumns);
  });

  test.each(laterCalls)("%s: %s", async (_, sql) => {
    await compare(sql);
  });

  describe("functions that read", () => {
    const subject = async (changes: Partial<Subject>, people: number): Promise<Subject> => {
      const [person] = await single.rows<{ person: string; id: string }>(
        `select external_id as person, person_id::text as id from track.identity where external_id = ${user(12)} and kind = 'user'`,
      );
      const list = await single.rows<{ id: string }>(
        "select person_id::text as id from track.person where person_id > 0 order by person_id limit $1 offset 15",
        [people],
      );
      const [course] = await single.rows<{ item: string; id: string }>(
        "select external_id as item, item_id::text as id from track.item where external_id = 'html-and-css'",
      );
      const [event] = await single.rows<{ id: number }>(
        "select event_type_id as id from track.event_type where name = 'Task Submitted'",
      );
      return {
        person: person?.person ?? "",
        personId: person?.id ?? "",
        people: list.map(({ id }) => id),
        item: course?.item ?? "",
        itemId: course?.id ?? "",
        eventName: "Task Submitted",
        eventTypeId: event?.id ?? 0,
        among: null,
        breakdown: null,
        since: new Date(day.getTime() - 50 * 86_400_000).toISOString().slice(0, 10),
        until: day.toISOString().slice(0, 10),
        experiment: "resume-videos",
        ...changes,
      };
    };

    async function compareReadings(changes: Partial<Subject>, people: number): Promise<void> {
      const wrong: Record<string, unknown> = {};
      let equal = 0;
      for (const [signature, sql] of await readings(single, await subject(changes, people))) {
        const answer = (database: TestDatabase): Promise<string> =>
          database
            .as("postgres", {}, async (db) => (await db.rows(sql)).map(comparable).toSorted().join("\n"))
            .catch((error: Error) => `error: ${error.message}`);
        const expected = await answer(single);
        const found = await answer(cluster);
        if (found === expected) equal += 1;
        else wrong[signature] = { expected: expected.slice(0, 500), found: found.slice(0, 500) };
      }
      expect(wrong).toEqual({});
      expect(equal).toBeGreaterThan(140);
    }

    test("of all people", () => compareReadings({}, 20));
    test("of one person", () => compareReadings({}, 1));
    test("among a set of people", () => compareReadings({ among: "cohort.keen" }, 20));
    test("by a trait", () => compareReadings({ breakdown: "trait:plan" }, 20));
    test("by a declared property, among a set", () =>
      compareReadings({ among: "cohort.keen", breakdown: "property:score" }, 20));
    test("while people are queued for the refresh", async () => {
      const { sql, values } = send(
        ["ada", "ben"].map((userId) => ({
          ...seen({ userId }, "Task Submitted", "html-and-css", 40),
          properties: { score: 1 },
        })),
      );
      await compare(sql, values);
      await compareReadings({}, 20);
      await compareReadings({ among: "cohort.keen" }, 20);
    });
  });

  test("the export of a person", () =>
    compare(
      `select (privacy.export_person(${user(12)}) -> 'data') - '{privacy.export_log,privacy.disclosure}'::text[] as data`,
    ));

  test.each(lastCalls)("%s: %s", async (_, sql) => {
    await compare(sql);
  });

  test("every table is that of a single server at the end", async () => {
    await compareTables([...volatileColumns, "stored", "stored_at"]);
  });
});
