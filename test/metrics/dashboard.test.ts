import { join } from "node:path";
import { parser } from "@prometheus-io/lezer-promql";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { dashboard, fillIn, type Processes, startProcesses, targets } from "../support/dashboard.ts";
import { testDatabase } from "../support/database.ts";
import { parseMetrics, type Sample } from "../support/metrics.ts";

/*
 * The queries of the Grafana dashboard, parsed by Prometheus' own grammar and compared with the metrics of a running API
 * and worker; and the list of metrics in the documents. prometheus.test.ts has Prometheus evaluate them.
 */

const database = await testDatabase();
vi.spyOn(console, "log").mockImplementation(() => {});

interface CatalogueEntry {
  metric: string;
  kind: string;
  labels: string[];
  description: string;
}

let text: string;
let samples: Sample[];
let types: Map<string, string>;
let catalogue: CatalogueEntry[];
let processes: Processes | undefined;

beforeAll(async () => {
  processes = await startProcesses(database);
  await processes.finishWorker();
  await database.query("select monitor.observe(array(select probe from monitor.probe))");
  text = await (await fetch(`${processes.metricsUrl}/metrics`)).text();
  ({ samples, types } = parseMetrics(text));
  catalogue = await database.rows<CatalogueEntry>(
    "select metric, kind, labels, description from monitor.metric order by metric",
  );
});

afterAll(async () => {
  await processes?.close();
});

interface Matcher {
  label: string;
  operator: string;
  value: string;
}

interface Query {
  selectors: { metric: string; matchers: Matcher[] }[];
  /** Labels of `by (…)` and `without (…)`. */
  grouping: string[];
  errors: number;
}

function parseQuery(expr: string): Query {
  const query: Query = { selectors: [], grouping: [], errors: 0 };
  const filled = fillIn(expr);
  const textOf = ({ from, to }: { from: number; to: number }): string => filled.slice(from, to);
  parser.parse(filled).iterate({
    enter(node) {
      if (node.type.isError) query.errors += 1;
      if (node.name === "VectorSelector") query.selectors.push({ metric: "", matchers: [] });
      const selector = query.selectors.at(-1);
      if (node.name === "Identifier" && selector) selector.metric = textOf(node);
      if (node.name === "UnquotedLabelMatcher" && selector) {
        const [label, operator, value] = ["LabelName", "MatchOp", "StringLiteral"].map((name) => {
          const child = node.node.getChild(name);
          return child === null ? "" : textOf(child);
        }) as [string, string, string];
        selector.matchers.push({ label, operator, value: value === "" ? "" : JSON.parse(value) });
      }
      if (node.name === "GroupingLabels") query.grouping.push(...node.node.getChildren("LabelName").map(textOf));
    },
  });
  return query;
}

function matches({ label, operator, value }: Matcher, { labels }: Sample): boolean {
  const found = labels[label] ?? "";
  if (operator === "=" || operator === "!=") return (found === value) === (operator === "=");
  return new RegExp(`^(?:${value})$`, "s").test(found) === (operator === "=~");
}

/** Labels that Prometheus adds to each sample. */
const added = { job: "insights", instance: "127.0.0.1:9464" };

test("each query is valid, and selects series of the running processes or of the catalogue", () => {
  expect(targets.length).toBeGreaterThan(40);
  const measured = new Set<string>();
  for (const { panel, expr, legend } of targets) {
    const { selectors, grouping, errors } = parseQuery(expr);
    expect(errors, `${panel}: ${expr}`).toBe(0);
    expect(selectors.length, panel).toBeGreaterThan(0);
    for (const { metric, matchers } of selectors) {
      const of = samples
        .filter(({ name }) => name === metric)
        .map((sample) => ({ ...sample, labels: { ...sample.labels, ...added } }));
      const entry = catalogue.find((one) => one.metric === metric);
      // Parts that this installation does not have, such as a standby, are in the catalogue all the same.
      expect(of.length > 0 || entry !== undefined, `${panel}: there is no metric ${metric}`).toBe(true);
      const labels = new Set([
        ...Object.keys(added),
        ...(entry?.labels ?? []),
        ...of.flatMap((one) => Object.keys(one.labels)),
      ]);
      for (const label of [...matchers.map(({ label }) => label), ...grouping])
        expect([...labels], `${panel}: ${expr}`).toContain(label);
      for (const [, label = ""] of legend.matchAll(/\{\{(\w+)\}\}/g)) expect([...labels], panel).toContain(label);
      if (of.length === 0) continue;
      measured.add(metric);
      // A share of failures has no series before the first failure.
      const constant = matchers.filter(({ label, operator }) => !(label === "outcome" && operator === "=~"));
      expect(of.filter((sample) => constant.every((one) => matches(one, sample))).length, expr).toBeGreaterThan(0);
    }
  }
  expect(measured.size).toBeGreaterThan(20);
});

