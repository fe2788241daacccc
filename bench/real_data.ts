/*
 * Real logs through the functions of analytics: a report with plots.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/real_data.ts MOODLE XUETANGX [docs/real-data]
 *
 * MOODLE: a directory with the Moodle log of a course, https://github.com/lamethods/data (1_moodleLAcourse), as
 * events.csv.gz with the columns user_id, event_time, action, component, event_name and event_context. XUETANGX: one with
 * a sample of the log of KDD Cup 2015, https://github.com/lulalachen/2015ML-final, as raw_events_sample.csv.gz
 * (enrollment_id, time, source, event, object) and course_objects.csv.gz (course_id, module_id, category, children).
 * Writes DIRECTORY.md and the plots DIRECTORY/*.svg. Without DATABASE_URL it runs on the embedded database.
 *
 * The figures are those of an analyst: groups of at least five people, rounded. Times are those of the log, without a
 * zone, and are read as UTC.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import type pg from "pg";
import { benchDatabase } from "./database.ts";

const [moodle, xuetangx, target = "docs/real-data"] = process.argv.slice(2);
if (moodle === undefined || xuetangx === undefined)
  throw new Error("Give the directories of the two data sets, and optionally that of the report.");

type Row = Record<string, string>;
const read = (...path: string[]): Row[] =>
  parse(gunzipSync(readFileSync(join(...path))), { columns: true, bom: true }) as Row[];

interface Log {
  messages: object[];
  /** Courses, and what they contain. */
  items: { external_id: string; kind: string; parent: string | null; title: string | null }[];
  enrolments: { person: string; item: string; enrolled_at: string }[];
}

/* ----------------------------------------------------------------------------------------------------------- logs -- */

const iso = (time: string): string => `${time.replace(" ", "T")}Z`;

/** The first event of each person in a course stands for her enrolment. */
function enrol(log: Log, person: string, item: string, time: string, seen: Set<string>): void {
  if (seen.has(`${person} ${item}`)) return;
  seen.add(`${person} ${item}`);
  log.enrolments.push({ person, item, enrolled_at: iso(time) });
}

function readMoodle(directory: string): Log {
  const log: Log = { messages: [], items: [], enrolments: [] };
  const course = "Learning Analytics";
  const kinds = new Map<string, string>([[course, "course"]]);
  const seen = new Set<string>();
  const events: Record<string, string> = {
    "Post created": "Post Created",
    "Discussion created": "Post Created",
    "Quiz attempt started": "Task Started",
    "Submission form viewed.": "Task Started",
    "Quiz attempt submitted": "Task Submitted",
    "A submission has been submitted.": "Task Submitted",
  };
  for (const [index, row] of read(directory, "events.csv.gz").entries()) {
    const { user_id: userId = "", event_time: time = "", component = "", event_name: name = "" } = row;
    const context = row["event_context"] ?? "";
    const item = context.startsWith("Course:") ? course : context.trim();
    const kind =
      component === "Assignment" || component === "Quiz" ? "task" : component.toLowerCase().replaceAll(" ", "_");
    // The parts of an activity, such as the files of a submission, have its context and a component of their own.
    if (item !== course && !kinds.has(item))
      kinds.set(item, kind.replace(/^(file_submissions|submission_comments)$/, "task"));
    enrol(log, userId, course, time, seen);
    const isView = / viewed\.?$/.test(name) && !(name in events);
    log.messages.push({
      type: isView ? "page" : "track",
      ...(isView ? {} : { event: events[name] ?? name.replace(/\.$/, "") }),
      messageId: `moodle ${index}`,
      userId,
      timestamp: iso(time),
      properties: { item },
    });
  }
  for (const [item, kind] of kinds)
    log.items.push({ external_id: item, kind, parent: item === course ? null : course, title: null });
  return log;
}

