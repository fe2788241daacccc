import {
  buildSchema,
  type GraphQLObjectType,
  type GraphQLOutputType,
  getNamedType,
  isLeafType,
  isNonNullType,
  isObjectType,
} from "postgraphile/graphql";
import { describe, expect, test } from "vitest";
import { describeApi } from "../../src/api/schema.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { learners, makeWorld } from "../support/world.ts";

/*
 * Row security of every table with personal data, for every role, in SQL and over HTTP. The tables are read from the
 * catalogue and the fields from the schema, so that new ones are tested automatically.
 */

const database = await testDatabase();
await makeWorld(database);
await database.query(
  `select privacy.record_consent(identity.person_id, 'analytics', true)
   from track.identity
   where identity.kind = 'user' and identity.external_id in ('ada', 'ben')`,
);
// The queues of people whose derived data must be refreshed are personal too.
await database.query("select track.rebuild()");
await database.query(
  `insert into track.changed (person_id, consumer, since, until)
   select person_id, (select consumer from track.consumer limit 1), now(), now()
   from track.identity where external_id in ('ada', 'ben')`,
);
// Both teach, but no course that the other uses.
await database.query(
  `create table public.staff as
   select * from (values ('ada', 'course-drama', 'instructor'), ('ben', 'course-analysis', 'author')) as row (person, item, role)`,
);
await database.query("select track.sync_item_roles('public.staff')");
await database.query("create table public.private_list (external_id text, kind text)");
const { ask } = await testApi(database);
const sdl = await describeApi(database.pool);
const schema = buildSchema(sdl);

const rooms = "('ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')";
const relations = await database.rows<{ room: string; name: string; secured: boolean; kind: string }>(
  `select namespace.nspname as room, class.relname as name, class.relrowsecurity as secured, class.relkind as kind
   from pg_class as class
   join pg_namespace as namespace on namespace.oid = class.relnamespace
   where namespace.nspname in ${rooms} and class.relkind in ('r', 'p', 'v', 'm')
   order by 1, 2`,
);
const personal = await database.rows<{ room: string; name: string }>(
  `select namespace.nspname as room, class.relname as name
   from pg_class as class
   join pg_namespace as namespace on namespace.oid = class.relnamespace
   join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attname = 'person_id' and attribute.attnum > 0
   where namespace.nspname in ${rooms} and class.relkind in ('r', 'p', 'v', 'm')
   order by 1, 2`,
);
const key = (person: string): Promise<string> =>
  database.value<string>("select person_id from track.identity where kind = 'user' and external_id = $1", [person]);
const [ada, ben] = await Promise.all([key("ada"), key("ben")]);

test("every table has row security", () => {
  expect(relations.filter(({ kind, secured }) => "rp".includes(kind) && !secured)).toEqual([]);
  expect(personal.length).toBeGreaterThan(10);
});

describe.each(personal.map(({ room, name }) => ({ table: `${room}.${name}` })))("$table", ({ table }) => {
  const readable = (role: string): Promise<boolean> =>
    database.value<boolean>("select has_table_privilege($1, $2, 'select')", [`insights_${role}`, table]);

  test("shows nothing to visitors and analysts", async () => {
    for (const role of ["visitor", "analyst"])
      expect({ role, readable: await readable(role) }).toEqual({ role, readable: false });
  });

  test.each(["learner", "instructor"])("shows a %s her own rows, all of them, and no others", async (role) => {
    expect(await readable(role)).toBe(await readable("learner"));
    if (!(await readable(role))) return;
    const own = await database.value<number>(`select count(*)::int from ${table} where person_id = $1`, [ada]);
    const seen = await database.as(`insights_${role}`, { "insights.person": "ada" }, (db) =>
      db.rows<{ person_id: string | null; count: number }>(`select person_id, count(*)::int from ${table} group by 1`),
    );
    expect(seen).toEqual(own === 0 ? [] : [{ person_id: ada, count: own }]);
  });

  test.each(["", "none", "unknown", "browser of ada", "%", "' or true --"])(
    'shows nothing to a learner with the userId "%s"',
    async (name) => {
      if (!(await readable("learner"))) return;
      const seen = await database.as("insights_learner", { "insights.person": name }, (db) =>
        db.value<number>(`select count(*)::int from ${table}`),
      );
      expect(seen).toBe(0);
    },
  );

  test("shows no rows of others to a cheap function in a learner's condition", async () => {
    if (!(await readable("learner"))) return;
    const peek = `
      create function pg_temp.peek(bigint) returns boolean language plpgsql cost 0.0000001 as $$
      begin
        perform set_config('attack.seen', concat_ws(' ', nullif(current_setting('attack.seen', true), ''), $1), true);
        return true;
      end $$`;
    const seen = async (role: string): Promise<string[]> =>
      await database.as(role, { "insights.person": "ada", "attack.seen": "" }, async (db) => {
        await db.query(peek);
        await db.query(`select count(*) from ${table} where pg_temp.peek(person_id)`);
        return [...new Set((await db.value<string>("select current_setting('attack.seen')")).split(" "))].filter(
          Boolean,
        );
      });
    const people = await database.value<string[]>(
      `select coalesce(array_agg(distinct person_id::text), '{}') from ${table} where person_id is not null`,
    );
    // To a reader without restrictions it shows all people; of a view, those of the rows that it reads.
    expect(await seen("insights_reader")).toEqual(expect.arrayContaining(people));
    expect((await seen("insights_learner")).filter((person) => person !== ada)).toEqual([]);
  });

  test("cannot be written by any role of the API", async () => {
    const allowed = await database.rows<{ role: string; privilege: string }>(
      `select role, privilege
       from unnest(array['visitor', 'learner', 'instructor', 'analyst', 'admin', 'worker']) as role
       cross join unnest(array['insert', 'update', 'delete', 'truncate']) as privilege
       where has_table_privilege('insights_' || role, $1, privilege)`,
      [table],
    );
    expect(allowed).toEqual([]);
  });
});