test("the parser of this test finds what is wrong", () => {
  expect(parseQuery("sum(rate(a{b=").errors).toBeGreaterThan(0);
  expect(parseQuery('topk(3, max without (instance) (a{b=~"$job", c!="d"}) / b > 0)')).toEqual({
    selectors: [
      {
        metric: "a",
        matchers: [
          { label: "b", operator: "=~", value: ".*" },
          { label: "c", operator: "!=", value: "d" },
        ],
      },
      { metric: "b", matchers: [] },
    ],
    grouping: ["instance"],
    errors: 0,
  });
});

test("counters are used with rate, and gauges without", () => {
  for (const { panel, expr } of targets) {
    for (const { metric } of parseQuery(expr).selectors) {
      const isCounter = /_(total|bucket|sum|count)$/.test(metric);
      const rated = new RegExp(`rate\\(${metric}\\{[^}]*\\}\\[`).test(expr);
      expect(rated, `${panel}: ${metric}`).toBe(isCounter);
    }
  }
});

test("panels have a title, a unit and a place of their own", () => {
  const cells = new Set<string>();
  const ids = new Set<number>();
  for (const { id, title, gridPos } of dashboard.panels) {
    expect(title).not.toBe("");
    expect(ids.has(id)).toBe(false);
    ids.add(id);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        expect(x).toBeLessThan(24);
        expect(cells.has(`${x} ${y}`), title).toBe(false);
        cells.add(`${x} ${y}`);
      }
    }
  }
});

test("docs/metrics.md lists each metric", async () => {
  const lines: string[] = [];
  for (const line of text.split("\n")) {
    const [, name = "", help = ""] = /^# HELP (insights_\w+) (.*)$/.exec(line) ?? [];
    if (name === "" || catalogue.some(({ metric }) => metric === name)) continue;
    const own = samples.filter((sample) => sample.name === name || sample.name === `${name}_bucket`);
    const labels = new Set(own.flatMap((sample) => Object.keys(sample.labels)));
    labels.delete("le");
    lines.push(
      `| \`${name}\` | ${types.get(name)} | ${[...labels].map((label) => `\`${label}\``).join(", ")} | ${help} |`,
    );
  }
  const head = ["| metric | kind | labels | description |", "|---|---|---|---|"];
  const list = [
    "# Metrics",
    "",
    "The metrics of `/metrics`, as a test writes them. [`monitoring.md`](monitoring.md) describes how to read them. Each process also has those of Node.js",
    "(`process_…`, `nodejs_…`).",
    "",
    "## Of a process",
    "",
    ...head,
    ...lines.sort(),
    "",
    "## Of the installation",
    "",
    "The catalogue `monitor.metric`; `monitor.metrics()` returns the values. Each process shows the same, so that a query takes one of them: `max without (instance, job) (…)`.",
    "",
    ...head,
    ...catalogue.map(
      ({ metric, kind, labels, description }) =>
        `| \`${metric}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${description.trim().split("\n", 1)[0]} |`,
    ),
    "",
  ];
  await expect(list.join("\n")).toMatchFileSnapshot(join(packageRoot, "docs", "metrics.md"));
});

test("the catalogue and the processes have no name in common, and the kinds agree", () => {
  for (const { metric, kind } of catalogue) {
    expect(metric).not.toMatch(/^insights_(api_|up$|worker_job)/);
    if (types.has(metric)) expect(types.get(metric)).toBe(kind);
    expect(metric.endsWith("_total")).toBe(kind === "counter");
  }
});
