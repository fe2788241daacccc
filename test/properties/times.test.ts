import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { rooms } from "../../src/database/catalogue.ts";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";
import { makePopulation } from "../support/population.ts";
import { isFull, isShort } from "../support/runs.ts";
import { computeUnder, usual } from "./under.ts";

/*
 * Each public function with a time among its arguments or results gives the same result in five zones, with three styles
 * of dates and four of intervals, also in its errors. Times are given with their zone; those without one are of the
 * session, as always in PostgreSQL. The slow ones are in settings.test.ts.
 */

const database = await testDatabase();

const zones = ["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Chatham", "Europe/Dublin"];
const styles = ["ISO, MDY", "SQL, DMY", "German, DMY"];
const intervals = ["postgres", "sql_standard", "postgres_verbose", "iso_8601"];

const course = "(select external_id from track.item where kind = 'course' order by item_id limit 1)";
const learner = `(
  select identity.external_id from track.session join track.identity using (person_id)
  where identity.kind = 'user' and session.started_at between '2025-03-21Z' and '2025-05-01Z' order by person_id limit 1
)`;
// The clocks of Newfoundland, Ireland and Chatham change within these periods.
const spring = "'2025-03-20 00:00Z', '2025-05-01 12:00Z'";

const steps: Record<string, string> = {
  months: "select track.make_partitions('2031-01-31 23:30Z', '2031-04-01 00:00Z')",
  ingested: `
    select accepted, duplicates, rejected, errors from track.ingest('[
      {"type": "track", "messageId": "1", "userId": "t", "event": "E", "timestamp": "2025-03-09T06:59:59.999Z", "sentAt": "2025-03-09T07:00:01Z", "receivedAt": "2025-03-09T07:10:00Z"},
      {"type": "track", "messageId": "2", "userId": "t", "event": "E", "timestamp": "2025-03-30T01:30:00+01:00"},
      {"type": "track", "messageId": "3", "userId": "t", "event": "E", "timestamp": "2025-04-01"},
      {"type": "track", "messageId": "4", "userId": "t", "event": "E", "timestamp": "2025-04-01 00:00"},
      {"type": "track", "messageId": "5", "userId": "t", "event": "E", "timestamp": "0001-01-01T00:00:00Z"},
      {"type": "track", "messageId": "6", "userId": "t", "event": "E", "timestamp": "2999-01-02T00:00:00Z"},
      {"type": "track", "messageId": "7", "userId": "t", "event": "E", "timestamp": "2999-01-02T00:00:00Z", "sentAt": "2999-01-01T00:00:00Z"},
      {"type": "track", "messageId": "8", "userId": "t", "event": "E", "timestamp": "01/02/2025"},
      {"type": "track", "messageId": "9", "userId": "t", "event": "E", "timestamp": "2026-03-01 BC"},
      {"type": "track", "messageId": "a", "userId": "t", "event": "E", "timestamp": "2025-03-01 10:00 IST"},
      {"type": "identify", "messageId": "b", "userId": "t", "timestamp": "2025-04-01T00:00:00Z", "traits": {"plan": "pro"}}]')`,
  events: `
    select occurred_at, client_at, event_id, tableoid::regclass::text as month from track.event
    where person_id = track.find_person('t') order by occurred_at`,
  sessions: "select * from track.refresh_sessions(1000)",
  interactions:
    "select recommend.refresh_interactions(array[track.find_person('t')], array['-infinity'::timestamptz], array['infinity'::timestamptz])",
  "sets of people":
    "select track.refresh_person_sets(array[track.find_person('t')], array['-infinity'::timestamptz], array['infinity'::timestamptz])",
  "activity of hers":
    "select day, event_count from track.activity_of(array[track.find_person('t')], '2025-01-01', '2026-01-01') order by day, event_type_id, item_id",
  "stored activity of hers":
    "select day, event_count from track.stored_activity(array[track.find_person('t')], '{2025-03-09}', '{2025-03-11}') order by day, event_type_id, item_id",
  "activity of her events":
    "select day, event_count from track.event_activity(array[track.find_person('t')], '{2025-03-09}', '{2025-03-11}') order by day, event_type_id, item_id",
  "values of her events":
    "select day, value, event_count from track.event_values(array[track.find_person('t')], '{2025-03-09}', '{2025-03-11}', (select event_type_id from track.event_type where name = 'E'), 'x') order by day",
  "a declared property": "select track.declare_property('E', 'x')",
  "values of stored events": "select people from track.refresh(1000, 'track.property')",
  "stored values of hers":
    "select day, event_count from track.stored_values(array[track.find_person('t')], '{2025-03-09}', '{2025-03-11}') order by day",
  "days of values":
    "select day, event_count from track.value_days((select event_type_id from track.event_type where name = 'E'), 'x', '2025-03-09', '2025-05-01', '{2025-03-09,2025-04-01}') order by day",
  "buckets of values":
    "select bucket, event_count from track.value_buckets((select event_type_id from track.event_type where name = 'E'), 'x', '{2025-03-09 00:00Z,2025-04-01 00:00Z}') order by bucket",
  // Not the durations and times of the checks.
  checks: "select rollup, checked, differing from track.check_rollups(2) order by 1, 2",
  trust: "select rollup, checked, differing from track.rollup_trust() order by 1",
  "queued days": "select first_days, end_days from track.queued_days('2025-03-01', '2025-04-01')",
  "people of courses":
    "select month, person_id from track.course_people(array(select item_id from track.item where kind = 'course'), '2025-01-01', '2026-01-01') order by 1, 2",
  learners: `select person, enrolled_at, last_active_at from analytics.course_learners(${course}, ${spring}) order by 1`,
  annotation: `select kind, starts_at, ends_at from analytics.annotate('Spring', ${spring}, 'term')`,
  annotations: `select title, starts_at, ends_at from analytics.annotations(${spring})`,
  "saved query": `select arguments from analytics.save_query('spring', 'analytics.annotations',
    '{"since": "2025-03-20 00:00", "until": "05/01/2025"}')`,
  "saved queries": "select name, arguments from analytics.saved_queries()",
  "saved view": "select name, address from analytics.save_view('Spring', '/explore?from=2025-03-01')",
  "saved views": "select name, address from analytics.saved_views()",
  "statement of a query": "select analytics.query_statement('spring')",
  "rows of a query": "select analytics.run_query('spring') - 'annotation_id' - 'created_at'",
  "journey in a course": `select occurred_at, event from analytics.course_journey(${course}, ${learner}, ${spring}) order by 1, 2`,
  "taught courses": "select count(*) from track.taught_courses()",
  "person of an identity":
    "select track.lock_person(identity_id, '2025-03-30 01:30Z') = track.find_person('t') as same from track.identity where external_id = 't' limit 1",
  "current trait": "select value, set_at from track.current_trait(array[track.find_person('t')], 'plan')",
  "changes of a trait": "select set_at, value from track.trait_changes(array[track.find_person('t')], 'plan')",
  "trait at a time":
    "select at, value from track.traits_at(array[track.find_person('t')], 'plan', array['2025-04-01 12:00Z'::timestamptz])",
  journey: `select session_id, occurred_at, event, item, since_previous from track.journey(${learner}, ${spring})`,
  "my journey": "select occurred_at, since_previous from track.my_journey('2025-03-01 00:00Z', '2025-05-01 00:00Z')",
  "popular items": `select * from analytics.popular_items('course', ${spring}, '7 days', 5, 'engaged')`,
  "popular items by events": `select * from analytics.popular_items(null, ${spring}, interval '1 month', 5, 'events')`,
  views: "select analytics.refresh_views() as items",
  "summaries of courses": "select course, person_count, engaged, last_day from analytics.course_summaries()",
  "popular courses": `select * from analytics.popular_courses(${spring}, 'engaged', 5)`,
  "popular items of sets": `select * from analytics.popular_items(null, ${spring}, '7 days', 5, 'engaged', breakdown => 'set.counted')`,
  "popular courses by sets": `select * from analytics.popular_courses(${spring}, 'engaged', 5, breakdown => 'set.counted')`,
  "trending items by sets": `select * from analytics.trending_items(null, ${spring}, 'engaged', '1 month', 5, breakdown => 'set.counted')`,
  "features by sets": `select * from analytics.feature_usage(null, 'set.counted', ${spring}, with_median => true)`,
  "paths by sets": `select * from analytics.paths(${spring}, breakdown => 'set.counted')`,
  "sequences by sets": `select * from analytics.sequences(${spring}, length => 2, breakdown => 'set.counted')`,
  "transitions by sets": `select * from analytics.transitions(${spring}, breakdown => 'set.counted')`,
  "rfm by sets": `select * from analytics.rfm(${spring}, breakdown => 'set.counted')`,
  "times of a funnel by sets": `select * from analytics.funnel_times('["Page Viewed", "Task Submitted"]', ${spring}, breakdown => 'set.counted')`,
  "trending items": `select * from analytics.trending_items(null, ${spring}, 'engaged', '1 month', 5)`,
  "use of features": `select * from analytics.feature_usage(null, null, ${spring}, with_median => true)`,
  "use of features by kind": `select * from analytics.feature_usage(null, 'kind', ${spring})`,
  trend: `select * from analytics.trend('Page Viewed', 'day', ${spring}, 3)`,
  "trend by week": `select * from analytics.trend('Page Viewed', 'week', ${spring}, 3)`,
  "trend by month": `select * from analytics.trend('Page Viewed', 'month', ${spring}, 3)`,
  retention: `select * from analytics.retention('Page Viewed', null, 'week', ${spring}, periods => 3)`,
  "retention by day of a zone": `select * from analytics.retention('Page Viewed', null, 'day', ${spring}, 'Pacific/Chatham', 2, first_time => true)`,
  funnel: `select * from analytics.funnel('["Page Viewed", "Task Submitted"]', ${spring})`,
  "funnel, trend by week of a zone": `select * from analytics.funnel_trend('["Page Viewed", "Task Submitted"]', 'week', ${spring}, 'Pacific/Chatham')`,
  "funnel, times": `select * from analytics.funnel_times('["Page Viewed", "Task Submitted"]', ${spring})`,
  "funnel, people": `select * from analytics.funnel_people('["Page Viewed", "Task Submitted"]', 1, true, ${spring})`,
  "funnel, correlation": `select * from analytics.funnel_correlation('["Page Viewed", "Task Submitted"]', ${spring})`,
  "sessions by week of a zone": `select * from analytics.session_trend('week', ${spring}, 'Pacific/Chatham')`,
  "distribution of sessions": `select * from analytics.session_distribution('duration', ${spring})`,
  "exits of sessions": `select * from analytics.session_items('exit', ${spring})`,
  anomalies: `select * from analytics.anomalies('Page Viewed', 'day', ${spring}, 'Pacific/Chatham')`,
  "figures of a trend": `select * from analytics.trend_figures('Page Viewed', 'day', ${spring}, 'Pacific/Chatham', 'events', null, null, null, 10)`,
  "buckets later": "select extract(epoch from common.add_buckets('2025-03-30 01:30Z', 'day', 3, 'Europe/Berlin'))",
  "watched trend":
    "select name, bucket, threshold from analytics.watch_trend('zones', 'Page Viewed', zone => 'Pacific/Chatham')",
  "anomalies of a watched trend": "select count(*) from analytics.find_anomalies('zones')",
  forecast: `select * from analytics.forecast('Page Viewed', 'day', 3, ${spring}, 'Pacific/Chatham')`,
  "deadlines of tasks":
    "select * from analytics.task_deadlines((select external_id from track.item where kind = 'course' order by 1 limit 1))",
  "stopping points":
    "select * from analytics.stopping_points((select external_id from track.item where kind = 'course' order by 1 limit 1))",
  chronotypes: `select * from analytics.chronotypes(null, ${spring})`,
  "hours of the day": `select * from analytics.productivity_cycle(null, ${spring})`,
  "a chronotype": `select * from analytics.my_chronotype(${spring}, 'Pacific/Chatham')`,
  "progress in a course":
    "select * from analytics.course_progress((select external_id from track.item where kind = 'course' order by 1 limit 1))",
  "terms of a course":
    "select * from analytics.course_terms((select external_id from track.item where kind = 'course' order by 1 limit 1))",
  "grades of a course":
    "select * from analytics.course_grades((select external_id from track.item where kind = 'course' order by 1 limit 1))",
  "periods of items": `select started_at, ended_at from track.item_periods((select item_id from track.item where external_id = ${course}))`,
  "an intervention": `select analytics.record_intervention(${course},
    (select person from analytics.course_learners(${course}) where active_days > 0 order by 1 limit 1), 'call', null, '2025-03-30 01:30Z') > 0 as is_stored`,
  interventions: `select happened_at from analytics.interventions(${course})`,
  "outcomes of interventions": `select * from analytics.intervention_outcomes(${course})`,
  "settings of clusters": "select window_days from analytics.define_clusters()",
  "a fit of clusters": "select count(*) from analytics.fit_clusters()",
  clusters: "select count(*) from analytics.clusters()",
  "sizes of clusters": `select * from analytics.cluster_history(${spring})`,
  "moves between clusters": `select * from analytics.cluster_moves(${spring})`,
  "the last minutes": "select count(*) from analytics.activity_by_minute(5)",
  "hours of the week": `select * from analytics.hour_of_week('Page Viewed', ${spring})`,
  paths: `select * from analytics.paths(${spring})`,
  "transitions of a month": "select * from track.month_transitions('2025-03-01') order by 2, 3",
  transitions: `select * from analytics.transitions(${spring})`,
  "sequences of pages": `select * from analytics.sequences(${spring}, length => 2)`,
  lifecycle: `select * from analytics.lifecycle('Page Viewed', 'week', ${spring})`,
  "lifecycle of a zone": `select * from analytics.lifecycle(null, 'month', ${spring}, 'America/St_Johns')`,
  stickiness: `select * from analytics.stickiness('Page Viewed', 'day', ${spring}, 'Europe/Dublin')`,
  "active people": `select * from analytics.active_people('Page Viewed', ${spring}, 'Asia/Kolkata')`,
  rfm: `select * from analytics.rfm(${spring})`,
  "rfm of people": `select person, cell, recency_days, active_days, engaged from analytics.person_rfm(${spring}) order by 1`,
  "a cohort": `select analytics.define_cohort('spring', '{"event": "Page Viewed", "since": "2025-03-30T01:30:00Z", "until": "2025-04-09T23:00:00Z"}')`,
  cohorts: "select name, person_count from analytics.cohorts()",
  segments: "select * from analytics.segments()",
  "people of a cohort": `select analytics.refresh_cohort_people(
    array(select person_id from track.person), array(select timestamptz '2025-04-01 00:30Z' from track.person),
    array(select timestamptz '2025-04-02 00:30Z' from track.person))`,
  risk: `select * from analytics.dropout_risk(${course}, '2025-04-03 05:30Z')`,
  "risk after a change of clocks": `select * from analytics.dropout_risk(${course}, '2025-04-08 02:00Z')`,
  completion: `select * from analytics.completion_probability(${course}, '2025-04-20 00:00Z')`,
  "next week": `select * from analytics.expected_next_week_activity(${course}, '2025-04-10 23:30Z')`,
  outlook: "select * from analytics.course_outlook('dropout', '2025-04-20 00:00Z')",
  due: "select * from analytics.due_predictions() as due",
  "a rule": `select active_from, active_until from recommend.set_rule('spring', 'boost', kind => 'course', amount => 1,
    active_from => '2025-03-30 01:30Z', active_until => '2025-10-26 01:30Z')`,
  "why not": `select rule, detail from recommend.why_not('t', ${course})`,
  "due recommenders": "select * from recommend.due_trainings() as due",
  "impressions of hers":
    "select recommend.refresh_impressions(array[track.find_person('t')], array['-infinity'::timestamptz], array['infinity'::timestamptz])",
  "what recommenders learned of hers":
    "select recommend.learn(array[track.find_person('t')], array['-infinity'::timestamptz], array['infinity'::timestamptz])",
  "a list with a rule": "select count(*) from recommend.preview_rule('t', 'try', 'exclude', kind => 'course')",
  "a list that is recorded": "select count(*) from recommend.serve_person('t', 3)",
  "durations of lists by hour":
    "select extract(minute from name::timestamp) as minute, call_count > 0 as is_measured from recommend.serving_times('2025-03-30 01:30Z', now() + interval '1 hour', 'hour')",
  "lists that are stored, and durations that are counted": "select recommend.collect_servings(2000) > 0 as any",
  "people that are queued from a time on":
    "select track.queue_people('recommend.interaction', array[track.find_person('t')], array['2025-03-30 01:30Z'::timestamptz])",
  "their refresh": "select people from track.refresh(step => 'recommend.interaction')",
  "report of lists":
    "select served_count from recommend.serving_report('2025-03-30 01:30Z', now() + interval '1 hour', 'basis') order by 1",
  "first lists of variations": "select count(*) from recommend.exposures(array[track.find_person('t')])",
  "a metric":
    "select delay, period from experiment.define_metric('seen', 'proportion', '{Page Viewed}', period => '7 days 01:00')",
  "a feature": "select feature_key from experiment.define_feature('player', 'A player.')",
  "a holdout": "select share, ended_at from experiment.define_holdout('control', 0.1, 'Held out.')",
  "an experiment": `select state, minimum_duration from experiment.define_experiment('{"key": "zones", "feature": "player", "goals": ["seen"],
    "holdout": "control", "minimum_duration": "14 days 01:00", "variations": [{"key": "a", "value": false}, {"key": "b", "value": true}]}')`,
  "a started experiment": "select state from experiment.start('zones')",
  "changed weights": "select weights from experiment.change_weights('zones', '{0.3,0.7}')",
  "viewed variation": `select accepted from track.ingest('{"type": "track", "messageId": "zones", "userId": "t", "event": "Experiment Viewed",
    "properties": {"experimentId": "zones", "variationId": "b"}}')`,
  "exposures of hers":
    "select experiment.refresh_exposures(array[track.find_person('t')], array['-infinity'::timestamptz], array['infinity'::timestamptz])",
  "results of variations":
    "select metric, variation, people from experiment.results('zones', until => '2999-03-30') order by 1, 2",
  "results by day": "select count(*) from experiment.result_days('zones', 'seen')",
  "health of an experiment": "select people, multiple from experiment.health('zones')",
  "weights of bandits": "select count(*) from experiment.update_bandits()",
  "a stopped experiment": "select state from experiment.stop('zones', 'Enough.')",
  "a shipped variation": "select state from experiment.ship('zones', 'b')",
  "an ended holdout": "select ended_at = now() as is_now from experiment.end_holdout('control')",
  "history of an experiment": "select action from experiment.history('zones') order by changed_at",
  "dropped values": "select count(*) from track.dropped_data('2025-03-30', '2025-04-30')",
  "contact data": "select count(*) from track.personal_data_found('2025-03-30', '2025-04-30')",
  "another policy": `select * from recommend.off_policy_estimate('random', 'clicked', ${spring})`,
  "people of identities":
    "select cardinality(track.people_of_identities(array[(select identity_id from track.identity where external_id = 't')], array['2025-04-01 12:00Z'::timestamptz]))",
  sequences: "select * from ml.sequence_train('lab.walk', 'person', 'item', 'at', half_life => '7 days 01:00')",
  "sequences of numbers":
    "select * from ml.sequence_neighbours('lab.coded', time_column => 'at', half_life => '7 days 01:00')",
  "sequence pairs": "select ml.sequence_pairs('lab.coded', 0.5, time_column => 'at', half_life => '7 days 01:00')",
  decision: `
    select purpose, granted, decided_at, evidence from privacy.record_consent(track.find_person('t'), 'analytics', true, '2025-03-30 01:30Z', 'api', '{}')`,
  decisions: `
    select privacy.record_decisions(array[track.find_person('t')], array[0::bigint], array['analytics'], array[false], array['2025-10-26 01:30Z'::timestamptz], 'api', array['{}'::jsonb])`,
  "moved decisions": `
    select privacy.move_decisions(array[0::bigint], array[track.find_person('t')], array[track.find_person('t')],
      array[0::bigint], array['2025-10-26 01:00Z'::timestamptz], array['2025-10-26 02:00Z'::timestamptz])`,
  "decisions of hers":
    "select purpose, granted, decided_at from privacy.consent where person_id = track.find_person('t') order by decided_at",
  "decision of mine": "select purpose, granted from track.record_my_consent('analytics', true)",
  "decisions of mine": "select purpose, granted from track.record_my_consents(false)",
  "several decisions": `
    select purpose, granted, decided_at, valid_until from privacy.record_consents(track.find_person('t'), true, null, '2025-03-30 01:30Z',
      valid_until => '2025-10-26 01:30Z') order by purpose`,
  "decisions that apply":
    "select purpose, granted from privacy.effective_decisions(array['analytics'], array[track.find_person('t')])",
  "date of birth": "select privacy.record_birth_date(track.find_person('t'), '2000-03-30')",
  "dates of birth":
    "select privacy.record_birth_dates(array[track.find_person('t')], array[0::bigint], array['2001-10-26'::date])",
  "stored dates of birth": "select birth_date, is_verified from privacy.person_age order by identity_id",
  "purposes of a minor": "select * from privacy.minor_purposes('2999-03-30')",
  "purposes that need a grant": "select * from privacy.opt_in_purposes('2012-03-30')",
  "published text":
    "select valid_from from privacy.publish_text('service', '1', 'text', valid_from => '2025-03-30 01:30Z')",
  sealed: "select privacy.seal()",
  "head of the ledger": "select position from privacy.ledger_head()",
  "verified ledger": "select is_intact, problems from privacy.verify_ledger(tolerance => '30 days 01:30')",
  request: `
    select kind, regime, received_at, due_at
    from privacy.open_request('t', 'access', 'gdpr', received_at => date_trunc('day', now(), 'UTC') - interval '22.5 hours')`,
  "request of mine": "select kind, regime from privacy.open_my_request('portability', 'ferpa')",
  "opt-out by business days": `
    select received_at, due_at
    from privacy.open_request('t', 'opt_out', 'ccpa', received_at => date_trunc('day', now(), 'UTC') - interval '22.5 hours')`,
  "who has read": "select count(*) from privacy.disclosures('t')",
  "who has read mine": "select count(*) from privacy.my_disclosures()",
  "new pseudonyms": "select privacy.rotate_pseudonyms() = now() as is_now",
  "extended request":
    "select extended_until from privacy.extend_request((select request_id from privacy.request where kind = 'access'))",
  "answered request":
    "select state from privacy.complete_request((select request_id from privacy.request where kind = 'access'), 'Sent.')",
  "suppressed names": "select privacy.suppress('{user}', '{gone}')",
  "suppressed name": "select kind, name from privacy.suppressed('{user}', '{gone}')",
  "lifted suppression": "select privacy.lift_suppression('{user}', '{gone}', clock_timestamp())",
  "erased person": `
    select counts from privacy.erase_person(
      (select external_id from track.identity where kind = 'user' and external_id <> 't' order by external_id limit 1))`,
  "erased people": "select jsonb_typeof(privacy.erasure_list('2025-03-30 01:30Z'))",
  "completed erasures": "select privacy.complete_erasures(clock_timestamp())",
  key: "select source, level from track.create_write_key('site', expires_at => '2040-03-30 01:30Z')",
  "key of it": "select expires_at from track.write_key order by key_id",
  "changed key":
    "select expires_at from track.change_write_key((select min(key_id) from track.write_key), requests_per_minute => 5)",
  "rotated key":
    "select source from track.rotate_write_key((select min(key_id) from track.write_key), '180 days 01:00')",
  "expiry of the old key": "select expires_at - now() as rest from track.write_key order by key_id",
  statement: `
    select track.store_statements('{"statements": [{
      "statement": {
        "id": "00000000-0000-4000-8000-000000000001", "verb": {"id": "http://adlnet.gov/expapi/verbs/passed"},
        "actor": {"account": {"homePage": "https://campus.example", "name": "t"}},
        "object": {"id": "https://campus.example/task"}, "timestamp": "2025-03-30T01:30:00Z"
      },
      "event": {"type": "track", "event": "Task Completed", "properties": {"item": "https://campus.example/task"}}
    }]}')`,
  "statements of a time":
    'select jsonb_array_length(statements) as found, next from track.statements(\'{"since": "2025-03-30T01:30:00Z"}\')',
  "a document": `
    select track.store_document('{"kind": "state", "activity": "urn:a", "id": "x",
      "agent": {"account": {"homePage": "https://campus.example", "name": "t"}}}', '1', 'text/plain')`,
  "stored document": `
    select content_type from track.stored_document('{"kind": "state", "activity": "urn:a", "id": "x",
      "agent": {"account": {"homePage": "https://campus.example", "name": "t"}}}')`,
  "documents of a time": `
    select track.stored_documents('{"kind": "state", "activity": "urn:a",
      "agent": {"account": {"homePage": "https://campus.example", "name": "t"}}}', '2025-03-30 01:30Z')`,
  refused: `select track.count_refused('site', 'server', 'CF001', 3)`,
  "refused messages": "select * from track.refused_messages()",
  "refused messages of a day": "select * from track.refused_messages('2025-03-30', '2025-03-30')",
  "imported events": `
    select accepted
    from (select set_config('insights.source', 'old log', true) as source offset 0) as setting
    cross join lateral track.ingest(case when setting.source <> '' then '[
      {"type": "track", "messageId": "1", "userId": "t", "event": "Old", "timestamp": "2025-03-30T01:30:00Z"}]'::jsonb end)`,
  "contents of an import": "select events, first_at, last_at from track.source_contents('old log')",
  "import that is removed": "select event_count, completed_at is not null from track.forget_import('old log')",
  "interactions before a removal":
    "select recommend.forget_events(array[track.find_person('t')], array['2025-03-30 01:30Z'::timestamptz])",
  "old refusals": "select track.delete_old_refusals('30 days', '1 year')",
  "old runs": "select monitor.delete_old_runs('30 days')",
  "stored latencies": `
    select monitor.record_latencies(
      gen_random_uuid(), 1, '1 year',
      array[row('trackIngest', array_fill(1, array[38]), 0, 7, 3.5)::monitor.latency_counts]
    )`,
  latencies: "select starts_at is null as whole, calls, mean_ms, p50_ms, p99_ms from monitor.latencies('2001-01-01')",
  "latencies by day":
    "select date_trunc('hour', now() - interval '1 year', 'UTC') - starts_at < '1 day' as same_day, calls from monitor.latencies('2001-01-01', by => 'day')",
  "old latencies": "select monitor.delete_old_latencies('30 days 01:30')",
  "error: kept results": "select experiment.keep_results('no such experiment')",
  "acknowledged alert":
    "select state, opened_at, acknowledged_at > now() - interval '1 hour' as is_new from monitor.acknowledge((select max(alert_id) from monitor.alert), 'seen')",
  "assigned alert": "select owner, opened_at from monitor.assign((select max(alert_id) from monitor.alert), 'team')",
  "resolved alert": "select state, opened_at from monitor.resolve((select max(alert_id) from monitor.alert))",
  "old alerts": "select monitor.delete_old_alerts('30 days 01:30')",
  "old notifications": "select monitor.delete_old_notifications('30 days 01:30')",
  "silenced alerts":
    "select extract(epoch from until - now())::int from monitor.silence('queue', now() + interval '24 hours', 'a test')",
  "set rule":
    "select rule, extract(epoch from hold) from monitor.set_rule('zones', 'insights_queue_waiting_jobs', threshold => 5, hold => '01:30')",
  "state of rules": "select rule, state from monitor.rule_state() order by rule",
  "error: secret of a channel": "select monitor.rotate_channel_secret('none', '1 day 01:30')",
  observed: "select sampled_at is null as without from monitor.observe('{queue}')",
  "latest metrics": "select count(*) > 0 as some from monitor.metrics()",
  "metrics of some days":
    "select count(*) > 0 as some from monitor.history('insights_queue_waiting_jobs', '{}', now() - interval '24 hours', now() + interval '1 hour', '1 hour')",
  health: "select status, checked_at > now() - interval '1 hour' as is_new from monitor.health()",
  "state of tables": "select count(*) > 100 as many from monitor.table_state()",
  "position bias": `select count(*), min(shown::text) from monitor.position_bias(${spring}) as shown`,
  relevance: `select count(*), min(shown::text) from monitor.relevance(${spring}, by_week => true) as shown`,
  "report of recommendations": `select count(*), min(shown::text) from monitor.recommendation_report(${spring}, by => 'week') as shown`,
  "drift of scores": `select count(*), min(shown::text) from monitor.score_drift(${spring}, reference => '1 day 01:30') as shown`,
  calibration: `select count(*), min(shown::text) from monitor.calibration(${spring}) as shown`,
  "error: offline relevance": `select count(*), min(shown::text) from monitor.offline_relevance(${spring}) as shown`,
  "trend of recommendations": `select count(*), min(shown::text) from monitor.recommendation_trend(${spring}) as shown`,
  cost: `select count(*), min(shown.subject) from monitor.cost(${spring}) as shown`,
  "watch of relevance":
    "select kind, extract(epoch from answer_period) from monitor.set_relevance_watch('course', answer_period => '1 day 01:30')",
  "watched deployments": "select count(*) from monitor.watch_relevance()",
  "rule of retention": "select rule from privacy.set_retention('events', '30 years 2 mons 01:30')",
  "rule of runs": "select keep from privacy.set_retention('runs', '1 year 01:30')",
  "kept runs": "select privacy.kept_for('runs') > '1 year' as is_longer",
  "plan of events":
    "select step.row_count, step.horizon from privacy.retention cross join lateral track.plan_event_retention(retention, '2025-03-09 06:30Z') as step where retention.rule = 'events'",
  "applied to events":
    "select count(*) from privacy.retention cross join lateral track.apply_event_retention(retention, '2025-03-09 06:30Z', 10) as step where retention.rule = 'events'",
  "plan of retention": "select rule, row_count, horizon from privacy.retention_plan()",
  "applied retention": "select count(*) from privacy.apply_retention()",
  "run to delete": "select started_at from monitor.run order by 1",
  imported: `
    select ml.import_model('lab.times', 'regression', 'linear', '{"intercept": 1, "coefficients": {"x": 2}}', data_watermark => '2025-03-30 01:30Z') as version`,
  model: `
    select ml.register_model('lab.times', 'regression', 'linear', (select coefficients from ml.model order by model_id desc limit 1), data_watermark => '2025-03-30 01:30Z') as version`,
  watermarks: "select data_watermark from ml.model order by model_id",
  split: "select ml.time_split('lab.row', 'lab.by_time', 'at', 'at', 'at', '2025-03-31 01:30Z')",
  "due drifts": "select statistic, feature from ml.watch_models()",

  "error: months": "select track.make_partitions('2031-04-01 00:00Z', '2031-03-01 05:30Z')",
  "error: months of a null": "select track.make_partitions('2031-04-01 00:00Z', null)",
  "error: too many months": "select track.make_partitions('0001-01-01 00:00Z', '9999-01-01 00:00Z')",
  "error: period before Christ": "select common.check_period('0044-03-15 00:00Z', '0044-03-15 12:34:56Z BC')",
  "error: period": "select common.check_period('2025-04-03 05:06:07Z', '2025-03-30 00:00Z')",
  "error: infinite period": "select common.check_period('infinity', '-infinity')",
  "error: retention":
    "select * from analytics.retention('Page Viewed', null, 'day', '2025-04-03 05:06:07Z', '2025-03-30 00:00Z')",
  "error: buckets of retention":
    "select * from analytics.retention(null, null, 'hour', '2001-04-03 05:06:07Z', '2025-03-30 00:00Z')",
  "error: lifecycle": "select * from analytics.lifecycle(null, 'day', '2025-04-03 05:06:07Z', '2025-03-30 00:00Z')",
  "error: stickiness": "select * from analytics.stickiness(null, 'hour', '2025-01-03 05:06:07Z', '2025-03-30 00:00Z')",
  "error: active people": "select * from analytics.active_people(null, '2025-04-03 05:06:07Z', '2025-03-30 00:00Z')",
  "error: popular items":
    "select * from analytics.popular_items('course', '2025-04-03 05:06:07Z', '2025-03-30 00:00Z')",
  "error: half-life": `select * from analytics.popular_items('course', ${spring}, make_interval(days => -1, hours => 2))`,
  "error: trend": "select * from analytics.trend('Page Viewed', 'day', '2025-04-03 05:06:07Z', '2025-03-30 00:00Z')",
  "error: risk": `select * from analytics.dropout_risk(${course}, 'infinity')`,
  "error: completion": `select * from analytics.completion_probability(${course}, null)`,
  "error: outlook": "select * from analytics.course_outlook('dropout', '-infinity')",
  "error: decision":
    "select privacy.record_consent(track.find_person('t'), 'analytics', true, '2999-03-30 01:30Z', 'api', '{}')",
  "error: expiry of a decision":
    "select privacy.record_consent(track.find_person('t'), 'analytics', false, '2025-03-30 01:30Z', valid_until => '2025-10-26 01:30Z')",
  "error: date of birth": "select privacy.record_birth_date(track.find_person('t'), '2999-03-30')",
  "error: tolerance": "select privacy.verify_ledger(tolerance => '-1 day -02:30')",
  "error: key": "select track.create_write_key('site', expires_at => '2020-03-30 01:30Z')",
  "error: rotated key": "select track.rotate_write_key((select min(key_id) from track.write_key), '-1 day -02:30')",
  "error: old refusals": "select track.delete_old_refusals('01:30', '1 year 2 mons')",
  "error: old runs": "select monitor.delete_old_runs('01:30:00')",
  "error: rule of retention": "select privacy.set_retention('events', '01:30')",
  "error: enrolments": "select track.sync_enrolments('lab.wrong_enrolment')",
};

