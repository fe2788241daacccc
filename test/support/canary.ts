import { createHash } from "node:crypto";
import { runMigrations } from "graphile-worker";
import type { Queries, TestDatabase } from "./database.ts";
import { makeWorld, refresh } from "./world.ts";

/*
 * A person whose word is in every field that a client, the application or an administrator can fill with something of
 * her own. The same is written for any other word, so that two such people can be compared.
 */

/** A short name for statements: the name of the user is `<word>-user`. */
export const userOf = (word: string): string => `${word}-user`;

/** The hash of the cookie of her browser, as the API passes it. */
export const cookieOf = (word: string): string => createHash("md5").update(word).digest("hex");

const context = (word: string): object => ({
  ip: `${word}-ip`,
  userAgent: `${word}-agent`,
  locale: `${word}-locale`,
  timezone: "Europe/Zurich",
  page: {
    path: `/${word}-page`,
    url: `https://campus.example/${word}-url`,
    title: `${word}-title`,
    search: `?${word}`,
  },
  referrer: { url: `https://${word}.example/` },
  campaign: { name: `${word}-campaign` },
  device: { id: `${word}-device` },
  library: { name: `${word}-library` },
  traits: { [`${word}-context-trait`]: `${word}-context-value` },
  [`${word}-ctx`]: { deep: [`${word}-deep`] },
});

/** Messages of a server, one of each kind, with the word in every field. */
export function messagesOf(word: string): object[] {
  const user = userOf(word);
  const day = (number: number, minutes = 0): string => new Date(Date.UTC(2026, 0, number, 9, minutes)).toISOString();
  let number = 0;
  const message = (type: string, fields: object): object => ({
    type,
    messageId: `${word}-message-${++number}`,
    userId: user,
    timestamp: day(5, number),
    context: context(word),
    integrations: { [`${word}-integration`]: true },
    [`${word}-field`]: `${word}-value`,
    ...fields,
  });
  const properties = {
    item: `${word}-item`,
    itemKind: `${word}_kind`,
    itemTitle: `${word}-item-title`,
    itemUrl: `https://campus.example/${word}-item-url`,
    parent: `${word}-parent`,
    viewId: `${word}-view`,
    ip: `${word}-property-ip`,
    contact: `${word}@campus.example or 0170 1234567`,
    [`${word}-property`]: [{ [`${word}-key`]: `${word}-nested` }, `${word}-listed`],
  };
  return [
    message("track", { anonymousId: `${word}-browser`, userId: undefined, event: `${word} before`, properties }),
    message("identify", {
      anonymousId: `${word}-browser`,
      traits: {
        email: `${word}@campus.example`,
        [`${word}-trait`]: { deep: [`${word}-trait-value`] },
        birthday: "1990-02-03",
        plan: `${word}-plan`,
      },
    }),
    message("identify", { timestamp: day(6), traits: { plan: `${word}-later-plan` } }),
    message("alias", { previousId: `${word}-previous` }),
    message("group", { groupId: `${word}-group`, traits: { [`${word}-group-trait`]: `${word}-group-value` } }),
    message("track", { event: `${word} event`, properties }),
    message("track", { event: `${word} old event`, properties }),
    message("track", { event: "Course Enrolled", properties: { ...properties, item: `${word}-merged-item` } }),
    message("track", { event: "Course Enrolled", properties: { item: "course-drama" } }),
    message("track", { event: "Course Completed", properties: { item: "course-poetry", comment: `${word}-comment` } }),
    message("track", {
      event: "Course Rated",
      properties: { item: "course-drama", rating: 5, text: `${word}-review` },
    }),
    message("track", { event: "Topic Dismissed", properties: { topic: `${word}-topic` } }),
    message("track", {
      event: "Video Playback Started",
      properties: { item: "course-drama", quality: `${word}-quality` },
    }),
    message("page", {
      name: `${word}-page-name`,
      properties: { path: `/${word}-path?${word}=1`, search: `${word}`, viewId: `${word}-v` },
    }),
    message("track", { event: "Heartbeat", properties: { viewId: `${word}-v`, path: `/${word}-path` } }),
    message("screen", { name: `${word}-screen`, properties }),
    message("track", {
      event: "Segment Consent Preference Updated",
      context: {
        consent: { categoryPreferences: { analytics: true, personalization: true }, version: `${word}-version` },
      },
      properties: { [`${word}-decision`]: `${word}-decided` },
    }),
    message("track", {
      event: `${word} event`,
      context: { consent: { categoryPreferences: { [`${word}-category`]: `${word}-preference` } } },
    }),
    message("track", { event: "Task Graded", properties: { item: "course-drama", grade: `${word}-grade` } }),
  ];
}

