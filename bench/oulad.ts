/*
 * Prediction of failing or withdrawing on OULAD (Open University), week by week of the course, without leakage: trained
 * on presentations that ended by October 2014, evaluated on those that started then; and once more on modules that the
 * model was not trained on.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/oulad.ts [trees]
 *
 * Without DATABASE_URL it runs on the embedded database. Needs ../shared/data/oulad. Registrations and assessments
 * only, because the log of clicks is not available. A score counts as known when its assessment is submitted, at the
 * earliest at its deadline.
 */
import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";
import { createGunzip } from "node:zlib";
import { parse } from "csv-parse";
import { benchDatabase } from "./database.ts";

const trees = Number(process.argv[2] ?? 60);
const { client, name, close } = await benchDatabase();

async function load(table: string, columns: string): Promise<void> {
  const file = fileURLToPath(new URL(`../../shared/data/oulad/${table}.csv.gz`, import.meta.url));
  await client.query(`create table oulad.${table} (${columns})`);
  let batch: Record<string, string | null>[] = [];
  const flush = async (): Promise<void> => {
    await client.query(`insert into oulad.${table} select * from jsonb_to_recordset($1) as row (${columns})`, [
      JSON.stringify(batch),
    ]);
    batch = [];
  };
  const rows = createReadStream(file)
    .pipe(createGunzip())
    .pipe(parse({ columns: true, cast: (value) => (value === "" ? null : value) }));
  for await (const row of rows) {
    batch.push(row as Record<string, string | null>);
    if (batch.length === 5000) await flush();
  }
  await flush();
}

/*
 * One row per student and week, as of the start of the week's first day. Day 0 of a presentation is the first of
 * February (B) or October (J), so that times can be compared between presentations.
 */
const snapshots = `
create table oulad.snapshot as
with student as (
  select
    info.*, registration.date_registration, registration.date_unregistration, courses.module_presentation_length as length,
    make_timestamptz(left(code_presentation, 4)::int, case when code_presentation like '%B' then 2 else 10 end, 1, 0, 0, 0, 'UTC') as start_at
  from oulad.student_info as info
  join oulad.student_registration as registration using (code_module, code_presentation, id_student)
  join oulad.courses using (code_module, code_presentation)
), moment as (
  select student.*, week, 7 * week as day
  from student
  cross join unnest(array[0, 2, 5, 10, 15, 20, 25, 30]) as week
  where date_registration < 7 * week
    and coalesce(date_unregistration, 1000) >= 7 * week
    and 7 * week < length
), due as (
  select code_module, code_presentation, id_assessment, assessment_type, weight, date
  from oulad.assessments
  where date is not null
), handed_in as (
  select
    moment.code_module, moment.code_presentation, moment.id_student, moment.week,
    count(*) filter (where due.date < day) as due_count,
    count(*) filter (where due.date < day and result.date_submitted < day) as submitted_count,
    count(*) filter (where result.date_submitted < day and due.date >= day) as early_count,
    count(*) filter (where due.date < day and result.date_submitted < day and result.date_submitted > due.date) as late_count,
    avg(result.date_submitted - due.date) filter (where result.date_submitted < day and not is_banked) as mean_days_late,
    avg(result.score) filter (where greatest(result.date_submitted, due.date) < day) as mean_score,
    min(result.score) filter (where greatest(result.date_submitted, due.date) < day) as lowest_score,
    (array_agg(result.score order by due.date desc, due.id_assessment) filter (where greatest(result.date_submitted, due.date) < day))[1] as last_score,
    sum(due.weight) filter (where due.date < day and coalesce(result.date_submitted, 1000) >= day) as weight_missed,
    sum(due.weight * result.score) filter (where greatest(result.date_submitted, due.date) < day) / nullif(sum(due.weight) filter (where due.date < day), 0) as weighted_score,
    min(day - result.date_submitted) filter (where result.date_submitted < day and not is_banked) as days_since_submission,
    max(greatest(result.date_submitted, case when due.date < day then due.date else -1000 end)) filter (where result.date_submitted < day) as newest_day,
    bool_or(is_banked) as banked
  from moment
  join due using (code_module, code_presentation)
  left join oulad.student_assessment as result on result.id_assessment = due.id_assessment and result.id_student = moment.id_student
  where due.date < day or result.date_submitted < day
  group by 1, 2, 3, 4
)
select
  format('%s/%s/%s/%s', code_module, code_presentation, id_student, week) as snapshot,
  code_module, code_presentation, id_student, week, final_result in ('Fail', 'Withdrawn') as at_risk,
  start_at + day * interval '1 day' as predicted_at,
  start_at + length * interval '1 day' as label_known_at,
  start_at + greatest(date_registration, newest_day) * interval '1 day' as feature_known_at,
  day / length::float8 as share_of_course, -date_registration as days_before_start,
  gender, region, highest_education, imd_band, age_band, num_of_prev_attempts, studied_credits, disability,
  coalesce(due_count, 0) as due_count, coalesce(submitted_count, 0) as submitted_count, coalesce(early_count, 0) as early_count,
  coalesce(late_count, 0) as late_count, due_count - submitted_count as missed_count, mean_days_late::float8, mean_score::float8, lowest_score, last_score,
  coalesce(weight_missed, 0)::float8 as weight_missed, weighted_score::float8, days_since_submission, coalesce(banked, false) as banked,
  count(*) over peers as peers, avg(coalesce(submitted_count, 0)) over peers::float8 as peers_submitted,
  avg(mean_score) over peers::float8 as peers_mean_score
from moment
left join handed_in using (code_module, code_presentation, id_student, week)
window peers as (partition by code_module, code_presentation, week)`;

interface Row {
  week: number;
  rows: string;
  share: number;
  auc: number;
  log_loss: number;
  brier: number;
  error: number;
}

