import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildSchema, parse, validate } from "postgraphile/graphql";
import { expect, test } from "vitest";
import { examples } from "../../src/dashboard/examples.ts";
import * as documents from "../../src/dashboard/operations.ts";
import { queryInSql } from "../../src/dashboard/sql.ts";
import { packageRoot } from "../../src/paths.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

const database = await testDatabase();
await makeWorld(database);
await database.query(`
  create table public.staff (person text, item text, role text);
  insert into public.staff values ('tom', 'course-algebra', 'instructor');
  select track.sync_item_roles('public.staff');
  create table public.page (external_id text, parent text, kind text);
  insert into public.page values ('page-1', 'course-algebra', 'page'), ('page-2', 'course-algebra', 'page');
  select track.sync_items('public.page');
  select experiment.define_metric('views', 'proportion', array['Page Viewed']);
  select experiment.define_experiment(
    '{"key": "resume", "name": "Videos continue", "goals": ["views"], "variations": [{"key": "control"}, {"key": "treatment"}]}'
  );
  select experiment.start('resume');
`);
await database.as("insights_analyst", { "insights.person": "eve" }, (db) =>
  db.query("select analytics.save_view('Views of pages', '/explore?event=Page+Viewed', true, 'Term')"),
);
const { ask } = await testApi(database);

const schema = buildSchema(await readFile(join(packageRoot, "schema.graphql"), "utf8"));

test.each(
  Object.entries(examples).flatMap(([role, list]) =>
    Object.entries(list).map(([label, query]) => [role, label, query]),
  ),
)("the example of a %s matches the schema: %s", (_role, _label, query = "") => {
  expect(validate(schema, parse(query)).map(String)).toEqual([]);
});

const since = new Date(Date.now() - 10 * 86_400_000).toISOString();
const twentyDaysAgo = new Date(Date.now() - 20 * 86_400_000).toISOString();
const days = { since, zone: "Europe/Berlin" };
const course = { course: "course-algebra" };

/** Queries without a form in SQL, which have composite values, are not among them. */
const asked: Record<string, [who: string, variables: Record<string, unknown>]> = {
  ActivePeople: ["analyst:", days],
  ActivityByMinute: ["analyst:", {}],
  LatestDays: ["admin:", days],
  PageViews: ["analyst:", days],
  PopularItems: ["analyst:", { kind: "course", since, top: 3, breakdown: "set.segment", topValues: 2 }],
  TrendingItems: ["analyst:", { kind: "course", top: 3, measure: "events", breakdown: "set.segment" }],
  CourseSummaries: ["analyst:", {}],
  HourOfWeek: ["analyst:", days],
  OpenAlerts: ["admin:", {}],
  MySessions: ["learner:ada", {}],
  MyChronotype: ["learner:ada", { zone: "Asia/Tokyo" }],
  TaughtCourses: ["instructor:tom", {}],
  CourseLearners: ["instructor:tom", { ...course, search: "a", afterPerson: "a", top: 5 }],
  DropoutRisk: ["instructor:tom", { ...course, top: 5 }],
  CourseProgress: ["analyst:", course],
  StoppingPoints: ["analyst:", course],
  TaskDeadlines: ["analyst:", course],
  Models: ["analyst:", {}],
  Deployments: ["analyst:", {}],
  Projects: ["analyst:", {}],
  ProjectVersions: ["analyst:", { projectId: 1 }],
  ProjectDeployments: ["admin:", { projectId: 1 }],
  Comparisons: ["analyst:", { projectId: 1 }],
  Importances: ["analyst:", { project: "recommend.course", version: 1 }],
  Calibration: ["analyst:", { modelId: "1" }],
  Drift: ["analyst:", { modelId: "1" }],
  ScoreTenths: ["admin:", { kind: "course", since }],
  Relevance: ["analyst:", { by: "model", since }],
  WeeklyRelevance: ["analyst:", { since }],
  WhyNot: ["admin:", { person: "ada", item: "course-algebra" }],
  Rules: ["analyst:", {}],
  RuleItems: ["admin:", {}],
  RuleProblems: ["analyst:", {}],
  PreviewRule: ["admin:", { person: "ada", name: "spring", action: "boost", kind: "course", amount: 0.5 }],
  Interventions: ["instructor:tom", course],
  InterventionOutcomes: ["instructor:tom", course],
  Cost: ["analyst:", { since }],
  Consents: ["learner:ada", {}],
  Purposes: ["learner:ada", {}],
  MyRequests: ["learner:ada", {}],
  MyDisclosures: ["learner:ada", {}],
  MyData: ["learner:ada", {}],
  PendingRequests: ["admin:", {}],
  Erasures: ["admin:", {}],
  Disclosures: ["admin:", {}],
  RetentionPlan: ["admin:", {}],
  DataMap: ["admin:", {}],
  Health: ["admin:", {}],
  Latencies: ["admin:", { since }],
  TableState: ["admin:", {}],
  Runs: ["admin:", { first: 12 }],
  SlowStatements: ["admin:", {}],
  Names: ["analyst:", {}],
  Trend: ["analyst:", { since, eventName: "Page Viewed", breakdown: "item" }],
  TrendCompared: ["admin:", { ...days, formerSince: twentyDaysAgo, formerUntil: since, item: "course-algebra" }],
  Funnel: [
    "admin:",
    {
      since,
      steps: [{ event: "Course Enrolled" }, { event: "Page Viewed" }],
      conversionWindow: { days: 7 },
      stepOrder: "unordered",
      breakdown: "set.segment",
    },
  ],
  Retention: ["admin:", { ...days, bucket: "day", eventName: "Page Viewed", firstTime: true }],
  RetentionByValue: ["admin:", { ...days, bucket: "day", breakdown: "set.segment" }],
  Paths: ["admin:", { since, nodes: "event", steps: 3, top: 10 }],
  Lifecycle: ["analyst:", { ...days, bucket: "week" }],
  Stickiness: ["admin:", { ...days, orMore: true, breakdown: "set.segment" }],
  SessionTrend: ["admin:", { ...days, bucket: "week" }],
  SessionDistribution: ["analyst:", { since, measure: "views" }],
  SessionItems: ["admin:", { since, place: "exit" }],
  Experiments: ["analyst:", {}],
  ExperimentResults: ["analyst:", { experiment: "resume" }],
  ExperimentDays: ["admin:", { experiment: "resume" }],
  ExperimentHealth: ["analyst:", { experiment: "resume" }],
  ExperimentDecision: ["analyst:", { experiment: "resume" }],
  ExperimentHistory: ["admin:", { experiment: "resume" }],
  Design: [
    "analyst:",
    { baseline: { type: "proportion", mean: 0.2 }, effect: 0.1, users: [500, 500], options: { test: "welch" } },
  ],
  SavedViews: ["analyst:eve", {}],
  Segments: ["analyst:", {}],
  Cohorts: ["analyst:", {}],
  Timeline: ["admin:", { person: "ada", since }],
  LearnerTimeline: ["instructor:tom", { ...course, person: "ada", since }],
  MyTimeline: ["learner:ada", { since }],
};