/** Messages that are refused, each for another reason. */
export function refusedOf(word: string): unknown[] {
  const user = userOf(word);
  let number = 0;
  const message = (fields: object): object => ({
    type: "track",
    messageId: `${word}-refused-${++number}`,
    userId: user,
    event: `${word} refused`,
    properties: { item: `${word}-refused-item`, [`${word}-refused-property`]: `${word}-refused-value` },
    ...fields,
  });
  return [
    `${word}-not-an-object`,
    message({ type: `${word}-type` }),
    message({ messageId: { [word]: 1 } }),
    message({ messageId: word.repeat(100) }),
    message({ userId: { [word]: word } }),
    message({ userId: word.repeat(100) }),
    message({ userId: undefined, anonymousId: word.repeat(100) }),
    message({ event: { [word]: word } }),
    message({ event: word.repeat(100) }),
    message({ properties: `${word}-properties` }),
    message({ properties: { item: { [word]: word } } }),
    message({ properties: { item: word.repeat(200) } }),
    message({ properties: { itemKind: `${word} Kind!`, item: `${word}-kind-item` } }),
    message({ properties: { duration: -1, item: `${word}-duration-item` } }),
    message({ timestamp: `${word}-time` }),
    message({ timestamp: "1899-01-01T00:00:00Z" }),
    message({ sentAt: `${word}-sent` }),
    message({ event: "Advertisement Clicked" }),
    message({ type: "identify", traits: `${word}-traits` }),
    message({ type: "identify", context: { traits: `${word}-context-traits` } }),
    message({ type: "alias", previousId: { [word]: word } }),
    message({ type: "alias" }),
    message({ type: "group" }),
    message({ properties: { number: 1e-320, [word]: word } }),
  ];
}

const ingest = async (db: Queries, batch: unknown[]): Promise<{ accepted: number; errors: { message: string }[] }> =>
  (
    await db.rows<{ accepted: number; errors: { message: string }[] }>("select * from track.ingest($1)", [
      JSON.stringify(batch),
    ])
  )[0] as { accepted: number; errors: { message: string }[] };

/** One committed transaction under a role and settings. */
async function under(
  database: TestDatabase,
  role: string,
  settings: Record<string, string>,
  work: (query: (sql: string, values?: unknown[]) => Promise<unknown>) => Promise<void>,
): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query("begin");
    await client.query("select set_config(name, value, true) from json_each_text($1) as setting (name, value)", [
      JSON.stringify({ ...settings, role }),
    ]);
    if (settings["insights.person"] !== undefined) await client.query("select track.sign_in()");
    await work((sql, values) => client.query(sql, values));
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  } finally {
    client.release();
  }
}

/** The platform, with what administrators set up before there are people. */
export async function makeCanaryWorld(database: TestDatabase): Promise<void> {
  await makeWorld(database);
  await database.query(
    "insert into track.event_type (name, purpose) values ('Advertisement Clicked', 'advertising'), ('Video Playback Started', 'analytics')",
  );
  await database.query("select track.declare_property('Video Playback Started', 'quality')");
  await database.query("select track.set_person_set('listed', array[track.find_person('ida')], 'People on a list.')");
  await database.query("create table public.enrolled (person text, item text, enrolled_at timestamptz)");
  await database.query("create table public.taught (person text, item text, role text)");
  await database.query("select recommend.train()");
  await runMigrations({ connectionString: database.url(), schema: "insights_queue" });
}

