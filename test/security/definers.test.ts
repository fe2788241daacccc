import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rooms } from "../../src/database/catalogue.ts";
import { testDatabase } from "../support/database.ts";
import { makePopulation } from "../support/population.ts";
import { isFull, isShort } from "../support/runs.ts";

/*
 * A definer runs with the rights of its owner, so nothing that its caller made may run inside it. Each role that may call
 * a definer attacks it here, in a session of its own: she makes objects that the body could take for those it means, all
 * of which run `evil()`, and calls it. `evil()` raises a warning that names the user it runs as; warnings reach the client
 * even when what raised them is rolled back.
 *
 * The same attack is played once more after the functions of the rooms were weakened: an empty path instead of theirs,
 * which leaves pg_temp in front for types and relations; no path at all for functions and operators, which PostgreSQL
 * never looks up in pg_temp; temporary tables that are taken as they are found. A row that fails to get through then
 * shows nothing, and is not counted.
 */

const database = await testDatabase();

/** Lets its creator continue; any other user that runs it is reported, and the call fails. */
const evil = (attacker: string): string => `
  create function pg_temp.evil() returns boolean language plpgsql volatile set search_path to pg_catalog as $$
  begin
    if current_user <> '${attacker}' then
      raise warning 'evil runs as %', current_user;
      raise exception 'evil ran';
    end if;
    return true;
  end $$;
`;

/**
 * Names of types that bodies use. Keywords such as int and interval cannot be shadowed: the grammar resolves them to
 * pg_catalog.
 */
const types = ["text", "jsonb", "timestamptz", "float8", "uuid", "date", "bytea", "int4", "int8", "regclass", "name"];

/** Functions and operators that bodies use, by their arguments. */
const functions = [
  ["now", "", "timestamptz"],
  ["clock_timestamp", "", "timestamptz"],
  ["current_setting", "text, boolean", "text"],
  ["current_setting", "text", "text"],
  ["hashtext", "text", "int"],
  ["length", "text", "int"],
  ["lower", "text", "text"],
  ["left", "text, int", "text"],
  ["isfinite", "timestamptz", "boolean"],
  ["cardinality", "anyarray", "int"],
  ["unnest", "anyarray", "setof anyelement"],
  ["generate_series", "int, int", "setof int"],
  ["jsonb_typeof", "jsonb", "text"],
  ["jsonb_array_length", "jsonb", "int"],
  ["pg_try_advisory_xact_lock", "int", "boolean"],
] as const;

const operators = [
  ["=", "text", "text", "boolean"],
  ["=", "bigint", "bigint", "boolean"],
  ["=", "int", "int", "boolean"],
  ["=", "timestamptz", "timestamptz", "boolean"],
  ["<", "int", "int", "boolean"],
  ["<", "bigint", "int", "boolean"],
  ["<=", "int", "int", "boolean"],
  ["<=", "bigint", "int", "boolean"],
  [">", "int", "int", "boolean"],
  [">=", "int", "int", "boolean"],
  [">", "timestamptz", "timestamptz", "boolean"],
  ["<>", "text", "text", "boolean"],
  ["<>", "bigint", "bigint", "boolean"],
  ["<>", "bigint", "int", "boolean"],
  ["!~", "text", "text", "boolean"],
  ["->>", "jsonb", "text", "text"],
  ["->", "jsonb", "text", "jsonb"],
  ["||", "text", "text", "text"],
  ["-", "timestamptz", "interval", "timestamptz"],
  ["+", "timestamptz", "interval", "timestamptz"],
] as const;

/** Columns of temporary tables that are written to, so that one that was there before is written to as well. */
const columns: Record<string, string> = {
  all_row: "person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz",
  held_row: "person_id bigint, item_id bigint, asked_at timestamptz",
  train_row: "person_id bigint, item_id bigint, strength real, last_at timestamptz",
  _ml_tree_feature: "feature int primary key, name text, category boolean, edges float8[], categories text[]",
};

/** Makes tables that run evil() at every change, and that the owners of the definers may change. */
const traps = (names: string[]): string => `
  create function pg_temp.evil_trigger() returns trigger language plpgsql as
    $$ begin perform pg_temp.evil(); return null; end $$;
  ${names
    .map(
      (name) => `
        create temporary table ${name} (${columns[name] ?? "taken boolean"});
        create trigger attack before insert or update or delete or truncate on pg_temp.${name}
          for each statement execute function pg_temp.evil_trigger();
        grant all on pg_temp.${name} to public;`,
    )
    .join("\n")}
`;

type Weakness = "empty path" | "no path" | "takes tables";

interface Kind {
  /** How the functions are weakened so that the attack succeeds. */
  weakness: Weakness;
  /** The attacker's objects. `scratch` are the temporary tables that functions of the rooms make. */
  make(scratch: string[]): string;
  /** The body of a control that the attack takes over, owned by insights_owner. */
  control: string;
}

