/*
 * Dropout prediction on KDD Cup 2015 (XuetangX): trained on some courses, evaluated on others.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/dropout.ts [trees] [folds]
 *
 * Creates a database of its own on that server and drops it at the end; embedded without DATABASE_URL. Needs
 * ../shared/data/kddcup2015_xuetangx. A further method is one more entry of `methods`: it gets the training and the
 * test rows as two views and fills a table of enrollment_id and prediction.
 */
import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";
import { createGunzip } from "node:zlib";
import { parse } from "csv-parse";
import { benchDatabase } from "./database.ts";

const data = (name: string): string =>
  fileURLToPath(new URL(`../../shared/data/kddcup2015_xuetangx/${name}.csv.gz`, import.meta.url));
const trees = Number(process.argv[2] ?? 300);
const folds = Number(process.argv[3] ?? 3);
const database = await benchDatabase();
const { client } = database;

async function one<T>(sql: string): Promise<T> {
  const { rows, fields } = await client.query(sql);
  return rows[0]?.[fields[0]?.name ?? ""] as T;
}

/** Loads a gzipped CSV file into a table, a thousand rows per statement. */
async function load(table: string, file: string, columns: string): Promise<void> {
  await client.query(`create table ${table} (${columns})`);
  const width = columns.split(",").length;
  let batch: string[][] = [];
  const flush = async (): Promise<void> => {
    await client.query(`insert into ${table} select * from jsonb_to_recordset($1) as row (${columns})`, [
      JSON.stringify(
        batch.map((row) =>
          Object.fromEntries(columns.split(",").map((column, i) => [column.trim().split(" ")[0], row[i]])),
        ),
      ),
    ]);
    batch = [];
  };
  for await (const row of createReadStream(data(file))
    .pipe(createGunzip())
    .pipe(parse({ fromLine: 2 }))) {
    batch.push((row as string[]).slice(0, width));
    if (batch.length === 5000) await flush();
  }
  if (batch.length > 0) await flush();
}

/*
 * Features as of the end of the 30-day window; the label is about the 10 days after it. Characteristics of a course
 * (how long its learners stay) are computed from activity alone, so they are known for a course without labels too.
 */
const features = `
create table kdd.feature as
with activity as (
  select
    daily.*, daily.day - course.first_day as day_number, 29 - (daily.day - course.first_day) as age,
    access + discussion + navigate + page_close + problem + video + wiki as events
  from kdd.daily
  join kdd.course using (course)
), gap as (
  select enrollment_id, max(gap) as longest_gap, avg(gap) as mean_gap, stddev_pop(gap) as gap_deviation, (array_agg(gap order by day_number desc))[1] as last_gap
  from (
    select enrollment_id, day_number, day_number - lag(day_number) over (partition by enrollment_id order by day_number) as gap
    from activity
  ) as step
  group by enrollment_id
), person as (
  select
    enrollment_id,
    count(*) as active_days,
    min(age) as recency,
    min(day_number) as first_active_day,
    max(day_number) - min(day_number) + 1 as span,
    sum(events) as events, sum(access) as access, sum(discussion) as discussion, sum(navigate) as navigate, sum(page_close) as page_close,
    sum(problem) as problem, sum(video) as video, sum(wiki) as wiki,
    max(events) as busiest_day, avg(events) as mean_events, stddev_pop(events) as event_deviation,
    sum(ln(1 + events)) as log_events, sum(ln(1 + events) * exp(-age / 5.0)) as log_events_recent, sum(ln(1 + events) * exp(-age / 12.0)) as log_events_later,
    count(*) filter (where extract(isodow from day) >= 6) as weekend_days,
    (array_agg(events order by day desc))[1] as last_events, (array_agg(problem order by day desc))[1] as last_problem, (array_agg(video order by day desc))[1] as last_video,
    sum(events * exp(-age / 3.0)) as events_3, sum(events * exp(-age / 7.0)) as events_7,
    sum(exp(-age / 3.0)) as days_3, sum(exp(-age / 7.0)) as days_7, sum(exp(-age / 15.0)) as days_15,
    count(*) filter (where age < 3) as last_3_days, count(*) filter (where age < 7) as week_4, count(*) filter (where age between 7 and 13) as week_3,
    count(*) filter (where age between 14 and 20) as week_2, count(*) filter (where age > 20) as week_1,
    sum(events) filter (where age < 3) as events_last_3, sum(events) filter (where age < 7) as events_week_4,
    sum(events) filter (where age between 7 and 13) as events_week_3, sum(events) filter (where age between 14 and 20) as events_week_2,
    sum(problem) filter (where age < 7) as problem_week_4, sum(video) filter (where age < 7) as video_week_4,
    count(*) filter (where problem > 0) as problem_days, count(*) filter (where video > 0) as video_days, count(*) filter (where discussion > 0) as discussion_days
  from activity
  group by enrollment_id
), climate as (
  select
    course, count(*) as course_size, avg(active_days) as course_active_days, avg((recency < 7)::int) as course_last_week,
    avg((recency < 3)::int) as course_last_3, avg((active_days = 1)::int) as course_one_day, avg(recency) as course_recency,
    avg(problem::float8 / nullif(events, 0)) as course_problem, avg(video::float8 / nullif(events, 0)) as course_video
  from person
  join kdd.label using (enrollment_id)
  group by course
)
select
  label.course, label.dropout, person.*, longest_gap, mean_gap, gap_deviation, last_gap,
  active_days / course_active_days as relative_active_days, events_7 / avg(events_7) over (partition by course) as relative_events_7,
  percent_rank() over (partition by course order by days_7) as days_7_rank, percent_rank() over (partition by course order by events) as events_rank,
  climate.course_size, course_active_days, course_last_week, course_last_3, course_one_day, course_recency, course_problem, course_video
from kdd.label
join person using (enrollment_id)
left join gap using (enrollment_id)
join climate using (course)`;