function readXuetangx(directory: string): Log {
  const log: Log = { messages: [], items: [], enrolments: [] };
  const objects = new Map(read(directory, "course_objects.csv.gz").map((row) => [row["module_id"] ?? "", row]));
  const parents = new Map<string, string>();
  for (const [module, { children = "" }] of objects)
    for (const child of children.split(" ")) if (child !== "") parents.set(child, module);
  const courses = new Map([...objects.values()].map((row) => [row["course_id"] ?? "", `course ${row["course_id"]}`]));
  const used = new Set<string>();
  const seen = new Set<string>();
  const names: Record<string, string> = {
    video: "Video Watched",
    problem: "Problem Tried",
    discussion: "Discussion Opened",
    wiki: "Wiki Opened",
    page_close: "Page Closed",
  };
  for (const [index, row] of read(directory, "raw_events_sample.csv.gz").entries()) {
    const { enrollment_id: enrolment = "", time = "", event = "", object = "" } = row;
    const module = objects.get(object);
    const course = module === undefined ? undefined : courses.get(module["course_id"] ?? "");
    if (course !== undefined) enrol(log, enrolment, course, time, seen);
    for (let part: string | undefined = object; part !== undefined && objects.has(part); part = parents.get(part)) {
      if (used.has(part)) break;
      used.add(part);
    }
    const isView = event === "access" || event === "navigate";
    log.messages.push({
      type: isView ? "page" : "track",
      ...(isView ? {} : { event: names[event] ?? event }),
      messageId: `xuetangx ${index}`,
      userId: enrolment,
      timestamp: iso(time),
      properties: module === undefined || module["category"] === "course" ? {} : { item: object },
    });
  }
  for (const course of new Set(courses.values()))
    log.items.push({ external_id: course, kind: "course", parent: null, title: null });
  for (const module of used) {
    const { course_id: id = "", category = "" } = objects.get(module) ?? {};
    const parent = parents.get(module);
    if (category === "course") continue;
    log.items.push({
      external_id: module,
      kind: category,
      parent:
        parent !== undefined && used.has(parent) && objects.get(parent)?.["category"] !== "course"
          ? parent
          : (courses.get(id) ?? null),
      title: null,
    });
  }
  return log;
}

async function store(client: pg.Client, log: Log): Promise<void> {
  await client.query("create table public.part (external_id text, kind text, parent text, title text)");
  await client.query("insert into public.part select * from json_populate_recordset(null::public.part, $1)", [
    JSON.stringify(log.items),
  ]);
  await client.query("select track.sync_items('public.part')");
  for (let start = 0; start < log.messages.length; start += 1_000) {
    const { rows } = await client.query<{ rejected: number; errors: unknown }>(
      "select rejected, errors from track.ingest($1)",
      [JSON.stringify(log.messages.slice(start, start + 1_000))],
    );
    if (rows[0]?.rejected !== 0) throw new Error(JSON.stringify(rows[0]?.errors));
  }
  await client.query("create table public.seat (person text, item text, enrolled_at timestamptz)");
  await client.query("insert into public.seat select * from json_populate_recordset(null::public.seat, $1)", [
    JSON.stringify(log.enrolments),
  ]);
  await client.query("select track.sync_enrolments('public.seat')");
  while (((await client.query("select from track.refresh(500) where people > 0")).rowCount ?? 0) > 0);
  const { rows } = await client.query<{ count: number }>(
    "select count(*)::int as count from track.event join track.event_type using (event_type_id)",
  );
  if (rows[0]?.count !== log.messages.length)
    throw new Error(`${rows[0]?.count} of ${log.messages.length} events are stored`);
}

