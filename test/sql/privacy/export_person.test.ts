import { expect, test } from "vitest";
import { makeCanary, makeCanaryWorld, placesOf, userOf } from "../../support/canary.ts";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

/*
 * Two people with data in every table: the export of one contains all of hers, and nothing of the other's.
 */
const database = await testDatabase();
await makeCanaryWorld(database);
await makeCanary(database, "kanari");
await makeCanary(database, "spatz");
// A row of a table that is only filled while an evaluation runs.
await database.query(
  `with started as (
     insert into recommend.evaluation (kind, purpose, protocol, k, segments, seed, most_people, resamples, until_at, data_watermark,
       train_people, train_rows, items, test_people)
     values ('course', 'evaluation', 'leave_last_out', '{10}', '{}', 1, 100, 1000, now(), now(), 1, 1, 1, 1)
     returning evaluation_id
   ), listed as (
     insert into recommend.evaluation_item (evaluation_id, item_no, item_id, person_count, strength, recent_strength, available_from, available_until, people)
     select evaluation_id, 1, item_id, 1, 1, 1, '-infinity', 'infinity', 1::bit(4096) from started, track.item where external_id = 'course-poetry'
   )
   insert into recommend.evaluation_person (evaluation_id, person_id, items, strengths, left_out, relevant, segments, models_done, gains, lists)
   select evaluation_id, track.find_person($1), '{1}', '{0.5}', '{}', '{1}', '{}', 0, '{}', '{}' from started`,
  [userOf("kanari")],
);
// A list that the next refresh stores.
await database.query("select recommend.serve_person($1)", [userOf("kanari")]);
await database.query(
  "insert into privacy.restriction (identity_id, person_id, reason) select identity_id, person_id, 'claims' from track.identity where external_id = $1",
  [userOf("kanari")],
);
// People who are excluded from figures are not learned from: the record of a model is planted too.
await database.query(
  `with listed as (
     insert into recommend.learning (model_id, person_count)
     select min(model_id), 1 from ml.model where algorithm <> 'external'
     on conflict (model_id) do update set person_count = learning.person_count
     returning model_id
   )
   insert into recommend.learned (person_id, model_id, item_ids, strengths)
   select track.find_person($1), model_id, array[item_id], '{0.5}' from listed, track.item where external_id = 'course-drama'`,
  [userOf("kanari")],
);
// An experiment that has no effect on anything else.
await database.query(
  `select experiment.define_metric('enrolled', 'count', '{Course Enrolled}');
   select experiment.define_metric('score', 'quantile', '{Course Enrolled}', value_property => 'score', quantile => 0.5);
   select experiment.define_experiment('{"key": "new-page", "variations": [{"key": "old"}, {"key": "new"}], "goals": ["enrolled", "score"]}')`,
);
await database.query(
  `with exposed as (
     insert into experiment.exposure (person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes, outcomes_before)
     select track.find_person($1), experiment_id, 1, now(), current_date, true, 'pro', 0.5, '{2}', '{1}'
     from experiment.experiment where experiment_key = 'new-page'
     returning person_id, experiment_id
   )
   insert into experiment.event_value (person_id, experiment_id, position, event_values)
   select exposed.person_id, exposed.experiment_id, measured.position, '{7,9}'
   from exposed
   join experiment.measured using (experiment_id)
   join experiment.metric using (metric_id)
   where metric.metric_key = 'score'`,
  [userOf("kanari")],
);

type Row = Record<string, unknown>;
interface Document {
  person: { kind: string; name: string }[];
  exported_at: string;
  purposes: Row[];
  index: { table: string; description: string; rows: number; columns: Record<string, string> | null }[];
  data: Record<string, Row[]>;
}

const exportOf = (db: Queries, person: string): Promise<Document> =>
  db.value("select privacy.export_person($1)", [person]);
const kanari = await exportOf(database, userOf("kanari"));
const text = JSON.stringify(kanari);

/** Columns by which a table refers to a person; the oracle of the number of rows. */
const references = (db: Queries): Promise<{ relation: string; condition: string }[]> =>
  db.rows(
    `select entry.schema_name || '.' || entry.table_name as relation,
       string_agg(format('%I = %s', entry.column_name, case entry.holds when 'person' then '$1' else 'any ($2)' end), ' or ') as condition
     from privacy.data_map as entry
     where entry.column_name ~ '(^|_)(person|identity)_id$'
       and entry.column_name <> 'user_identity_id'
     group by 1 order by 1`,
  );