/** The lists of the API whose rows contain a person. */
const fields = Object.values(schema.getQueryType()?.getFields() ?? {}).filter(({ type, args }) => {
  const connection = "ofType" in type ? type.ofType : type;
  if (!isObjectType(connection) || args.some(({ type: argument }) => String(argument).endsWith("!"))) return false;
  const nodes = connection.getFields()["nodes"]?.type;
  const node = nodes && schema.getType(String(nodes).replace(/[[\]!]/g, ""));
  return isObjectType(node) && "personId" in node.getFields();
});

describe("over HTTP", () => {
  test("there are such lists", () => {
    expect(fields.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        "trackEvents",
        "trackSessions",
        "trackIdentities",
        "recommendInteractions",
        "privacyConsents",
      ]),
    );
  });

  test.each(fields.map(({ name }) => name))("%s", async (field) => {
    const query = `{ ${field} { totalCount nodes { personId } } }`;
    for (const who of ["visitor", "analyst"]) {
      const { data, errors } = await ask(who, query);
      expect(data[field]).toBeNull();
      expect(errors).toMatchObject([{ message: "not allowed" }]);
    }
    for (const person of [ada, ben]) {
      const { data } = await ask(`learner:${person === ada ? "ada" : "ben"}`, query);
      if (data[field] === null) continue;
      const people = new Set(data[field].nodes.map(({ personId }: { personId: string }) => personId));
      people.delete(person);
      expect([...people]).toEqual([]);
      expect(data[field].totalCount).toBe(data[field].nodes.length);
    }
    expect((await ask("learner:unknown", query)).data[field]?.nodes ?? []).toEqual([]);
  });

  test("no list of the API shows an instructor a person who does not take her courses", async () => {
    const scalars = (type: GraphQLOutputType): string => {
      const named = getNamedType(type);
      if (!isObjectType(named)) return "";
      const inner = Object.values(named.getFields()).filter(({ type: of }) => isLeafType(getNamedType(of)));
      return inner.length === 0 ? "" : `{ ${inner.map(({ name }) => name).join(" ")} }`;
    };
    const lists = Object.values(schema.getQueryType()?.getFields() ?? {}).filter(({ type, args }) => {
      const connection = getNamedType(type);
      return (
        isObjectType(connection) && "nodes" in connection.getFields() && !args.some(({ type: of }) => isNonNullType(of))
      );
    });
    expect(lists.length).toBeGreaterThan(fields.length);
    const others = learners.filter((name) => name !== "ada");
    let answered = 0;
    for (const { name, type } of lists) {
      const nodes = (getNamedType(type) as GraphQLObjectType).getFields()["nodes"]?.type;
      if (nodes === undefined) continue;
      const { data } = await ask("instructor:ada", `{ ${name} { nodes ${scalars(nodes)} } }`);
      if (data?.[name] == null) continue;
      answered += 1;
      const text = JSON.stringify(data);
      expect({ name, shown: others.filter((person) => new RegExp(`\\b${person}\\b`).test(text)) }).toEqual({
        name,
        shown: [],
      });
    }
    expect(answered).toBeGreaterThan(15);
  });

  test("a row of another person is not found, by any field", async () => {
    const theirs = await ask(
      "learner:ben",
      "{ trackPeople { nodes { id personId } } trackSessions { nodes { id personId sessionId } } trackEvents { nodes { id } } }",
    );
    const [person] = theirs.data.trackPeople.nodes;
    const [session] = theirs.data.trackSessions.nodes;
    const [event] = theirs.data.trackEvents.nodes;
    expect([person, session, event].every((row) => typeof row.id === "string")).toBe(true);
    const query = `query ($person: ID!, $session: ID!, $event: ID!, $personId: BigInt!, $sessionId: UUID!) {
      trackPersonById(id: $person) { personId }
      trackPerson(personId: $personId) { personId }
      trackSessionById(id: $session) { personId }
      trackSession(personId: $personId, sessionId: $sessionId) { personId }
      node(id: $event) { id ... on TrackEvent { personId } }
    }`;
    const variables = {
      person: person.id,
      session: session.id,
      event: event.id,
      personId: person.personId,
      sessionId: session.sessionId,
    };
    const mine = await ask("learner:ada", query, variables);
    expect(mine.errors).toEqual([]);
    expect(mine.data).toMatchObject({
      trackPersonById: null,
      trackPerson: null,
      trackSessionById: null,
      trackSession: null,
    });
    expect(mine.data.node?.personId).toBeUndefined();
    // Not because the query is invalid.
    expect((await ask("learner:ben", query, variables)).data.trackSession).toEqual({ personId: ben });
  });

  test("nor through an item of both people", async () => {
    const { data } = await ask(
      "learner:cleo",
      `{ trackItems(first: 20) { nodes { externalId trackEventsByItemId { nodes { personId } } recommendInteractionsByItemId { nodes { personId } } } } }`,
    );
    const cleo = await key("cleo");
    const seen = data.trackItems.nodes.flatMap((item: Record<string, { nodes: { personId: string }[] }>) =>
      [item["trackEventsByItemId"], item["recommendInteractionsByItemId"]].flatMap((list) => list?.nodes ?? []),
    );
    expect(seen.length).toBeGreaterThan(0);
    expect(new Set(seen.map(({ personId }: { personId: string }) => personId))).toEqual(new Set([cleo]));
  });
});