async function measure(): Promise<Row[]> {
  const measured = async (metric: string): Promise<void> => {
    await client.query(`drop table if exists oulad.${metric}`);
    await client.query(`select ml.${metric}('oulad.scored', 'oulad.${metric}', 'prediction', 'at_risk', 'week')`);
  };
  for (const metric of ["area_under_roc", "log_loss", "brier_score"]) await measured(metric);
  await client.query("drop table if exists oulad.curve");
  await client.query(
    "select ml.calibration_curve('oulad.scored', 'oulad.curve', 'prediction', 'at_risk', 'week', 10, 'quantile')",
  );
  const { rows } = await client.query<Row>(`
    select week, count(*) as rows, avg(at_risk::int)::float8 as share, area_under_roc as auc, log_loss, brier_score as brier,
      (select sum(num_rows * abs(mean_predicted - fraction_positive)) / sum(num_rows) from oulad.curve where curve.week = scored.week)::float8 as error
    from oulad.scored
    join oulad.area_under_roc using (week) join oulad.log_loss using (week) join oulad.brier_score using (week)
    group by week, area_under_roc, log_loss, brier_score order by week`);
  return rows;
}

function print(title: string, rows: Row[]): void {
  console.log(`\n${title}`);
  console.table(
    rows.map((row) => ({
      week: row.week,
      students: Number(row.rows),
      "at risk, %": (100 * row.share).toFixed(1),
      AUC: row.auc.toFixed(3),
      "log loss": row.log_loss.toFixed(3),
      Brier: row.brier.toFixed(3),
      "calibration error": row.error.toFixed(3),
    })),
  );
}

const columns =
  "share_of_course, days_before_start, gender, region, highest_education, imd_band, age_band, num_of_prev_attempts, studied_credits, disability, " +
  "due_count, submitted_count, early_count, late_count, missed_count, mean_days_late, mean_score, lowest_score, last_score, weight_missed, weighted_score, " +
  "days_since_submission, banked, peers, peers_submitted, peers_mean_score";

/**
 * Trains on the rows of a split and writes the scores of the held-out rows to `oulad.scored`; returns the seconds it
 * took.
 */
async function trainAndScore(project: string, holdout: string): Promise<number> {
  const started = performance.now();
  await client.query(
    `select ml.train($1, 'classification', 'oulad.split', 'snapshot', 'at_risk', features => $2, holdout => $3, group_column => 'id_student',
       parameters => '{"num_trees": ${trees}, "max_depth": 5, "min_rows": 40, "lambda": 5, "row_sample": 0.7, "feature_sample": 0.4, "max_bins": 32}')`,
    [project, columns, holdout],
  );
  await client.query("drop table if exists oulad.prediction");
  await client.query(`create or replace view oulad.held as select * from oulad.split where ${holdout}`);
  await client.query("select ml.predict_table($1, 'oulad.held', 'oulad.prediction', 'snapshot')", [project]);
  await client.query(
    "insert into oulad.scored select week, at_risk, prediction from oulad.held join oulad.prediction using (snapshot)",
  );
  await client.query("drop view oulad.held");
  return (performance.now() - started) / 1000;
}

try {
  console.log(name);
  await client.query("create schema oulad");
  await load("courses", "code_module text, code_presentation text, module_presentation_length int");
  await load(
    "student_info",
    "code_module text, code_presentation text, id_student int, gender text, region text, highest_education text, imd_band text, age_band text, num_of_prev_attempts int, studied_credits int, disability text, final_result text",
  );
  await load(
    "student_registration",
    "code_module text, code_presentation text, id_student int, date_registration int, date_unregistration int",
  );
  await load(
    "assessments",
    "code_module text, code_presentation text, id_assessment int, assessment_type text, date int, weight float8",
  );
  await load(
    "student_assessment",
    "id_assessment int, id_student int, date_submitted int, is_banked boolean, score float8",
  );
  await client.query("create index on oulad.student_assessment (id_student, id_assessment)");
  await client.query("vacuum analyze");
  await client.query(snapshots);
  // Refuses features that were known only later than their snapshot, and excludes labels that are known too late.
  await client.query(
    "select ml.time_split('oulad.snapshot', 'oulad.split', 'predicted_at', 'label_known_at', 'feature_known_at', '2014-10-01 00:00Z')",
  );
  const { rows: parts } = await client.query<{ split: string; rows: string; presentations: string }>(
    "select split, count(*) as rows, string_agg(distinct code_presentation, ', ') as presentations from oulad.split group by split order by split",
  );
  console.log(parts.map((part) => `${part.split}: ${part.rows} snapshots (${part.presentations})`).join("; "));

  await client.query("create table oulad.scored (week int, at_risk boolean, prediction float8)");
  const seconds = await trainAndScore("oulad.later", "split = 'test'");
  print(
    `Presentations of October 2014, trained on those that had ended by then (${seconds.toFixed(0)} s):`,
    await measure(),
  );

  await client.query("alter table oulad.split rename to every_split");
  await client.query("truncate oulad.scored");
  for (const half of [0, 1]) {
    await client.query("drop view if exists oulad.split");
    await client.query(
      `create view oulad.split as select * from oulad.every_split where (split = 'test') = (ascii(code_module) % 2 = ${half})`,
    );
    await trainAndScore(`oulad.half_${half}`, "split = 'test'");
  }
  print(
    "The same presentations, each scored by a model of the other modules, without any presentation of its own:",
    await measure(),
  );
  console.log(
    "Published, with the log of clicks: F1 0.84 for a leak-free, time-ordered early prediction (LightGBM); AUC 0.998 is reached with features of the whole course, which is not a prediction.",
  );
} finally {
  await close();
}