beforeAll(async () => {
  await makePopulation(database, { learners: 60, courses: 3, until: new Date("2025-05-05") });
  await database.query(`
    update analytics.prediction_target set fewest_rows = 100, weeks = 4, horizon = least(horizon, '14 days');
    select track.ingest('{"type": "identify", "userId": "t"}');
    insert into monitor.run (task, started_at, finished_at, outcome)
    select 'refresh', now() - n * interval '24 hours' - interval '30 minutes', now(), 'ok' from generate_series(1, 400) as n;
    insert into monitor.alert (source, subject, owner, severity, message, fix, opened_at, changed_at, seen_at)
    values ('queue', 'zones', 'operator', 'warning', 'A problem.', 'A fix.', '2025-03-30 01:30Z', '2025-03-30 01:30Z', '2025-03-30 01:30Z');
    insert into analytics.cluster_fit values
      ('2025-03-30 01:30Z', '2025-03-02', '2025-03-30', 60, 2, 0.5, '{2}', '{0.5}', 0);
    insert into analytics.cluster_move values
      ('2025-03-30 01:30Z', '', 'cluster.night', 20), ('2025-03-30 01:30Z', '', 'cluster.day', 40);
    create schema lab;
    create table lab.row as
    select n as line, timestamptz '2025-03-30 00:30Z' + n * interval '61 minutes' as at from generate_series(1, 40) as n;
    create table lab.walk as
    select n % 7 as person, (n * n) % 11 as item, timestamptz '2025-03-30 00:30Z' + n * interval '11 hours' as at
    from generate_series(1, 60) as n;
    create table lab.coded as
    select person + 1 as person_no, item + 1 as item_no, 1::real as weight, row_number() over (partition by person order by min(at))::int as position, min(at) as at
    from lab.walk group by 1, 2, person, item;
    create table lab.wrong_enrolment as
    select 't' as person, 'c1' as item, timestamptz '2025-03-30 01:30Z' as enrolled_at, 'lost' as status;
    select set_config('insights.person', 't', false)`);
  for (const target of await database.rows<{ target: string }>(
    "select target from analytics.prediction_target order by 1",
  )) {
    await database.query("select count(*) from analytics.train_predictions($1)", [target.target]);
  }
});