const kinds: Record<string, Kind> = {
  domain: {
    weakness: "empty path",
    make: () =>
      types
        .map((name) => `create domain pg_temp.${name} as pg_catalog.${name} check (pg_temp.evil());`)
        .concat(`create domain pg_temp.vector as real[] check (pg_temp.evil());`)
        .join("\n"),
    control: "declare v_value text := 'x'; begin end",
  },
  type: {
    weakness: "empty path",
    make: () =>
      types
        .map(
          (name) => `
            create type pg_temp.${name} as (value boolean);
            ${["pg_catalog.text", "bigint", "int", "timestamp with time zone", "double precision", "pg_catalog.jsonb"]
              .map(
                (source) => `
                  create function pg_temp.evil_cast_${name}(${source}) returns pg_temp.${name} language plpgsql as
                    $$ begin return row(pg_temp.evil()); end $$;
                  create cast (${source} as pg_temp.${name}) with function pg_temp.evil_cast_${name}(${source}) as implicit;`,
              )
              .join("\n")}`,
        )
        .join("\n"),
    control: "begin perform 1::int::text; end",
  },
  view: {
    weakness: "takes tables",
    make: (scratch) =>
      scratch
        .map(
          (name) => `
            create view pg_temp.${name} as select * from (select true as taken) as given where pg_temp.evil();
            grant all on pg_temp.${name} to public;`,
        )
        .concat(
          ["pg_class", "pg_namespace", "pg_extension", "pg_roles", "pg_proc", "pg_type"].map(
            (name) => `
              create view pg_temp.${name} as select * from pg_catalog.${name} where pg_temp.evil();
              grant all on pg_temp.${name} to public;`,
          ),
        )
        .join("\n"),
    control: "begin perform from pg_class limit 1; end",
  },
  table: {
    weakness: "takes tables",
    make: (scratch) => traps(scratch.filter((name) => !name.startsWith("_ml_"))),
    control:
      "begin create temporary table if not exists held_row (taken boolean); insert into pg_temp.held_row default values; end",
  },
  "table of a training": {
    weakness: "takes tables",
    make: (scratch) => traps(scratch.filter((name) => name.startsWith("_ml_tree_"))),
    control: `begin create temporary table if not exists _ml_tree_node (node int); delete from pg_temp._ml_tree_node; end`,
  },
  function: {
    weakness: "no path",
    make: () =>
      functions
        .map(([name, from, to]) => {
          const given = from === "" ? "" : from.split(", ").map((_, i) => `$${i + 1}`);
          return `
            create function attacker.${name}(${from}) returns ${to} language plpgsql as $$
            begin
              perform pg_temp.evil();
              return ${to.startsWith("setof") ? `query select pg_catalog.${name}(${given})` : `pg_catalog.${name}(${given})`};
            end $$;
            create function pg_temp.${name}(${from}) returns ${to} language sql as 'select attacker.${name}(${given})';`;
        })
        .join("\n"),
    control: "begin perform now(); end",
  },
  operator: {
    weakness: "no path",
    make: () =>
      operators
        .map(
          ([name, left, right, to], i) => `
            create function attacker.operator_${i}(${left}, ${right}) returns ${to} language plpgsql as $$
            begin perform pg_temp.evil(); return $1 operator(pg_catalog.${name}) $2; end $$;
            create operator attacker.${name} (leftarg = ${left}, rightarg = ${right}, function = attacker.operator_${i});
            create operator pg_temp.${name} (leftarg = ${left}, rightarg = ${right}, function = attacker.operator_${i});`,
        )
        .join("\n"),
    control: "begin perform length('a') = 1; end",
  },
};