/** Tables with rows of the person of which the export does not have as many. */
async function missing(db: Queries, document: Document, word: string): Promise<string[]> {
  const wrong: string[] = [];
  const person = await db.value("select track.find_person($1)", [userOf(word)]);
  const identities = await db.value("select array_agg(identity_id) from track.identity where person_id = $1", [person]);
  for (const { relation, condition } of await references(db)) {
    const alone = !condition.includes("$2") ? [person] : [person, identities];
    // The type of $1 is unknown where only $2 is used.
    const stored = await db.value<number>(
      `select count(*)::int from ${relation} where (${condition})${condition.includes("$1") ? "" : " and $1::bigint is not null"}`,
      alone,
    );
    const exported = document.index.find(({ table }) => table === relation)?.rows;
    // The export that is being compared is itself in the log, which it read before.
    if (exported !== stored && !["privacy.export_log", "privacy.disclosure"].includes(relation))
      wrong.push(`${relation}: ${exported} of ${stored}`);
  }
  return wrong;
}

test("each table of the data map with rows of the person is in the export, with as many rows", async () => {
  expect(await missing(database, kanari, "kanari")).toEqual([]);
  expect(kanari.data["privacy.export_log"]?.length).toBeGreaterThan(1);
});

test("a table that is left out is found", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      `create table track.planted (person_id bigint, word text);
       insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
       values ('track', 'planted', 'person_id', 'person', 'service', 'Some person.');
       insert into track.planted values (track.find_person('kanari-user'), 'word')`,
    );
    expect(await missing(db, kanari, "kanari")).toEqual(["track.planted: undefined of 1"]);
  });
});

test("each column of the data map that is about the person is in a row of the export", async () => {
  // Content without a person: an item, an event type or a value is in the rows that refer to it.
  const others = new Set([
    "track.item",
    "track.named_item",
    "track.event_type",
    "track.property_value",
    "track.message",
    "track.packed_message",
    // Names of properties, which are counted without a person.
    "track.found_data",
    "ml.model",
    "ml.tree_node",
    "ml.input_profile",
    "ml.calibration",
    "ml.comparison",
    "recommend.neighbours",
    "recommend.learned_item",
    "recommend.item_vector",
    "recommend.best_parameters",
    "recommend.evaluation_item",
    "recommend.evaluation_weight",
    "experiment.day_sum",
    // Means of many people.
    "analytics.cluster",
    "monitor.run",
    "monitor.probe_state",
    "privacy.erasure",
    "privacy.ledger",
    "privacy.suppression",
    "insights_queue._private_jobs",
  ]);
  // Columns that have another form in the export, or none.
  const forms: Record<string, string> = {
    "track.presence.people": "days",
    "track.value_presence.people": "days",
    "track.item_month.people": "days",
    "track.course_presence.people": "days",
    "track.course_presence.members": "days",
    "track.person_set_block.people": "name",
    "track.step_value.value_ids": "values",
    "track.identity.identity_id": "external_id",
    // Of an exclusion of hers; those that she made are about others.
    "track.exclusion.excluded_by": "excluded_at",
    // Proof, for the holder of the salt.
    "privacy.request.subject_hash": "request_id",
    // The export is of one person.
    "privacy.export_log.identity_id": "exported_at",
    "privacy.disclosure.identity_id": "identity",
    "analytics.cluster_member.name": "cluster",
    "track.client_document.document_hash": "place",
    "track.client_document.person": "place",
    "track.client_document.scope": "place",
    "track.statement.event_ids": "statement",
    "track.statement.identity_ids": "statement",
    "track.statement.keys": "statement",
    "track.statement.people": "statement",
    "track.statement.reference_id": "statement",
  };
  const columns = await database.rows<{ relation: string; name: string }>(
    `select schema_name || '.' || table_name as relation, column_name as name from privacy.data_map
     where holds <> 'none' order by 1, 2`,
  );
  const absent = columns
    .filter(({ relation, name }) => !others.has(relation) && name !== "person_id")
    .filter(({ relation, name }) => {
      const keys = new Set((kanari.data[relation] ?? []).flatMap((row) => Object.keys(row)));
      if (name.startsWith("view_") && relation === "track.session") return !keys.has("views");
      const form = forms[`${relation}.${name}`] ?? name;
      return ![form, form.replace(/_id$/, ""), form.replace(/_ids$/, "s")].some((key) => keys.has(key));
    })
    .map(({ relation, name }) => `${relation}.${name}`);
  expect(absent).toEqual([]);
});