/** Figures that change by being read, or from minute to minute. */
const changing = new Set([
  "ActivityByMinute",
  "Cost",
  "ExperimentDecision",
  "Health",
  "Latencies",
  "SlowStatements",
  "TableState",
  "MyData",
]);

const queries = Object.values(documents).filter(({ sql }) => sql.length > 0);

test("each query is tried below", () => {
  expect(Object.keys(asked).toSorted()).toEqual(queries.map(({ name }) => name).toSorted());
});

const camel = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** Rows of GraphQL with the names of SQL's, and only the values that JSON writes alike: no times, lengths of time, composites. */
function comparable(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row)
      .filter(([, value]) => value === null || typeof value !== "object")
      .map(([name, value]) => {
        const isTime = typeof value === "string" && /^\d{4}-\d\d-\d\d[T ]/.test(value);
        return [camel(name), isTime ? new Date(value).getTime() : value === null ? null : String(value)];
      }),
  );
}

test.each(queries.map((query) => [query.name, query] as const))(
  "the SQL that is shown for %s returns the rows of the GraphQL",
  async (name, query) => {
    const [who = "", variables = {}] = asked[name] ?? [];
    const { data, errors } = await ask(who.replace(/:$/, ""), query.text, variables);
    const [role, person] = who.split(":");
    const shown = queryInSql(query, variables).split("\n\n");
    if (errors.length > 0) {
      // Nothing is trained here, and servers of tests do not have pg_stat_statements.
      expect(["DropoutRisk CF006", "Importances CF002", "SlowStatements CF002"]).toContain(
        `${name} ${errors[0]?.extensions.code}`,
      );
      await database.as(`insights_${role}`, { "insights.person": person ?? "" }, async (db) => {
        await expect(db.query(shown[0] ?? "")).rejects.toThrow(errors[0]?.message);
      });
      return;
    }
    const fields = Object.values(data as Record<string, Record<string, unknown>>);
    expect(shown.length).toBe(fields.length);
    for (const [index, field] of fields.entries()) {
      const nodes = (field["nodes"] ?? [field]) as Record<string, unknown>[];
      await database.as(`insights_${role}`, person === "" ? {} : { "insights.person": person ?? "" }, async (db) => {
        const rows = await db.rows<{ row: Record<string, unknown> }>(
          `select to_jsonb(shown) as row from (${shown[index]?.replace(/;$/, "")}) as shown`,
        );
        if (typeof field !== "object" || Array.isArray(field)) {
          const values = rows.flatMap(({ row }) => Object.values(row)).flat();
          expect(values.map(String)).toEqual([field].flat().map(String));
          return;
        }
        if (changing.has(name)) {
          expect(rows.length > 0).toBe(nodes.length > 0);
          return;
        }
        const isNull = nodes.length === 1 && nodes[0] === null;
        const composite = new Set(
          nodes.flatMap((node) => Object.keys(node ?? {}).filter((key) => !(key in comparable(node ?? {})))),
        );
        const comparableIn = (row: Record<string, unknown>) =>
          Object.fromEntries(Object.entries(comparable(row)).filter(([key]) => !composite.has(key)));
        const kept = new Set(nodes.flatMap((node) => Object.keys(comparableIn(node ?? {}))));
        expect(
          rows.map(({ row }) => Object.fromEntries(Object.entries(comparable(row)).filter(([key]) => kept.has(key)))),
        ).toEqual(isNull ? [] : nodes.map(comparableIn));
      });
    }
  },
);

test("an argument that is not given is left out, and values are quoted", () => {
  expect(queryInSql(documents.popularItems, { kind: "o'clock", top: 3 })).toBe(
    "select breakdown_value, is_other, rank, item, title, person_count, event_count, engaged\n" +
      "from analytics.popular_items(\n  kind => 'o''clock',\n  top => 3\n);",
  );
  expect(queryInSql(documents.courseSummaries, {})).toMatch(/\nfrom analytics\.course_summaries\(\);$/);
});