/** Arguments that get into the body, by name; a function's own come first. */
const samples: Record<string, Record<string, string>> = {
  "ml.register_model": {
    task: "'regression'",
    metric: "'root_mean_squared_error'",
    project: "'lab.attack'",
    parameters: "'{}'",
  },
  "track.distribution_steps": { undo: "true" },
  "track.delete_documents": {
    place: `'{"kind": "state", "activity": "urn:a", "agent": {"openid": "urn:ada"}, "id": "x"}'`,
    if_match: "''",
    if_none_match: "''",
  },
  "track.statement_activity": { activity: "'urn:a'" },
  "track.statement_agent": { agent: `'{"openid": "urn:ada"}'` },
  "track.statement_attachments": { hashes: "array[repeat('0', 64)]" },
  "track.statements": { query: `'{"verb": "urn:v", "agent": {"openid": "urn:ada"}}'` },
  "track.store_document": {
    place: `'{"kind": "state", "activity": "urn:a", "agent": {"openid": "urn:ada"}, "id": "x"}'`,
    contents: "'1'",
    content_type: "'text/plain'",
    merges: "false",
    if_match: "''",
    if_none_match: "''",
  },
  "track.store_statements": {
    batch: `'{"statements": [{
      "statement": {
        "id": "00000000-0000-4000-8000-000000000001", "actor": {"openid": "urn:ada"}, "verb": {"id": "urn:v"},
        "object": {"id": "urn:a"}
      },
      "event": {"type": "track", "event": "Task Completed"}
    }]}'`,
  },
  "track.stored_document": {
    place: `'{"kind": "state", "activity": "urn:a", "agent": {"openid": "urn:ada"}, "id": "x"}'`,
  },
  "track.stored_documents": {
    place: `'{"kind": "state", "activity": "urn:a", "agent": {"openid": "urn:ada"}, "id": "x"}'`,
    since: "null",
  },
  "privacy.publish_text": {
    purpose: "'analytics'",
    version: "'attacked'",
    body: "'We count visits.'",
    language: "'en'",
    url: "null",
    valid_from: "now()",
  },
  "privacy.record_birth_date": { birth_date: "'1980-01-01'" },
  "privacy.erasure_list": { since: "'-infinity'" },
  "privacy.replay_erasures": { list: "privacy.erasure_list()" },
  "privacy.object": { purpose: "'personalization'" },
  "privacy.pseudonym": { project: "'analysts'" },
  "privacy.reidentify": { pseudonym: "privacy.pseudonym(person_id)", project: "'analysts'" },
  "privacy.rotate_pseudonyms": { project: "'study'" },
  "privacy.record_table_reads": { tables: "'{track.event}'" },
  "privacy.record_disclosure": { people: "array[person_id]", function_name: "'track.journey'" },
  "privacy.seal": { most: "10" },
  "privacy.suppress": { kinds: "'{user}'", names: "'{gone}'" },
  "privacy.suppressed": { kinds: "'{user}'", names: "'{gone}'" },
  "privacy.lift_suppression": { kinds: "'{user}'", names: "'{gone}'", lifted_at: "now()" },
  "privacy.open_request": { kind: "'access'", regime: "'gdpr'", received_at: "now()" },
  "privacy.open_my_request": { kind: "'access'", regime: "'gdpr'" },
  "privacy.complete_request": { request_id: "gen_random_uuid()", outcome: "'Done.'", state: "'completed'" },
  "privacy.extend_request": { request_id: "gen_random_uuid()" },
  "privacy.restrict_person": { reason: "'claims'" },
  "privacy.set_retention": {
    data_class: "'events'",
    keep: "'1 year'",
    purpose: "null",
    counted_from: "'event'",
    method: "'delete'",
    keeps_rollups: "false",
  },
  "privacy.drop_retention": { data_class: "'events'", purpose: "null" },
  "privacy.kept_for": { data_class: "'events'" },
  "privacy.apply_retention": { most_rows: "10", confirm_clock: "true" },
  "privacy.rectify": { changes: `'{"traits": {"plan": "x"}}'` },
  "privacy.complete_erasures": { refreshed_at: "now()" },
  "privacy.erase_person": { reason: "'Asked.'", keep_suppressed: "true" },
  "track.split_person": { names: "'{browser}'" },
  "track.personal_data_found": { since: "'2025-05-01'", until: "'2025-06-01'" },
  "track.dropped_data": { since: "'2025-05-01'", until: "'2025-06-01'" },
  "privacy.verify_ledger": { expected_position: "null", expected_hash: "null", tolerance: "'1 hour'" },
  "privacy.record_consents": {
    purposes: "null",
    valid_until: "null",
    decided_by: "'person'",
    identity_id: "null",
  },
  "track.record_my_consents": { purposes: "null" },
  "track._store_items": { items: `'[{"external_id": "new", "kind": "course", "title": "New"}]'` },
  "ml._train_rows": {
    project: "'own.sample'",
    task: "'regression'",
    algorithm: "'linregr'",
    source: "'lab.sample'",
    id_column: "'id'",
    label: "'y'",
    names: "'{id,x,y}'",
    types: "'{text,float8,float8}'",
    source_rows: `(
      select jsonb_agg(jsonb_build_object('id', n, 'x', n, 'y', 2 * n + n % 3)) from generate_series(1, 60) as n
    )`,
    seed: "1",
  },
  "ml._record_calibration": {
    model_id: "1",
    part: "'held out'",
    bins: `'[{"class_number": 0, "row_count": 20, "mean_predicted": 0.5, "fraction_positive": 0.4, "fraction_lower": 0.2, "fraction_upper": 0.6}]'`,
  },
  "ml._conclude": { metrics: `'{"log_loss": 0.5, "row_count": 10}'` },
  "ml.mark_for_training": { project: "'analytics.dropout'", reason: "'erased'", versions: "'{}'" },
  "recommend.for_items": { items: "array[course]" },
  "recommend.serve_items": { items: "array[course]" },
  "recommend.for_people": { people: "array[person]" },
  "recommend.refresh_item_vectors": { most: "10" },
  "ml.challenge_by_outcome": {
    project: "'analytics.dropout'",
    version: "1",
    outcome: "'equal'",
    strategy: "null::text",
    champion_metrics: "'{}'",
    duration: "'1 second'",
  },
  "recommend.start_evaluation": {
    models: "'{popularity}'",
    protocol: "'time'",
    k: "'{10}'",
    segments: "'{}'",
    people: "100",
    resamples: "20",
    split_at: "null::timestamptz",
  },
  "recommend.continue_evaluation": { evaluation_id: "(select min(evaluation_id) from recommend.evaluation)" },
  "recommend.start_search": { trials: "2" },
  "monitor._score_drift": { kind: "'course'", reference: "interval '7 days'" },
  "monitor._score_drift_shown": { kind: "'course'", reference: "interval '7 days'" },
  "monitor._relevance": { by_week: "true" },
  "monitor._relevance_shown": { by_week: "true" },
  "monitor.set_relevance_watch": {
    rolls_back: "false",
    alpha: "0.05",
    fewest_people: "100",
    answer_period: "interval '1 day'",
  },
  "monitor._list_durations_shown": {
    starts: "array[now() - interval '7 days']",
    ends: "array[now()]",
    kind: "'course'",
    by_model: "true",
  },
  "experiment._course": { experiment: "'attacked'" },
  "experiment._health_exact": { experiment: "'attacked'", among: "'counted'" },
  "experiment._health_shown": { experiment: "'attacked'", among: "'counted'" },
  "experiment._result_days_exact": {
    experiment: "'attacked'",
    metric: "null",
    test: "null",
    difference: "'relative'",
  },
  "experiment._result_days_shown": {
    experiment: "'attacked'",
    metric: "null",
    test: "null",
    difference: "'relative'",
  },
  "experiment._results_exact": {
    experiment: "'attacked'",
    among: "'counted'",
    test: "null",
    difference: "'relative'",
    is_adjusted: "true",
    only_complete: "true",
    until: "null",
  },
  "experiment._results_shown": {
    experiment: "'attacked'",
    among: "'counted'",
    test: "null",
    difference: "'relative'",
    is_adjusted: "true",
    only_complete: "true",
    until: "null",
  },
  "experiment._value_problems": { experiment_id: "(select max(experiment_id) from experiment.experiment)" },
  "experiment.assign": { experiment: "'attacked'", attributes: "null" },
  "experiment.assign_all": { experiment: "'attacked'", people: "'{ada}'", attributes: "null" },
  "experiment.assign_me": { experiment: "'attacked'", attributes: "null" },
  "experiment.change_weights": { experiment: "'attacked'", weights: "'{0.4,0.6}'", coverage: "0.9" },
  "experiment.check_exposures": { experiment: "'attacked'" },
  "experiment.define_experiment": {
    definition: `'{"key": "new", "variations": [{"key": "a"}, {"key": "b"}], "goals": ["attacked"]}'`,
  },
  "experiment.define_feature": {
    feature_key: "'new'",
    description: "'x'",
    value_type: "'boolean'",
    default_value: "'false'",
    rules: "'[]'",
  },
  "experiment.define_holdout": { holdout: "'new'", share: "0.1", description: "'x'" },
  "experiment.define_layer": { layer: "'new'", description: "'x'" },
  "experiment.define_metric": {
    metric_key: "'new'",
    type: "'proportion'",
    events: "array[event]",
    description: "'x'",
    item: "course",
    property_filter: "null",
    value_property: "null",
    numerator: "null",
    denominator: "null",
    quantile: "null",
    cap: "null",
    delay: "'0'",
    period: "'7 days'",
    is_lower_better: "false",
  },
  "experiment.drop_experiment": { experiment: "'draft'" },
  "experiment.drop_feature": { feature_key: "'attacked'" },
  "experiment.drop_metric": { metric: "'unused'" },
  "experiment.end_holdout": { holdout: "'attacked'" },
  "experiment.evaluate_features": { attributes: "null" },
  "experiment.my_features": { attributes: "null" },
  "experiment.off_policy_estimate": { experiment: "'attacked'", weights: "null" },
  "experiment.rebuild": { experiment: "'attacked'" },
  "experiment.ship": { experiment: "'attacked'", variation: "'b'" },
  "experiment.start": { experiment: "'draft'" },
  "experiment.stop": { experiment: "'attacked'" },
  "experiment.keep_results": { experiment: "'attacked'" },
  "recommend.check_variation": { placement: "'recommend.course'", value: `'{"tiers": ["popularity"]}'` },
  "recommend.ship_variation": { placement: "'recommend.course'", value: `'{"tiers": ["popularity"]}'` },
  "recommend._rank": {
    context: "row(1, 1, '{1}', '{1}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', null)::recommend.person_context",
    request: "row('course', 10, '{}', null, null, false, null)::recommend.request",
    tiers: "'{popularity,newest}'",
    first_items: "'{1}'",
    arm: "row(1, 0, null, '{popularity,newest}', 0.5, '{1}', 3)::recommend.arm",
  },
  "recommend._shown_period": {
    context: "row(1, 1, '{1}', '{1}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', null)::recommend.person_context",
  },
  "recommend._why_not": {
    context: "row(null, 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')::recommend.person_context",
    item_id: "(select min(item_id) from track.item where kind = 'course')",
    arm: "row(1, 0, null, '{popularity,newest}', 0.5, '{1}', 3)::recommend.arm",
  },
  "recommend._rank_given": {
    context: "row(null, 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')::recommend.person_context",
    arm: "row(1, 0, null, '{popularity,newest}', 0.5, '{1}', 3)::recommend.arm",
    items: "array[course]",
  },
  "recommend.rank_items": { items: "array[course]" },
  "recommend.rank_my_items": { items: "array[course]" },
  "recommend.set_rule": {
    name: "'attack'",
    action: "'exclude'",
    items: "array[course]",
    within_item: "course",
    attribute: "null",
    attribute_value: "null",
    language: "'de'",
    person_set: "'counted'",
    is_outside_set: "true",
    active_from: "now()",
    active_until: "null",
    amount: "null",
    place: "null",
    period: "null",
    is_active: "true",
  },
  "recommend.drop_rule": { name: "'language'" },
  "recommend._may_record": { person_id: "1" },
  "recommend.feedback": { feedback: "'click'", item: "null", value: "null", topic: "null" },
  "recommend.person_feedback": { feedback: "'rate'", value: "5", topic: "null", serving_id: "null" },
  "recommend.off_policy_estimate": { policy: "'popularity'", outcome: "'clicked'" },
  "monitor.start_run": { task: "'refresh'" },
  "monitor.record_latencies": {
    writer: "gen_random_uuid()",
    flush: "1",
    age: "'1 second'",
    latencies: "array[row('trackIngest', array_fill(1, array[38]), 0, 7, 3.5)::monitor.latency_counts]",
  },
  "monitor.beat": { worker: "'host:1:a'", version: "'1.0'" },
  "monitor.stop_worker": { worker: "'host:1:a'" },
  "monitor.observe": { probes: "null" },
  "monitor.set_rule": {
    deviations: "6",
    severity: "'warning'",
    owner: "'operator'",
    expects_data: "true",
    is_active: "true",
    rule: "'of_an_attack'",
    metric: "'insights_queue_waiting_jobs'",
    labels: `'{"task": "refresh"}'`,
    direction: "'above'",
    threshold: "5",
    hold: "'10 minutes'",
  },
  "monitor.drop_rule": { rule: "'refused_messages'" },
  "monitor.rule_state": { rule: "'ingest_rate'" },
  "monitor.acknowledge": { alert_id: "1", note: "'being repaired'" },
  "monitor.assign": { alert_id: "1", owner: "'team-b'" },
  "monitor.resolve": { alert_id: "1" },
  "monitor.silence": {
    source: "'queue'",
    until: "now() + interval '1 hour'",
    reason: "'maintenance'",
    subject: "null",
  },
  "monitor.unsilence": { source: "'queue'", subject: "null" },
  "monitor.set_channel": {
    channel: "'attack'",
    url: "'https://attacker.example/'",
    owners: "null",
    least_severity: "'warning'",
    is_active: "true",
  },
  "monitor.drop_channel": { channel: "'attacked'" },
  "monitor.test_channel": { channel: "'attacked'" },
  "monitor.rotate_channel_secret": { channel: "'attacked'", keep: "'1 day'" },
  "monitor.take_notifications": { top: "20" },
  "monitor.finish_notification": {
    notification_id: "1",
    attempt: "1",
    error: "null",
    status_code: "204",
    retry_after: "null",
  },
  "monitor.delete_old_notifications": { older_than: "'90 days'" },
  "monitor.thin_samples": { most: "10" },
  "analytics.define_cohort": { name: "'attack'" },
  "analytics.drop_cohort": { name: "'attacked'" },
  "analytics.cohort_people": { name: "'segment.new'" },
  "analytics.funnel_people": { step: "1" },
  "analytics.course_progress": { structure: "'then'" },
  "analytics.define_clusters": { window_days: "28", cluster_count: "4", refit_days: "7" },
  "analytics.fit_clusters": { seed: "0" },
  "analytics.rename_cluster": { name: "'attacked'", new_name: "'attack'", description: "'People.'" },
  "analytics.record_intervention": { action: "'call'", note: "'Spoke.'", happened_at: "now()" },
  "analytics.remove_intervention": { intervention_id: "1" },
  "analytics.course_learners": { search: "'e'", after_person: "''" },
  "analytics.intervention_outcomes": { days: "14" },
  "analytics.stopping_points": { inactive_days: "14" },
  "analytics.item_analysis": { measure: "'answers'", attempt: "'first'" },
  "analytics._paths": { exclusions: "'{}'", steps: "5" },
  "analytics._paths_shown": { exclusions: "'{}'", steps: "5" },
  "analytics._transitions": { exclusions: "'{}'" },
  "analytics._transitions_shown": { exclusions: "'{}'" },
  "analytics._sequences": { exclusions: "'{}'", length: "3" },
  "analytics._sequences_shown": { exclusions: "'{}'", length: "3" },
  "analytics._feature_usage": { breakdown: "'kind'" },
  "analytics._feature_usage_shown": { breakdown: "'kind'" },
  "track.drop_person_set": { name: "'lab.dropped'" },
  "track.include_person": { person: "'uncounted'" },
  "track.count_refused": { source: "'web'" },
  "track.create_write_key": { source: "'web'" },
  "track.open_write_key": {
    key_hash: "(select encode(key_hash, 'hex') from track.write_key order by key_id desc limit 1)",
  },
  "track.revoke_write_key": { key_id: "(select min(key_id) from track.write_key)" },
  "track.merge_items": {
    target: "(select external_id from track.item where external_id <> course order by item_id limit 1)",
  },
  "track.rename_item": { new_id: "'renamed item'" },
  "track.unmerge_item": { item: "'merged item'" },
  "track.merge_events": { name: "'Some Event'", target: "event" },
  "track.rename_event": { name: "'Some Event'", new_name: "'Renamed'" },
  "track.unmerge_events": { name: "'Merged Event'" },
  "track.import_items": {
    items: `'[{"item": "attacked", "kind": "course", "title": "Attacked", "parent": "attacked course"}]'`,
  },
  "track.forget_import": { source: "'attacked import'", most_events: "100" },
  "track.source_contents": { source: "'attacked import'" },
  "*": {
    smallest_group: "null::int",
    attribution: "'first_touch'",
    bins: "20",
    checks: "1",
    algorithm: "'linear'",
    among: "'counted'",
    as_of: "'2025-05-20 00:00Z'",
    batch: `'[{"type": "identify", "messageId": "a1", "userId": "new", "anonymousId": "browser", "traits": {"plan": "x"}},
      {"type": "track", "messageId": "a2", "userId": "new", "event": "Page Viewed", "properties": {"item": "new", "duration": 3}}]'`,
    brackets: "null",
    breakdown: "'set.counted'",
    bias: "5",
    confidence: "0.95",
    bucket: "'day'",
    by: "'rank'",
    calibration: `'{"method": "platt", "slope": 1, "intercept": 0}'`,
    compared_with: "'signed_in'",
    conversion_window: "'7 days'",
    end_at: "null",
    champion_factor: "1",
    champion_metrics: "null",
    champion_model_id: "null",
    code: "'53400'",
    consumer: "'recommend.interaction'",
    counts_older_than: "'400 days'",
    course: "course",
    dropped: "true",
    exclusions: `'[{"event": "Merged Event"}]'`,
    factors: "'set'",
    from_step: "1",
    data_watermark: "now()",
    decided_at: "now()",
    description: "'x'",
    detail: `'{"rows": 1}'`,
    document: `'{"kind": "linear", "link": "identity", "intercept": 1,
      "features": [{"name": "tax", "type": "number", "coefficient": 0.5, "mean": 1}]}'`,
    document_version: "'1'",
    duration: "'1 second'",
    enrolments: `'[{"person": "new", "item": "new", "enrolled_at": "2025-05-20T00:00:00Z", "status": "active"}]'`,
    error: "'x'",
    exclude_items: "'{}'",
    only_items: "null",
    diversity: "0.1",
    page: "null",
    event_name: "event",
    evidence: "'{}'",
    expires_at: "null",
    granted: "true",
    half_life: "'7 days'",
    first_time: "true",
    item: "course",
    most_events: "100",
    keep_old: "'1 day'",
    key_id: "(select max(key_id) from track.write_key)",
    kind: "'course'",
    level: "'anonymous'",
    mean: "'simple'",
    measure: "'people'",
    measured: `jsonb_build_array(jsonb_build_object(
      'model_id', model_id, 'statistic', 'metric', 'value', 1, 'verdict', 'stable', 'row_count', 10))`,
    messages: "1",
    metrics: `'{"root_mean_squared_error": 0.5}'`,
    model_id: "model_id",
    most_items: "10",
    most_people: "100",
    most_rows: "100",
    most_values: "50",
    name: "'lab.listed'",
    newest_known: "0",
    note: "'x'",
    older_than: "'90 days'",
    only_scheduled: "false",
    or_after: "true",
    or_more: "true",
    origin: "null",
    origins: "'{https://campus.example}'",
    other: "'new'",
    people: "array[person_id]",
    periods: "2",
    person: "person",
    person_id: "person_id",
    profile: "'[]'",
    properties: "'{plan}'",
    property: "'plan'",
    purpose: "'analytics'",
    rule: `'{"all": [{"set": "counted"}, {"trait": "plan", "is": "x"}, {"event": null, "within": "28 days"}]}'`,
    compared_days: "28",
    is_live: "true",
    regular_days: "4",
    power_days: "12",
    prior_weight: "25",
    window_days: "28",
    cell: "null",
    reason: "'test'",
    reference: "'previous'",
    requests_per_minute: "60",
    return_days: "7",
    return_event: "event",
    roles: `'[{"person": "new", "item": "new", "role": "instructor", "started_at": "2025-05-20T00:00:00Z"}]'`,
    row_count: "1",
    run_id: "1",
    samples_older_than: "'7 days'",
    scope: "'events'",
    scopes: "'{events}'",
    seed: "1",
    set_name: "'counted'",
    serving_id: `(
      select recommend._serving_id(
        secret, null, (select min(item_id) from track.item where kind = 'course'), 1, null, now(), null, 'model'
      )
      from recommend.secret
    )`,
    share: "0.1",
    nodes: "'kind'",
    place: "'entry'",
    start_at: "null",
    step_order: "'ordered'",
    steps: `'["Page Viewed", "Some Event"]'`,
    to_step: "2",
    wildcards: "'{}'",
    since: "'2025-05-01 00:00Z'",
    step: "'recommend.interaction'",
    strategy: "'manual'",
    strengths: "'{1}'",
    target: "'dropout'",
    tolerance: "0",
    top: "5",
    top_values: "5",
    minutes: "30",
    traits: "'{plan}'",
    until: "'2025-06-01 00:00Z'",
    window_size: "7",
    with_median: "true",
    windows: "'{1,7}'",
    zone: "'UTC'",
  },
};