/** xAPI: statements of the person and about her, and documents. */
async function storeCanaryStatements(database: TestDatabase, word: string): Promise<void> {
  const agent = { name: `${word}-actor`, account: { homePage: "https://campus.example", name: userOf(word) } };
  const idOf = (number: number): string =>
    createHash("md5")
      .update(`${word} ${number}`)
      .digest("hex")
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  const own = {
    actor: agent,
    verb: { id: `https://verbs.example/${word}-verb`, display: { en: `${word}-display` } },
    object: { id: `https://campus.example/${word}-activity`, definition: { name: { en: `${word}-activity-name` } } },
    result: { response: `${word}-response`, extensions: { [`urn:${word}-extension`]: [`${word}-extended`] } },
    context: { platform: `${word}-platform`, instructor: { mbox: "mailto:instructor@campus.example" } },
    attachments: [{ sha2: createHash("sha256").update(word).digest("hex"), display: { en: `${word}-attachment` } }],
  };
  const other = (fields: object): object => ({
    actor: { account: { homePage: "https://campus.example", name: "ida" } },
    verb: { id: "https://verbs.example/attended" },
    object: { id: "course-drama" },
    ...fields,
  });
  const statements = [
    own,
    other({ context: { instructor: agent } }),
    other({ object: { objectType: "Agent", ...agent } }),
    other({
      object: { objectType: "SubStatement", actor: agent, verb: { id: "urn:plan" }, object: { id: "course-drama" } },
    }),
  ];
  const item = `${word}-activity`;
  await database.query("select track.store_statements($1)", [
    JSON.stringify({
      statements: statements.map((statement, number) => ({
        statement: { ...statement, id: idOf(number), timestamp: "2026-01-07T09:00:00Z" },
        event: number === 0 ? { type: "track", event: `${word} statement`, properties: { item } } : null,
      })),
      attachments: { [own.attachments[0]?.sha2 ?? ""]: Buffer.from(word).toString("base64") },
    }),
  ]);
  await database.query("select track.store_document($1, convert_to($2, 'UTF8'), 'text/plain')", [
    JSON.stringify({ kind: "state", activity: `urn:${word}-place`, agent, id: `${word}-state` }),
    `${word}-contents`,
  ]);
}