let expected: Record<string, unknown>;

test("the steps compute something, and the errors are those of the product", async () => {
  expected = await computeUnder(database, steps, usual);
  const failed = Object.entries(expected).filter(
    ([name, result]) => !Array.isArray(result) && !name.startsWith("error: "),
  );
  expect(failed).toEqual([]);
  for (const [name, result] of Object.entries(expected)) {
    if (name.startsWith("error: ")) expect(result, name).toEqual(expect.stringMatching(/ is | are | from | at /));
    else if (name !== "refused messages of a day" && !name.startsWith("due")) expect(result, name).not.toEqual([]);
  }
});

/** Each zone with one style, and each style with several zones; with `.ci/run` two of these, with `--full` all. */
const drawn = Math.floor(Math.random() * zones.length);
const combinations = zones.flatMap((timezone, zone) =>
  styles
    .filter((_, style) => isFull || zone % styles.length === style)
    .filter(() => !isShort || [0, 1].includes((zone - drawn + zones.length) % zones.length))
    .map((datestyle) => ({ timezone, datestyle })),
);

test.each(combinations.map(({ timezone, datestyle }) => [timezone, datestyle] as const))(
  "no result is another one in %s with %s",
  async (timezone, datestyle) => {
    const number = zones.indexOf(timezone) + styles.indexOf(datestyle);
    const results = await computeUnder(database, steps, {
      timezone,
      datestyle,
      intervalstyle: intervals[number % intervals.length] ?? "postgres",
      extra_float_digits: number % 2 === 0 ? "1" : "-10",
    });
    expect(Object.keys(results)).toEqual(Object.keys(expected));
    for (const [name, result] of Object.entries(results)) expect(result, name).toEqual(expected[name]);
  },
);