/** Triggers on tables that a role may change itself: the roles, and a statement that fires it. */
const fired: Record<string, { roles: string[]; call: string }> = {
  "privacy._basis_changed": {
    roles: ["insights_admin"],
    call: `update privacy.purpose set basis = case basis when 'consent' then 'contract' else 'consent' end
      where purpose = 'analytics'`,
  },
};

interface Definer {
  oid: number;
  name: string;
  owner: string;
  /** A call, whose parameters take the types of the function's. */
  call: string;
  values: (string | null)[];
  /** Roles of the installation that may call it. */
  roles: string[];
}

const suffix = randomBytes(4).toString("hex");
const password = randomBytes(12).toString("hex");
const attackerOf = (role: string): string => `attacker_${suffix}_${role.replace("insights_", "")}`;
const every = ["admin", "analyst", "instructor", "learner", "reader", "visitor", "worker"].map(
  (name) => `insights_${name}`,
);
const definers: Definer[] = [];
let scratch: string[] = [];

/** Every function of the rooms as it is made, to weaken it and to restore it. */
let made: { name: string; definition: string }[] = [];

async function weaken(weakness: Weakness): Promise<void> {
  for (const { name, definition } of made) {
    if (weakness === "takes tables") {
      const weak = definition
        .replaceAll(/create temp(orary)? table (?!if)/g, "create temporary table if not exists ")
        .replaceAll(/drop table if exists pg_temp\.[^;]*;/g, "")
        .replaceAll(/perform recommend\._check_session\([^;]*;/g, "");
      if (weak !== definition) await database.query(weak);
    } else if (/^ SET search_path/m.test(definition)) {
      await database.query(
        `alter function ${name} ${weakness === "no path" ? "reset search_path" : "set search_path to ''"}`,
      );
    }
  }
}

async function restore(): Promise<void> {
  for (const { definition } of made) await database.query(definition);
}

beforeAll(async () => {
  // Few people, because each training is attacked many times.
  await makePopulation(database, { learners: 60, courses: 3 });
  await database.query(`
    update recommend.setting set fewest_people = 3;
    update analytics.prediction_target set fewest_rows = 100, weeks = 4;
    select analytics.train_predictions('dropout');
    select recommend.train('course');
    select track.create_write_key('lab');
    select track.create_write_key('lab', 'signed_in');
    select track.set_person_set('lab.listed', array(select person_id from track.person where person_id <> 0));
    select track.set_person_set('lab.dropped', '{}');
    select analytics.define_cohort('attacked', '{"set": "counted"}');
    select experiment.define_layer('attacked', 'x'), experiment.define_holdout('attacked', 0.1, 'x'),
      experiment.define_feature('attacked', 'x'),
      experiment.define_metric('attacked', 'proportion', '{Course Enrolled}'),
      experiment.define_metric('unused', 'proportion', '{Course Enrolled}');
    select experiment.define_experiment('{
      "key": "attacked", "placement": "recommend.course", "goals": ["attacked"], "is_decided_automatically": true,
      "variations": [{"key": "a", "value": {}}, {"key": "b", "value": {"tiers": ["popularity"]}}]}'),
      experiment.define_experiment('{"key": "draft", "variations": [{"key": "a"}, {"key": "b"}], "goals": ["attacked"]}');
    select experiment.start('attacked');
    select track.ingest('[{"type": "track", "messageId": "u", "userId": "uncounted", "event": "Page Viewed"},
      {"type": "track", "messageId": "v", "userId": "uncounted", "event": "Some Event", "properties": {"item": "some item"}},
      {"type": "track", "messageId": "w", "userId": "uncounted", "event": "Merged Event", "properties": {"item": "merged item"}}]');
    select track.merge_events('Merged Event', 'Some Event'), track.merge_items('merged item', 'some item');
    select set_config('insights.source', 'attacked import', true);
    select track.ingest('[{"type": "track", "messageId": "x", "userId": "imported", "event": "Imported", "timestamp": "2025-05-01T12:00:00Z", "properties": {"item": "imported"}}]');
    select set_config('insights.source', '', true);
    select track.exclude_person('uncounted', 'test');
    create schema attacker;
    grant usage, create on schema attacker to public;
    create table attacker.known as
    select
      (select item.external_id from track.enrolment join track.item using (item_id) group by 1 order by count(*) desc limit 1) as course,
      (select event_type.name from track.event_type join track.event using (event_type_id) group by 1 order by count(*) desc limit 1) as event,
      named.external_id as person, named.person_id,
      (select model_id from ml.model join ml.project using (project_id) where project.name = 'analytics.dropout' order by 1 desc limit 1) as model_id
    from (select external_id, person_id from track.identity where kind = 'user' order by 1 limit 1) as named;
    grant select on attacker.known to public`);

  const found = await database.rows<Omit<Definer, "call" | "values"> & { names: string[]; isSet: boolean }>(`
    select
      function.oid::int as oid, format('%s.%s', function.pronamespace::regnamespace, function.proname) as name,
      function.proretset as "isSet", coalesce(function.proargnames[1:function.pronargs], '{}') as names,
      array(
        select role.rolname::text
        from pg_catalog.pg_roles as role
        where role.rolname ~ '^insights_[a-z]+$'
          and role.rolname <> 'insights_owner'
          and role.oid <> function.proowner
          and has_function_privilege(role.oid, function.oid, 'execute')
        order by 1
      ) as roles
    from pg_catalog.pg_proc as function
    where function.prosecdef
      and function.pronamespace in (select oid from (${rooms}) as room)
    order by 2
  `);
  for (const { names, isSet, ...definer } of found) {
    const values: (string | null)[] = [];
    for (const name of definer.roles.length > 0 ? names : []) {
      const sample = samples[definer.name]?.[name] ?? samples["*"]?.[name];
      if (sample === undefined) throw new Error(`no sample of "${name}" for ${definer.name}`);
      values.push(await database.value<string | null>(`select (${sample})::text from attacker.known`));
    }
    const given = values.map((_, i) => `$${i + 1}`).join(", ");
    const trigger = fired[definer.name];
    if (trigger !== undefined) {
      definers.push({ ...definer, ...trigger, values });
      continue;
    }
    definers.push({ ...definer, values, call: `select ${isSet ? "count(*) from " : ""}${definer.name}(${given})` });
  }
  made = await database.rows(`
    select function.oid::regprocedure::text as name, pg_get_functiondef(function.oid) as definition
    from pg_catalog.pg_proc as function
    where function.pronamespace in (select oid from (${rooms}) as room)
      and function.pronamespace <> 'attacker'::regnamespace
      and function.prokind = 'f'
      and function.prosqlbody is null
  `);
  scratch = await database.value<string[]>(
    `select array_agg(distinct made.name order by made.name)
     from unnest($1::text[]) as function (definition)
     cross join lateral (
       select name[2] as name
       from regexp_matches(function.definition, 'create temp(orary)? (?:table|view) (?:if not exists )?([a-z_]+)', 'g') as name
     ) as made`,
    [made.map(({ definition }) => definition)],
  );
  for (const [kind, { control, weakness }] of Object.entries(kinds)) {
    await database.query(`
      create function attacker."control ${kind}"() returns void language plpgsql security definer ${weakness === "no path" ? "" : "set search_path to ''"}
        as $$${control}$$;
      alter function attacker."control ${kind}"() owner to insights_owner`);
  }
  for (const role of every) {
    await database.query(`create role ${attackerOf(role)} login inherit password '${password}' in role ${role}`);
  }
}, 240_000);

afterAll(async () => {
  for (const role of every) {
    await database.query(`drop owned by ${attackerOf(role)}; drop role ${attackerOf(role)}`);
  }
});

interface Outcome {
  /** The error of the call, if any. */
  error: pg.DatabaseError | undefined;
  /** Users that evil() ran as, other than the attacker. */
  taken: string[];
}

/** A session of an attacker: she creates her objects, then calls; each call is rolled back. */
async function attack(
  role: string,
  prepare: string,
  work: (call: (sql: string, values?: (string | null)[]) => Promise<Outcome>) => Promise<void>,
): Promise<void> {
  const attacker = attackerOf(role);
  let client: pg.ClientBase;
  let close: () => Promise<void>;
  if (database.native) {
    const url = new URL(database.url());
    url.username = attacker;
    url.password = password;
    const session = new pg.Client({ connectionString: url.href });
    await session.connect();
    client = session;
    close = () => session.end();
  } else {
    const session = await database.pool.connect();
    client = session;
    close = async () => {
      await session.query("rollback");
      session.release();
    };
  }
  const taken: string[] = [];
  const notice = ({ message = "" }): void => {
    const user = /^evil runs as (.+)$/.exec(message)?.[1];
    if (user !== undefined) taken.push(user);
  };
  client.on("notice", notice);
  try {
    await client.query("begin");
    if (!database.native) {
      // One session for all: functions that were compiled before the attacker came would not look at what she made.
      await client.query(`
        do $$
        declare v_function record;
        begin
          for v_function in
            select oid::regprocedure as name, procost
            from pg_catalog.pg_proc
            where pronamespace in (select oid from (${rooms}) as room)
              and prokind = 'f'
          loop
            execute format('alter function %s cost %s', v_function.name, v_function.procost);
          end loop;
        end $$`);
      await client.query(`set local role ${attacker}`);
    }
    await client.query(`${evil(attacker)} ${prepare}`);
    await work(async (sql, values = []) => {
      taken.length = 0;
      await client.query("savepoint before");
      const error = await client.query(sql, values).then(
        () => undefined,
        (thrown: unknown) => {
          if (thrown instanceof pg.DatabaseError) return thrown;
          throw thrown;
        },
      );
      await client.query("rollback to savepoint before");
      return { error, taken: [...new Set(taken)] };
    });
  } finally {
    client.off("notice", notice);
    await close();
  }
}

test("each role that may call a definer is tested", () => {
  expect([...new Set(definers.flatMap((definer) => definer.roles))].sort()).toEqual(every);
});

test("a definer without callers is run by others that have some", async () => {
  const bodies = await database.rows<{ name: string; body: string; tables: string[] }>(`
    select format('%s.%s', function.pronamespace::regnamespace, function.proname) as name,
      coalesce(pg_get_function_sqlbody(function.oid), function.prosrc) as body,
      array(select tgrelid::regclass::text from pg_catalog.pg_trigger where tgfoid = function.oid and not tgisinternal) as tables
    from pg_catalog.pg_proc as function
    where function.pronamespace in (select oid from (${rooms}) as room)
      and function.prokind = 'f'
  `);
  const reached = new Set(definers.filter(({ roles }) => roles.length > 0).map(({ name }) => name));
  // A set grows while it is gone through.
  for (const name of reached) {
    for (const { body } of bodies.filter((one) => one.name === name)) {
      for (const inner of bodies) {
        const changes = inner.tables.some(
          (table) => body.includes(`insert into ${table}`) || body.includes(`update ${table}`),
        );
        if (changes || body.includes(`${inner.name}(`)) reached.add(inner.name);
      }
    }
  }
  expect(definers.map(({ name }) => name).filter((name) => !reached.has(name))).toEqual([]);
});

test("without an attack each call gets into the body", async () => {
  const missed: string[] = [];
  for (const role of every) {
    await attack(role, "", async (call) => {
      // With `.ci/run` by one of its callers.
      for (const definer of definers.filter(({ roles }, i) =>
        isShort ? roles[i % roles.length] === role : roles.includes(role),
      )) {
        const { error } = await call(definer.call, definer.values);
        if (error !== undefined && !error.code?.startsWith("CF")) {
          missed.push(`${role}: ${definer.name}: ${error.code} ${error.message}`);
        }
      }
    });
  }
  expect(missed, missed.join("\n")).toEqual([]);
});

const figures: string[] = [];

test.each(Object.keys(kinds))(
  "no definer runs a %s of its caller with rights of another role",
  async (kind) => {
    const { weakness, make } = kinds[kind] as Kind;
    const turn = Object.keys(kinds).indexOf(kind);
    // Each kind is tried by another of the roles that may call a definer; with `.ci/run --full`, by all of them. On the
    // embedded database, which takes three times as long, and with `.ci/run`, each definer is tried with half of the kinds. A training, which
    // takes longer than all other definers, is tried with the tables, on a server with half of the other kinds too.
    const tried = (role: string): Definer[] =>
      definers.filter(({ name, roles }, i) => {
        if (isFull) return roles.includes(role);
        const isHalf = (i + turn) % 2 === 0;
        const isLess = isShort || !database.native;
        const isLeftOut = /[._]train(ed)?(_|$)/.test(name)
          ? turn !== 3 && turn !== 4 && (isHalf || isLess)
          : isHalf && isLess;
        return !isLeftOut && roles[(i + turn) % roles.length] === role;
      });
    const path = weakness === "no path" ? "set local search_path to attacker, pg_catalog;" : "";
    const broken: string[] = [];

    /** The rows that ran something of the attacker's, of all, under each role. */
    const play = async (
      chosen: (role: string) => Definer[],
      fail: (definer: Definer, outcome: Outcome) => void = () => {},
    ): Promise<Set<string>> => {
      const fallen = new Set<string>();
      for (const role of every) {
        await attack(role, `${make(scratch)} ${path}`, async (call) => {
          expect((await call(`select attacker."control ${kind}"()`)).taken, "the attack works").toEqual([
            "insights_owner",
          ]);
          for (const definer of chosen(role)) {
            const outcome = await call(definer.call, definer.values);
            if (outcome.taken.length > 0) fallen.add(`${definer.name} called by ${role}`);
            fail(definer, outcome);
          }
        });
      }
      return fallen;
    };

    const fallen = await play(tried, ({ name }, { error }) => {
      // It may refuse a temporary table that is not its own, and nothing else.
      const refused = /must be owner of|is not a (table|view)|already exists/.test(error?.message ?? "");
      if (error !== undefined && !error.code?.startsWith("CF") && !refused)
        broken.push(`${name}: ${error.code} ${error.message}`);
    });
    expect([...fallen]).toEqual([]);
    expect([...new Set(broken)]).toEqual([]);

    await weaken(weakness);
    let weak = await play(tried);
    // Few definers fall to some kinds: another choice may have left them out.
    if (weak.size === 0) weak = await play((role) => definers.filter(({ roles }) => roles.includes(role)));
    await restore();
    expect(weak.size, "rows that could have failed").toBeGreaterThan(0);
    const all = every.reduce((sum, role) => sum + tried(role).length, 0);
    figures.push(`${kind}: ${all} tried, ${weak.size} counted`);
  },
  600_000,
);

test("the size of the matrix", async ({ annotate }) => {
  await annotate(`definers × roles by kind of attack: ${figures.join("; ")}`);
  expect(figures).toHaveLength(Object.keys(kinds).length);
});