/** Stores the person of a word: her messages, and what the application and its administrators do with her. */
export async function makeCanary(database: TestDatabase, word: string): Promise<void> {
  const user = userOf(word);
  const { accepted, errors } = await ingest(database, messagesOf(word));
  if (accepted !== messagesOf(word).length) throw new Error(JSON.stringify(errors));
  // A purpose that does not exist.
  await ingest(database, [
    {
      type: "track",
      messageId: `${word}-purpose`,
      userId: user,
      event: "Segment Consent Preference Updated",
      context: { consent: { categoryPreferences: { [`${word}_purpose`]: false } } },
    },
  ]);
  const refused = await ingest(database, refusedOf(word));
  if (refused.accepted !== 0) throw new Error(`accepted: ${JSON.stringify(refused)}`);

  await storeCanaryStatements(database, word);

  // Clients: herself, and browsers without proof.
  const click = (messageId: string, fields: object): object => ({
    type: "track",
    messageId: `${word}-${messageId}`,
    event: `${word} click`,
    properties: { item: `${word}-clicked`, text: `${word}-text` },
    ...fields,
  });
  await under(database, "insights_learner", { "insights.person": user }, async (query) => {
    await query("select track.ingest($1)", [
      JSON.stringify([
        click("own", { userId: user }),
        click("claim", { type: "identify", userId: user, anonymousId: `${word}-claimed` }),
        click("other", { userId: `${word}-other` }),
      ]),
    ]);
    await query("select recommend.feedback('dismiss_topic', topic => $1)", [`${word}-own-topic`]);
    await query("select track.record_my_consent('analytics', true, $1)", [`${word}-document`]);
    await query("select recommend.serve_me()");
    await query("select privacy.export_me()");
  });
  await under(database, "insights_visitor", { "insights.browser": cookieOf(word) }, async (query) => {
    await query("select track.ingest($1)", [
      JSON.stringify([click("visit", { anonymousId: `${word}-visitor`, traits: { [word]: word } })]),
    ]);
  });
  await under(database, "insights_visitor", {}, async (query) => {
    await query("select track.ingest($1)", [
      JSON.stringify([
        click("without", { anonymousId: `${word}-visitor` }),
        click("guess", { anonymousId: `${word}-browser` }),
      ]),
    ]);
  });

  // The application.
  await database.query("insert into public.enrolled values ($1, 'course-drama', '2026-01-02Z')", [user]);
  await database.query("select track.sync_enrolments('public.enrolled')");
  await database.query("insert into public.taught values ($1, 'course-poetry', 'assistant')", [user]);
  await database.query("select track.sync_item_roles('public.taught')");
  await database.query("truncate public.enrolled, public.taught");

  // Administrators, about her.
  await refresh(database);
  await database.query("select track.add_to_person_set('listed', array[track.find_person($1)])", [user]);
  await database.query("select track.exclude_person($1, 'test', $2)", [user, `${word}-note`]);
  await database.query("select track.include_person($1)", [user]);
  await database.query("select track.exclude_person($1, 'staff', $2)", [`${word}-previous`, `${word}-second-note`]);
  await database.query(
    "select privacy.record_consent(track.find_person($1), 'advertising', true, now(), $2, jsonb_build_object($3::text, $3::text))",
    [user, `${word}-form`, `${word}-evidence`],
  );
  await database.query("select recommend.serve_person($1)", [user]);
  await database.query("select privacy.export_person($1)", [user]);
  await database.query(
    `insert into analytics.snapshot (target, person_id, course_id, as_of, feature, outcome)
     select 'dropout', track.find_person($1), item_id, now(), jsonb_populate_record(null::analytics.learner_features, '{"days_idle": 3}'), 0 from track.item where external_id = 'course-drama'`,
    [user],
  );
  await database.query(
    `select ml.register_model('outside.vectors', 'regression', 'external', $1), ml.register_model('outside.scores', 'regression', 'external', $2)`,
    [
      {
        kind: "embeddings",
        link: "identity",
        similarity: "inner_product",
        sides: 2,
        features: [
          { name: "person", type: "category" },
          { name: "item", type: "category" },
        ],
        embeddings: [
          { side: 1, key: user, embedding: [1, 2] },
          { side: 1, key: "ben", embedding: [1, 3] },
          { side: 2, key: "course-drama", embedding: [1, 2] },
        ],
      },
      {
        kind: "scores",
        link: "identity",
        features: [
          { name: "person", type: "category" },
          { name: "item", type: "category" },
        ],
        scores: [
          { keys: [user, "course-drama"], score: 1 },
          { keys: ["ben", "course-drama"], score: 2 },
        ],
      },
    ],
  );
  // An item that she took before its events were deleted.
  await database.query(
    `insert into recommend.taken (person_id, identity_id, item_id, first_at, last_at, taken_at)
     select identity.person_id, identity.identity_id, item.item_id, '2025-01-01Z', '2025-01-02Z', '2025-01-02Z'
     from track.identity, track.item
     where identity.external_id = $1 and item.external_id = 'course-analysis'`,
    [user],
  );
  await database.query("select privacy.open_request($1, 'access')", [user]);
  await database.query(
    `insert into privacy.person_age (person_id, identity_id, birth_date)
     select person_id, identity_id, '1990-02-03' from track.identity where external_id = $1 on conflict do nothing`,
    [user],
  );
  // Jobs of the application, which may use the queue too: one about her, and one whose error names her.
  await database.query(
    "select insights_queue.add_job('campus:mail', jsonb_build_object('people', array[$1::text])::json)",
    [user],
  );
  await database.query("select insights_queue.add_job('campus:report')");
  await database.query(
    `update insights_queue._private_jobs set last_error = $1
     where task_id = (select id from insights_queue._private_tasks where identifier = 'campus:report')`,
    [`no mail to ${user}`],
  );
  const run = await database.value("select monitor.start_run('refresh')");
  await database.query("select monitor.fail_run($1, $2)", [run, `there is no person "${user}" [CF002]`]);
  const other = await database.value("select monitor.start_run('refresh')");
  await database.query("select monitor.finish_run($1, 1, $2)", [other, { error: `invalid value: ${user}` }]);

  await database.query(
    `insert into monitor.alert (source, subject, owner, severity, message, fix, opened_at, changed_at, seen_at)
     values ($1, 'report', 'operator', 'warning', 'The task is late.', 'Start a worker.', now(), now(), now())`,
    [`task_${word.length}`],
  );
  await database.query("select track.define_person_set('cluster.test', 'Test', 'analytics.cluster_members')");
  await database.query(
    `insert into analytics.cluster (name, centroid, means, deviations, person_count)
     values ('cluster.test', '{0}', '{0}', '{0}', 1) on conflict do nothing`,
  );
  await database.query(
    `insert into analytics.cluster_member (identity_id, name)
     select identity_id, 'cluster.test' from track.identity where external_id = $1 and kind = 'user'`,
    [user],
  );
  await database.query(
    `insert into analytics.intervention (identity_id, course_id, action, note, happened_at, risk, created_by)
     select identity.identity_id, item.item_id, 'call', $2, now(), 0.5, $1
     from track.identity
     join track.item on item.external_id = 'course-drama'
     where identity.external_id = $1 and identity.kind = 'user'`,
    [user, `${word}-note`],
  );
  await under(database, "insights_admin", { "insights.source": `log-${word.length}` }, async (query) => {
    await query(
      `select track.ingest('[{"type": "track", "messageId": "old", "userId": "gus", "event": "Old", "timestamp": "2026-01-02"}]')`,
    );
  });
  // Herself, as an administrator.
  await under(database, "insights_admin", { "insights.person": user }, async (query) => {
    await query("select analytics.annotate('Release', '2026-01-01Z')");
    await query(
      "select analytics.save_view('Release', '/explore', is_shared => shared) from unnest('{true,false}'::boolean[]) as shared",
    );
    await query(`select analytics.save_query($1, 'analytics.trend', '{"event_name": "Course Enrolled"}')`, [
      `trend-${word.length}`,
    ]);
    await query(`select analytics.define_cohort($1, '{"event": "Course Enrolled", "at_least": 1}')`, [
      `enrolled_${word.length}`,
    ]);
    await query(
      "select recommend.set_rule('not_drama', 'exclude', items => array['course-drama'], is_active => false)",
    );
    await query("select track.create_write_key('campus')");
    await query("select privacy.set_retention('runs', '90 days')");
    await query("select monitor.set_rule($1, 'insights_queue_waiting_jobs', threshold => 1e9)", [
      `jobs_${word.length}`,
    ]);
    await query("select monitor.silence('queue', now() + interval '1 hour', 'maintenance')");
    await query("select monitor.acknowledge(alert_id) from monitor.alert where source = $1", [`task_${word.length}`]);
    await query("select experiment.define_layer($1, 'A page.')", [`layer-${word.length}`]);
    await query("select track.forget_import($1)", [`log-${word.length}`]);
    await query("select track.rename_event($1, $2)", [`${word} old event`, `${word} new event`]);
    await query("select track.merge_items($1, 'course-drama')", [`${word}-merged-item`]);
    await query("select track.exclude_person('gus', 'bot')");
    await query("select privacy.export_person('gus')");
  });
  // Another administrator, about her.
  await under(database, "insights_admin", { "insights.person": "ben" }, async (query) => {
    await query("select analytics.save_query($2, 'recommend.for_person', jsonb_build_object('person', $1::text))", [
      user,
      `lists-${word.length}`,
    ]);
  });
  await refresh(database);
  // A list that the next refresh stores.
  await database.query("select recommend.serve_person($1)", [user]);
}