/* ---------------------------------------------------------------------------------------------------------- plots -- */

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const svg = (width: number, height: number, title: string, body: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" font-family="sans-serif" font-size="11">` +
  `<title>${escaped(title)}</title><rect width="${width}" height="${height}" fill="#fff"/>` +
  `<text x="8" y="16" font-size="13">${escaped(title)}</text>${body}</svg>\n`;
const round = (value: number): string => String(Math.round(value * 10) / 10);

/** Horizontal bars with their labels. */
function bars(title: string, points: readonly { label: string; value: number; note?: string }[]): string {
  const largest = Math.max(1, ...points.map(({ value }) => value));
  const body = points.map(({ label, value, note }, index) => {
    const y = 30 + index * 20;
    return (
      `<text x="252" y="${y + 11}" text-anchor="end">${escaped(label.length > 42 ? `${label.slice(0, 41)}…` : label)}</text>` +
      `<rect x="258" y="${y}" width="${round((300 * value) / largest)}" height="14" fill="#4a78b5"/>` +
      `<text x="${round(263 + (300 * value) / largest)}" y="${y + 11}">${escaped(note ?? String(value))}</text>`
    );
  });
  return svg(660, 40 + points.length * 20, title, body.join(""));
}

/** Vertical bars over a numeric axis, with few labels. */
function columns(title: string, points: readonly { label: string; value: number }[], every: number): string {
  const largest = Math.max(1, ...points.map(({ value }) => value));
  const width = 600 / Math.max(1, points.length);
  const body = points.map(({ label, value }, index) => {
    const height = (140 * value) / largest;
    const x = 50 + index * width;
    return (
      `<rect x="${round(x)}" y="${round(170 - height)}" width="${round(width * 0.85)}" height="${round(height)}" fill="#4a78b5"/>` +
      (index % every === 0 ? `<text x="${round(x)}" y="184">${escaped(label)}</text>` : "")
    );
  });
  return svg(
    660,
    192,
    title,
    `<text x="44" y="38" text-anchor="end">${largest}</text><path d="M48 170H652" stroke="#888"/>${body.join("")}`,
  );
}

/** A cell for each row and column; the darker, the larger. */
function heat(
  title: string,
  rows: readonly string[],
  columnNames: readonly string[],
  values: readonly number[][],
): string {
  const largest = Math.max(1e-9, ...values.flat());
  const body = values.flatMap((row, y) => [
    `<text x="82" y="${42 + y * 20}" text-anchor="end">${escaped(rows[y] ?? "")}</text>`,
    ...row.map(
      (value, x) =>
        `<rect x="${88 + x * 23}" y="${28 + y * 20}" width="22" height="19" fill="#4a78b5" fill-opacity="${Math.max(0.02, value / largest).toFixed(2)}"/>`,
    ),
  ]);
  const heads = columnNames.map(
    (name, x) => `<text x="${90 + x * 23}" y="${44 + values.length * 20}">${escaped(name)}</text>`,
  );
  return svg(660, 54 + values.length * 20, title, body.join("") + heads.join(""));
}

/* --------------------------------------------------------------------------------------------------------- report -- */

const folder = basename(target);
mkdirSync(target, { recursive: true });
const report: string[] = [];
const plot = (name: string, title: string, text: string): void => {
  writeFileSync(join(target, `${name}.svg`), text);
  report.push(`![${title}](${folder}/${name}.svg)`, "");
};
function table(heads: readonly string[], rows: readonly (readonly (string | number | null)[])[]): void {
  report.push(`| ${heads.join(" | ")} |`, `|${heads.map(() => "---|").join("")}`);
  for (const row of rows)
    report.push(`| ${row.map((value) => String(value ?? "").replaceAll("|", "\\|")).join(" | ")} |`);
  report.push("");
}
const percent = (share: number | null): string => (share === null ? "" : `${Math.round(100 * share)} %`);
const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const hours = Array.from({ length: 24 }, (_, hour) => String(hour));

interface Dataset {
  name: string;
  heading: string;
  text: string;
  log: Log;
  since: string;
  until: string;
  steps: string[];
  course: string;
  nodes: string;
  stops: string | null;
  bucket: string;
}

async function describe(set: Dataset): Promise<void> {
  const { client, name: server, close } = await benchDatabase();
  await store(client, set.log);
  await client.query("set role insights_analyst");
  const ask = async <T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> =>
    (await client.query<T>(text, values)).rows;
  const period = [set.since, set.until];
  const [key, title] = [set.name, set.heading];
  report.push(`## ${title}`, "", set.text, "");
  report.push(`${set.log.messages.length.toLocaleString("en")} events, read on ${server.replace(/ \(.*/, "")}.`, "");

  const trend = await ask<{ day: string; people: number }>(
    `select to_char(bucket_start at time zone 'UTC', 'MM-DD') as day, person_count::int as people
     from analytics.trend(null, 'day', $1, $2) order by bucket_start`,
    period,
  );
  plot(
    `${key}-people`,
    "Active people by day",
    columns(
      "Active people by day (trend)",
      trend.map(({ day, people }) => ({ label: day, value: people })),
      7,
    ),
  );

  report.push(`### Funnel`, "", `\`analytics.funnel\`, at most 14 days from the first step.`, "");
  const funnel = await ask<{ kind: string; event: string; people: number; share: number | null; took: string | null }>(
    `select kind, event, person_count::int as people, share, date_trunc('minute', median_time)::text as took
     from unnest('{ordered,strict}'::text[]) as kind
     cross join analytics.funnel($3, $1, $2, kind) order by kind, step`,
    [...period, JSON.stringify(set.steps)],
  );
  table(
    ["order", "step", "people", "of the first step", "median time"],
    funnel.map(({ kind, event, people, share, took }) => [kind, event, people, percent(share), took]),
  );

  report.push(
    "### Paths",
    "",
    "`analytics.transitions`, from one kind of item to the next, and `analytics.paths` over pages and events.",
    "",
  );
  const transitions = await ask<{ pair: string; times: number; share: number }>(
    `select source || ' → ' || target as pair, transition_count::int as times, share
     from analytics.transitions($1, $2, 'kind', top => 12)`,
    period,
  );
  plot(
    `${key}-transitions`,
    "Transitions between kinds",
    bars(
      "Transitions between kinds of items",
      transitions.map(({ pair, times, share }) => ({
        label: pair,
        value: times,
        note: `${times} (${percent(share)})`,
      })),
    ),
  );
  const paths = await ask<{
    step: number;
    source: string;
    target: string;
    times: number;
    people: number;
    share: number;
  }>(
    `select step, source, target, transition_count::int as times, person_count::int as people, share
     from analytics.paths($1, $2, $3, top => 12)`,
    [...period, set.nodes],
  );
  table(
    ["step", "from", "to", "transitions", "people", "share"],
    paths.map(({ step, source, target: next, times, people, share }) => [
      step,
      source,
      next,
      times,
      people,
      percent(share),
    ]),
  );

  report.push(
    "### Retention",
    "",
    `\`analytics.retention\` by ${set.bucket}: people of each cohort who are active again, in all cohorts together.`,
    "",
  );
  const retention = await ask<{ period: number; share: number }>(
    `select period, coalesce(share, 0) as share
     from analytics.retention(bucket => $3, since => $1, until => $2, periods => 6)
     where cohort_start is null order by period`,
    [...period, set.bucket],
  );
  plot(
    `${key}-retention`,
    "Retention",
    bars(
      "Retention",
      retention.map(({ period: number, share }) => ({
        label: `${set.bucket} ${number}`,
        value: Math.round(100 * share),
        note: percent(share),
      })),
    ),
  );

  report.push(
    "### When people learn",
    "",
    "`analytics.hour_of_week`, `analytics.productivity_cycle` and `analytics.chronotypes`.",
    "",
  );
  const week = await ask<{ weekday: number; hour: number; events: number }>(
    "select weekday, hour, event_count::int as events from analytics.hour_of_week(null, $1, $2)",
    period,
  );
  plot(
    `${key}-week`,
    "Events by hour of the week",
    heat(
      "Events by hour of the week",
      days,
      hours,
      days.map((_, day) =>
        hours.map((_hour, hour) => week.find((cell) => cell.weekday === day + 1 && cell.hour === hour)?.events ?? 0),
      ),
    ),
  );
  const cycle = await ask<{ hour: number; active: number }>(
    "select hour, hour_count::int as active from analytics.productivity_cycle(null, $1, $2) order by hour",
    period,
  );
  plot(
    `${key}-cycle`,
    "Active hours",
    columns(
      "Active hours of people by hour of the day",
      cycle.map(({ hour, active }) => ({ label: String(hour), value: active })),
      2,
    ),
  );
  const types = await ask<{ chronotype: string; people: number; share: number | null }>(
    "select chronotype, person_count::int as people, share from analytics.chronotypes(null, $1, $2)",
    period,
  );
  table(
    ["chronotype", "people", "share"],
    types.map(({ chronotype, people, share }) => [chronotype, people, percent(share)]),
  );

  report.push(
    "### Where learners stop",
    "",
    "`analytics.stopping_points`: the last item of each learner. The logs have ended, so that all learners have stopped.",
    "",
  );
  const stops = await ask<{ item: string | null; reached: number; stopped: number; share: number | null }>(
    `select ${set.nodes === "page_or_event" ? "coalesce(item, '(no item)')" : "coalesce(kind, '(no item)') || ' ' || row_number() over (order by stopped_count desc)"} as item,
       reached_count::int as reached, stopped_count::int as stopped, share
     from analytics.stopping_points($1, $2) order by stopped_count desc limit 10`,
    [set.course, set.stops],
  );
  table(
    ["item", "reached", "stopped", "share"],
    stops.map(({ item, reached, stopped, share }) => [item, reached, stopped, percent(share)]),
  );

  report.push("### Sessions", "", "`analytics.session_distribution` by page views.", "");
  const sessions = await ask<{ label: string; sessions: number }>(
    `select coalesce(bin_start::text || case when bin_end is null then '+' when bin_end > bin_start + 1 then '–' || (bin_end - 1)::text else '' end, '') as label,
       session_count::int as sessions
     from analytics.session_distribution('views', $1, $2) order by bin_start`,
    period,
  );
  plot(
    `${key}-sessions`,
    "Sessions by page views",
    bars(
      "Sessions by page views",
      sessions.map(({ label, sessions: count }) => ({ label, value: count })),
    ),
  );
  await close();
}

report.push(
  "# Two real logs",
  "",
  "Two public logs of learning platforms, read by the functions of the room [`analytics`](../src/sql/analytics/README.md) as an analyst reads them: figures are those of groups of at",
  "least five people, and rounded. `bench/real_data.ts` writes this page and its plots, from data that are not part of the repository.",
  "",
);
await describe({
  name: "moodle",
  heading: "A course on Moodle",
  text:
    "The log of a blended course on learning analytics with 130 students, seven weeks of 2019, from [Learning Analytics Methods and Tutorials](https://lamethods.org) (Saqr and\n" +
    "López-Pernas, Springer 2024; [data](https://github.com/lamethods/data)). Views of activities are page views, posts and submissions events.",
  log: readMoodle(moodle),
  since: "2019-09-09",
  until: "2019-10-28",
  steps: ["Page Viewed", "Post Created", "Task Submitted"],
  course: "Learning Analytics",
  nodes: "page_or_event",
  stops: null,
  bucket: "week",
});
const kdd = readXuetangx(xuetangx);
const seats = new Map<string, number>();
for (const { item } of kdd.enrolments) seats.set(item, (seats.get(item) ?? 0) + 1);
await describe({
  name: "xuetangx",
  heading: "Courses of XuetangX",
  text:
    "A sample of the log of KDD Cup 2015: the events of 227 enrolments in courses of XuetangX, June and July of 2014, each read as a person. Items have no names, and are shown by\n" +
    "their kind, here with their rank. Stops are those of the course with most enrolments in the sample.",
  log: kdd,
  since: "2014-06-04",
  until: "2014-07-19",
  steps: ["Page Viewed", "Video Watched", "Problem Tried"],
  course: [...seats].toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? "",
  nodes: "event",
  stops: "chapter",
  bucket: "day",
});
writeFileSync(`${target}.md`, `${report.join("\n").trimEnd()}\n`);
process.exit();