test("every word of the person that is stored is in the export", async () => {
  const places = await placesOf(database, "kanari");
  const words = new Set<string>();
  for (const place of places) {
    // Messages without proof under the name of her browser, and her acts as an administrator on others.
    if (/^(monitor\.run|insights_queue|track\.exclusion\.excluded_by)/.test(place)) continue;
    const [schema, table, column] = place.split(".");
    for (const { found } of await database.rows<{ found: string[] }>(
      `select regexp_matches("${column}"::text, '(kanari[a-z0-9@./_-]*)', 'g') as found from "${schema}"."${table}"`,
    )) {
      words.add(found[0] ?? "");
    }
  }
  // Of people who are not proven to be her.
  const unproven = new Set(["kanari-visitor", "kanari-claimed", "kanari-clicked", "kanari-text"]);
  const lost = [...words].filter((word) => !unproven.has(word) && !text.includes(word));
  expect(words.size).toBeGreaterThan(40);
  expect(lost).toEqual([]);
});

test("nothing of another person is in it", async () => {
  expect(text).not.toContain("spatz");
  const names = await database.rows<{ name: string }>(
    "select external_id as name from track.identity where person_id <> track.find_person($1) and external_id !~ 'kanari'",
    [userOf("kanari")],
  );
  for (const { name } of names) expect(text, name).not.toContain(`"${name}"`);
  expect(JSON.stringify(await exportOf(database, userOf("spatz")))).not.toContain("kanari");
});

test("two people of one browser: each has her own events", async () => {
  const page = (messageId: string, minute: number): object => ({
    type: "page",
    messageId,
    anonymousId: "shared",
    timestamp: `2026-01-03T09:0${minute}:00Z`,
    properties: { path: `/${messageId}` },
  });
  const identify = (userId: string, minute: number): object => ({
    type: "identify",
    messageId: `shared-${userId}`,
    anonymousId: "shared",
    userId,
    timestamp: `2026-01-03T09:0${minute}:00Z`,
  });
  await database.query("select track.ingest($1)", [
    JSON.stringify([page("zoe-1", 0), identify("zoe", 1), page("zoe-2", 2), identify("yan", 3), page("yan-1", 4)]),
  ]);
  const paths = async (name: string): Promise<unknown[]> =>
    ((await exportOf(database, name)).data["track.event"] ?? []).map((row) => row["item"]);
  expect(await paths("zoe")).toEqual(["/zoe-1", "/zoe-2"]);
  expect(await paths("yan")).toEqual(["/yan-1"]);
  expect(JSON.stringify(await exportOf(database, "zoe"))).not.toContain('"yan"');
  expect(JSON.stringify(await exportOf(database, "yan"))).not.toContain('"zoe"');
});

test("each name of the person gives the whole person, also after a merge", async () => {
  const data = async (name: string) => {
    const { data } = await exportOf(database, name);
    delete data["privacy.export_log"];
    delete data["privacy.disclosure"];
    return data;
  };
  const whole = await data(userOf("kanari"));
  expect(await data("kanari-previous")).toEqual(whole);
  expect(await data("kanari-browser")).toEqual(whole);
  expect(kanari.person.map(({ name }) => name).sort()).toEqual([
    "kanari-browser",
    "kanari-previous",
    "kanari-previous",
    "kanari-user",
  ]);
});