type Method = (fold: number) => Promise<void>;

const methods: Record<string, Method> = {
  // Recency alone, as in any dashboard.
  "days since last activity": async () => {
    await client.query(
      "create table kdd.predicted as select enrollment_id, (recency + 1) / 32.0 as prediction from kdd.test",
    );
  },
  // Counts enter as logarithms; the intercept is a column of ones.
  "logistic regression": async () => {
    const columns = [
      ...[
        "active_days",
        "recency",
        "first_active_day",
        "span",
        "events",
        "discussion",
        "navigate",
        "page_close",
        "problem",
        "video",
        "wiki",
      ],
      ...[
        "busiest_day",
        "weekend_days",
        "last_events",
        "events_3",
        "events_7",
        "days_3",
        "days_7",
        "days_15",
        "last_3_days",
        "week_4",
        "week_3",
        "week_2",
      ],
      ...[
        "events_last_3",
        "events_week_4",
        "events_week_3",
        "problem_days",
        "video_days",
        "longest_gap",
        "last_gap",
        "mean_gap",
      ],
    ];
    const inputs = [
      "1",
      ...columns.map((column) => `ln((1 + coalesce(${column}, 0))::float8)`),
      ...["days_7_rank", "events_rank", "course_active_days", "course_last_week", "course_one_day", "course_recency"],
    ];
    await client.query("drop table if exists kdd.logistic, kdd.logistic_summary");
    await client.query("select ml.logregr_train('kdd.train', 'kdd.logistic', 'dropout = 1', $1, null, 50)", [
      `array[${inputs.join(", ")}]`,
    ]);
    await client.query(`
      create table kdd.predicted as
      select enrollment_id, ml.logregr_predict_prob(coef, array[${inputs.join(", ")}]::float8[]) as prediction
      from kdd.test cross join kdd.logistic`);
  },
  "gradient-boosted trees": async (fold) => {
    const train = (more: string): Promise<unknown> =>
      client.query(`
        select ml.gbm_train(
          'kdd.train', 'kdd.boosted', 'enrollment_id', 'dropout', '*', 'course, place', 'logistic',
          learning_rate => 0.06, max_depth => 4, min_rows => 40, lambda => 5, row_sample => 0.7, feature_sample => 0.25, max_bins => 32, ${more}
        )`);
    // A fifth of the courses determines the number of trees, then all courses are used for training.
    await client.query("drop table if exists kdd.boosted, kdd.boosted_summary");
    await train(`num_trees => ${trees}, validation => 'place % 5 = ${fold}', early_stopping_rounds => 25`);
    const enough = await one<number>("select greatest(num_trees, 1) from kdd.boosted_summary");
    await client.query("drop table if exists kdd.boosted, kdd.boosted_summary");
    await train(`num_trees => ${enough}`);
    await client.query("select ml.gbm_predict('kdd.boosted', 'kdd.test', 'kdd.predicted')");
  },
  "both, mean of the log odds": async () => {
    await client.query(`
      create table kdd.predicted as
      select enrollment_id, 1 / (1 + exp(-avg(ln(prediction / (1 - prediction))))) as prediction
      from kdd.every_prediction
      join kdd.test using (enrollment_id)
      where method in ('logistic regression', 'gradient-boosted trees')
      group by enrollment_id`);
  },
};