test("each public function with a time is among them", async () => {
  const functions = await database.rows<{ name: string }>(`
    with room as (${rooms}),

    time (oid) as (
      select oid from pg_catalog.pg_type
      where typname ~ '^_?(timestamptz?|date|time|timetz|interval)$' and typnamespace = 'pg_catalog'::regnamespace
    )

    select distinct room.nspname || '.' || procedure.proname as name
    from pg_catalog.pg_proc as procedure
    join room on room.oid = procedure.pronamespace
    where procedure.proname !~ '^_'
      and procedure.prokind = 'f'
      and (
        exists (
          select
          from unnest(coalesce(procedure.proallargtypes, procedure.proargtypes::oid[]), procedure.proargnames) as argument (type, name)
          where argument.type in (select oid from time) and argument.name <> 'duration'
        )
        or procedure.prorettype in (select oid from time)
        or exists (
          select
          from pg_catalog.pg_class as class
          join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attnum > 0
          where class.reltype = procedure.prorettype
            and attribute.atttypid in (select oid from time)
            and attribute.attname <> 'duration'
        )
      )
    order by 1`);
  const text = (
    await Promise.all(
      ["settings.test.ts", "times.test.ts"].map((file) => readFile(join(packageRoot, "test/properties", file), "utf8")),
    )
  ).join();
  expect(functions.length).toBeGreaterThan(20);
  expect(functions.map(({ name }) => name).filter((name) => !text.includes(`${name}(`))).toEqual([]);
});

test("no default of an argument depends on the zone", async () => {
  const defaults = await database.rows<{ argument: string; value: string }>(`
    with room as (${rooms})
    select format('%s.%s %s', room.nspname, procedure.proname, procedure.proargnames[number]) as argument,
      pg_get_function_arg_default(procedure.oid, number) as value
    from pg_catalog.pg_proc as procedure
    join room on room.oid = procedure.pronamespace
    cross join generate_series(1, procedure.pronargs) as number
    where pg_get_function_arg_default(procedure.oid, number) ~* 'now\\(|current_|date_trunc'`);
  expect(defaults.length).toBeGreaterThan(5);
  expect(
    defaults.filter(({ value }) => /interval|date_trunc|date|current_/i.test(value) && !value.includes("'UTC'")),
  ).toEqual([]);
});