test("the contents are true: events, traits, sets, days and recommendations", async () => {
  const person = await database.value<string>("select track.find_person($1)", [userOf("kanari")]);
  const events = await database.rows(
    "select event_id, properties from track.event where person_id = $1 order by occurred_at, event_id",
    [person],
  );
  expect(kanari.data["track.event"]?.map(({ event_id, properties }) => ({ event_id, properties }))).toEqual(events);
  const sets = await database.rows<{ name: string }>(
    "select name from track.person_set where track.is_in_person_set(name, $1) order by name",
    [person],
  );
  expect(kanari.data["track.person_set_block"]?.map(({ name }) => name)).toEqual(sets.map(({ name }) => name));
  expect(sets.length).toBeGreaterThan(2);
  // Days of use, from the events.
  const days = await database.rows(
    `select event_type.name as event, jsonb_agg(distinct (occurred_at at time zone 'UTC')::date order by (occurred_at at time zone 'UTC')::date) as days
     from track.event join track.event_type using (event_type_id) where person_id = $1 group by 1 order by 1`,
    [person],
  );
  const byName = (left: Row, right: Row): number => (String(left["event"]) < String(right["event"]) ? -1 : 1);
  expect(kanari.data["track.presence"]?.filter(({ event }) => event !== null).sort(byName)).toEqual(days.sort(byName));
  expect(kanari.data["recommend.impression"]?.map(({ item }) => item)).toEqual(
    (
      await database.rows<{ item: string }>(
        `select external_id as item from recommend.impression join track.item using (item_id) where person_id = $1
         order by listed_at, rank, serving_key`,
        [person],
      )
    ).map(({ item }) => item),
  );
  expect(kanari.data["track.trait"]).toContainEqual(
    expect.objectContaining({ name: "plan", value: "kanari-later-plan", identity: "kanari-user" }),
  );
  expect(kanari.index.find(({ table }) => table === "track.event")).toMatchObject({
    description: "Events of people, partitioned by month.",
    rows: events.length,
    columns: { event: "Event type.", item: "Item that the event is about; null when there is none." },
  });
  expect(kanari.purposes).toHaveLength(7);
  for (const { table, description } of kanari.index) expect(description, table).toMatch(/^[A-Z].*[.]$/);
});

test("the settings of the session change nothing", async () => {
  const plain = async (db: Queries): Promise<Document> => {
    const document = await exportOf(db, userOf("kanari"));
    delete document.data["privacy.export_log"];
    delete document.data["privacy.disclosure"];
    // The time of the predictions, and of the export.
    return {
      ...document,
      exported_at: "",
      index: document.index.filter(({ table }) => !["privacy.export_log", "privacy.disclosure"].includes(table)),
    };
  };
  const usual = await plain(database);
  await database.as(
    "insights_admin",
    {
      TimeZone: "Asia/Kathmandu",
      DateStyle: "German",
      IntervalStyle: "sql_standard",
      extra_float_digits: "-15",
      bytea_output: "escape",
      search_path: "public, pg_temp",
    },
    async (db) => expect(await plain(db)).toEqual(usual),
  );
});

test("each export is logged, with who exported", async () => {
  const log = () =>
    database.rows(
      `select exported_by, count(*)::int as exports, min(row_count)::int > 100 as is_filled from privacy.export_log
       where identity_id = track.find_person($1) group by 1 order by 1`,
      [userOf("spatz")],
    );
  const before = await log();
  await exportOf(database, userOf("spatz"));
  const after = await log();
  const sum = (rows: Row[]): number => rows.reduce((total, row) => total + Number(row["exports"]), 0);
  expect(sum(after)).toBe(sum(before) + 1);
  expect(after.map(({ exported_by }) => exported_by)).toContain("spatz-user");
  // She reads her own name in it, and not those of administrators.
  const { data } = await exportOf(database, userOf("spatz"));
  expect(new Set(data["privacy.export_log"]?.map(({ exported_by }) => exported_by))).toEqual(
    new Set(["spatz-user", "an administrator"]),
  );
});

test("nobody, an unknown person, and person 0", async () => {
  expect(await database.rejects("select privacy.export_person(null)")).toMatchObject({ code: "CF001" });
  for (const name of ["", "unknown", "none", "x".repeat(10_000)]) {
    const error = await database.rejects("select privacy.export_person($1)", [name]);
    expect(error).toMatchObject({ code: "CF002" });
    expect(error.message.length).toBeLessThan(150);
  }
});

test("is for administrators", async () => {
  expect(await rolesThatMay(database, "select privacy.export_person('ada')")).toEqual(["admin"]);
});