interface Result {
  method: string;
  auc: number;
  course_auc: number;
  best_fold: number;
  worst_fold: number;
  log_loss: number;
  brier: number;
  seconds: number;
}

try {
  await client.query("create schema kdd");
  await load(
    "kdd.daily",
    "daily_events",
    "course text, enrollment_id int, day date, access int, discussion int, navigate int, page_close int, problem int, video int, wiki int",
  );
  await load("kdd.label", "labels", "enrollment_id int, dropout int, course text");
  await load("kdd.course", "course_windows", "course text, first_day date, last_day date");
  const started = performance.now();
  await client.query(features);
  await client.query("alter table kdd.feature add place int");
  await client.query(`
    update kdd.feature set place = shuffled.place
    from (select course, row_number() over (order by md5(course)) - 1 as place from kdd.course) as shuffled
    where shuffled.course = feature.course`);
  await client.query("vacuum analyze kdd.feature");
  console.log(
    `${await one("select count(*) from kdd.feature")} enrolments, ${await one("select round(100 * avg(dropout), 1) from kdd.feature")} % drop out, ` +
      `${await one("select count(*) - 4 from pg_attribute where attrelid = 'kdd.feature'::regclass and attnum > 0")} features in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  await client.query("create table kdd.every_prediction (method text, enrollment_id int, prediction float8)");
  const results: Result[] = [];
  for (const [method, run] of Object.entries(methods)) {
    await client.query("drop table if exists kdd.scored cascade");
    await client.query(
      "create table kdd.scored (enrollment_id int, prediction float8, dropout int, course text, fold int)",
    );
    let seconds = 0;
    for (let fold = 0; fold < folds; fold++) {
      await client.query("drop view if exists kdd.train, kdd.test");
      await client.query(`create view kdd.train as select * from kdd.feature where place % ${folds} <> ${fold}`);
      await client.query(`create view kdd.test as select * from kdd.feature where place % ${folds} = ${fold}`);
      await client.query("drop table if exists kdd.predicted");
      const start = performance.now();
      await run(fold);
      seconds += (performance.now() - start) / 1000;
      await client.query("insert into kdd.every_prediction select $1, enrollment_id, prediction from kdd.predicted", [
        method,
      ]);
      await client.query(
        "insert into kdd.scored select enrollment_id, prediction, dropout, course, $1 from kdd.predicted join kdd.feature using (enrollment_id)",
        [fold],
      );
    }
    const measure = async (measure: string, grouping = "null", of = `avg(${measure})`): Promise<number> => {
      await client.query("drop table if exists kdd.measured");
      await client.query(`select ml.${measure}('kdd.scored', 'kdd.measured', 'prediction', 'dropout', ${grouping})`);
      return one<number>(`select ${of} from kdd.measured`);
    };
    results.push({
      method,
      auc: await measure("area_under_roc"),
      course_auc: await measure("area_under_roc", "'course'"),
      best_fold: await measure("area_under_roc", "'fold'", "max(area_under_roc)"),
      worst_fold: await measure("area_under_roc", "'fold'", "min(area_under_roc)"),
      log_loss: await measure("log_loss"),
      brier: await measure("brier_score"),
      seconds,
    });
    await client.query("drop table if exists kdd.measured");
    await client.query(
      "select ml.calibration_curve('kdd.scored', 'kdd.measured', 'prediction', 'dropout', null, 10, 'quantile')",
    );
    console.log(`\n${method}: predicted → observed share of dropouts, by tenths of the learners`);
    const { rows } = await client.query("select * from kdd.measured order by bin");
    console.log(rows.map((row) => `${row.mean_predicted.toFixed(3)} → ${row.fraction_positive.toFixed(3)}`).join("\n"));
  }
  console.log(
    `\nEvery enrolment scored once by a model that was not trained on its course (${folds} folds of courses):`,
  );
  console.table(
    results.map((result) => ({
      method: result.method,
      AUC: result.auc.toFixed(4),
      "AUC by fold": `${result.worst_fold.toFixed(4)} to ${result.best_fold.toFixed(4)}`,
      "AUC within a course, mean": result.course_auc.toFixed(4),
      "log loss": result.log_loss.toFixed(4),
      Brier: result.brier.toFixed(4),
      "train and score, s": result.seconds.toFixed(1),
    })),
  );
  console.log(
    "Published on the full data (39 courses, all fields, other split): logistic regression 0.863, boosting 0.88 to 0.89, winner 0.907.",
  );
} finally {
  await database.close();
}