/** The columns that contain a text of a pattern, in all tables of all schemas. */
export async function placesOf(db: Queries, pattern: string): Promise<string[]> {
  const columns = await db.rows<{ relation: string; name: string; label: string; bytes: boolean }>(
    `select format('%I.%I', namespace.nspname, relation.relname) as relation, format('%I', attribute.attname) as name,
       format('%s.%s.%s', namespace.nspname, relation.relname, attribute.attname) as label,
       attribute.atttypid = 'bytea'::regtype as bytes
     from pg_catalog.pg_class as relation
     join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
     join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation.oid
     where relation.relkind in ('r', 'm') and attribute.attnum > 0 and not attribute.attisdropped
       and namespace.nspname !~ '^pg_' and namespace.nspname <> 'information_schema'
     order by 1, attribute.attnum`,
  );
  const found = new Set<string>();
  for (const relation of new Set(columns.map((column) => column.relation))) {
    const own = columns.filter((column) => column.relation === relation);
    const tests = own.map(
      ({ name, bytes }) => `coalesce(bool_or(${bytes ? `encode(${name}, 'escape')` : `${name}::text`} ~* $1), false)`,
    );
    const hits = await db.value<boolean[]>(`select array[${tests.join(", ")}] from ${relation}`, [pattern]);
    hits.forEach((hit, index) => {
      // Partitions are places of their table.
      if (hit) found.add((own[index]?.label ?? "").replace(/(event)_\d{4}_\d\d|(event)_default/, "$1$2"));
    });
  }
  return [...found].sort();
}