describe("functions", () => {
  const may = async (role: string): Promise<string[]> =>
    (
      await database.rows<{ name: string }>(
        `select namespace.nspname || '.' || proc.proname as name
         from pg_proc as proc
         join pg_namespace as namespace on namespace.oid = proc.pronamespace
         where namespace.nspname in ${rooms}
           and not starts_with(proc.proname, '_')
           and has_schema_privilege($1, namespace.oid, 'usage')
           and has_function_privilege($1, proc.oid, 'execute')
         order by 1`,
        [`insights_${role}`],
      )
    ).map(({ name }) => name);

  test("a visitor may send events and read nothing", async () => {
    expect(await may("visitor")).toEqual([
      "experiment.assign_me",
      "experiment.bucket_ranges",
      "experiment.choose_variation",
      "experiment.eval_condition",
      "experiment.eval_feature",
      "experiment.features",
      "experiment.hash",
      "experiment.in_namespace",
      "experiment.my_features",
      "experiment.run",
      "recommend.for_items",
      "recommend.serve_items",
      "recommend.trending",
      "track.current_person_id",
      "track.delete_documents",
      "track.ingest",
      "track.sign_in",
      "track.statement_activity",
      "track.statement_agent",
      "track.statement_attachments",
      "track.statements",
      "track.store_document",
      "track.store_statements",
      "track.stored_document",
      "track.stored_documents",
    ]);
  });

  test("a learner may send events, and query her own data and the catalogue", async () => {
    expect(await may("learner")).toEqual([
      "analytics.my_chronotype",
      "experiment.assign_me",
      "experiment.bucket_ranges",
      "experiment.choose_variation",
      "experiment.eval_condition",
      "experiment.eval_feature",
      "experiment.features",
      "experiment.hash",
      "experiment.in_namespace",
      "experiment.my_features",
      "experiment.run",
      "privacy.allowed",
      "privacy.effective_decisions",
      "privacy.export_me",
      "privacy.may_share",
      "privacy.my_disclosures",
      "privacy.open_my_request",
      "privacy.restricted",
      "privacy.shareable_people",
      "recommend.feedback",
      "recommend.for_items",
      "recommend.for_me",
      "recommend.my_next_item",
      "recommend.rank_my_items",
      "recommend.serve_items",
      "recommend.serve_me",
      "recommend.similar_items",
      "recommend.trending",
      "recommend.why_not_me",
      "track.current_person_id",
      "track.current_trait",
      "track.find_identity",
      "track.find_person",
      "track.ingest",
      "track.my_journey",
      "track.record_my_consent",
      "track.record_my_consents",
      "track.sign_in",
      "track.store_document",
      "track.store_statements",
      "track.subject",
      "track.subject_of",
      "track.trait_changes",
      "track.traits_at",
    ]);
  });

  test("an instructor may do what a learner may, and ask about her courses", async () => {
    expect(await may("instructor")).toEqual(
      [
        ...(await may("learner")),
        "analytics.annotations",
        "analytics.chronotypes",
        "analytics.completion_probability",
        "analytics.course_grades",
        "analytics.course_journey",
        "analytics.course_learners",
        "analytics.course_progress",
        "analytics.course_terms",
        "analytics.dropout_risk",
        "analytics.expected_next_week_activity",
        "analytics.intervention_outcomes",
        "analytics.interventions",
        "analytics.item_analysis",
        "analytics.productivity_cycle",
        "analytics.record_intervention",
        "analytics.remove_intervention",
        "analytics.stopping_points",
        "track.taught_courses",
      ].sort(),
    );
  });

  test.each([
    ["instructor:ada", '{ trackJourney(person: "ben") { nodes { event } } }'],
    ["instructor:ada", '{ recommendForPerson(person: "ben") { nodes { item } } }'],
    ["instructor:ada", "{ analyticsCourseOutlook { nodes { course } } }"],
    ["instructor:ada", "{ analyticsPopularItems { nodes { item } } }"],
    ["learner:ada", "{ trackTaughtCourses { nodes { course } } }"],
    ["learner:ada", '{ analyticsCourseLearners(course: "course-drama") { nodes { person } } }'],
    ["analyst", '{ analyticsCourseLearners(course: "course-drama") { nodes { person } } }'],
    ["visitor", '{ analyticsCourseJourney(course: "course-drama", person: "ben") { nodes { event } } }'],
    ["learner:ada", '{ trackJourney(person: "ben") { nodes { event } } }'],
    ["learner:ada", '{ recommendForPerson(person: "ben") { nodes { item } } }'],
    ["analyst", '{ trackJourney(person: "ben") { nodes { event } } }'],
    ["analyst", '{ recommendForPerson(person: "ben") { nodes { item } } }'],
    ["analyst", "mutation { recommendTrain(input: {}) { result { version } } }"],
    ["visitor", "{ recommendForMe { nodes { item } } }"],
    ["visitor", "{ trackItems { nodes { title } } }"],
    ["learner:ada", 'mutation { trackLinkIdentities(input: {person: "ada", other: "ben"}) { result } }'],
    ["learner:ada", "mutation { trackRebuild(input: {}) { result } }"],
    [
      "learner:ada",
      "mutation { updateTrackSetting(input: {onlyRow: true, patch: {largestBatch: 1}}) { trackSetting { largestBatch } } }",
    ],
    [
      "analyst",
      "{ monitorRuns { nodes { runId } } trackSettings { nodes { largestBatch } } trackEvents { nodes { eventId } } }",
    ],
    // With the caller's own rights: no caller becomes the owner through a function that reads a table by name.
    ["admin", 'mutation { trackSyncItems(input: {source: "public.private_list"}) { result { inserted } } }'],
  ])("%s is not allowed: %s", async (who, query) => {
    const { errors } = await ask(who, query);
    expect(errors.length).toBe(1);
    expect(errors[0]).toMatchObject({ message: "not allowed", extensions: { code: "42501" } });
  });

  test("a learner's own consent is her own", async () => {
    const { data, errors } = await ask(
      "learner:cleo",
      'mutation { trackRecordMyConsent(input: {purpose: "personalization", granted: false}) { clientMutationId } }',
    );
    expect(errors).toEqual([]);
    expect(data.trackRecordMyConsent).toBeDefined();
    const decisions = await database.rows(
      "select person_id, granted from privacy.consent where purpose = 'personalization'",
    );
    expect(decisions).toEqual([{ person_id: await key("cleo"), granted: false }]);
  });

  test("admins see people", async () => {
    const { data } = await ask(
      "admin",
      '{ trackJourney(person: "ben") { nodes { event } } trackPeople { totalCount } }',
    );
    expect(data.trackJourney.nodes.length).toBeGreaterThan(0);
    expect(data.trackPeople.totalCount).toBeGreaterThan(10);
  });
});
