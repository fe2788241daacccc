import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readingLimits } from "../../src/metrics/database.ts";
import { makeWorld } from "../sql/monitor/lists.ts";
import { fillIn, type Processes, startProcesses, targets } from "../support/dashboard.ts";
import { testDatabase } from "../support/database.ts";

/*
 * A Prometheus reads the metrics of a running API and worker, and evaluates each query of the Grafana dashboard.
 * INSIGHTS_TEST_PROMETHEUS is the directory of its programs `prometheus` and `promtool`; `.ci/run --full` sets it.
 */

const directory = process.env["INSIGHTS_TEST_PROMETHEUS"] ?? "";
const database = directory === "" ? (undefined as never) : await testDatabase();
vi.spyOn(console, "log").mockImplementation(() => {});

/** Queries without a result here, and why. */
const empty: Record<string, string> = {
  insights_replication_lag_bytes: "no standby",
  insights_replication_slot_retained_bytes: "no replication slot",
  insights_table_dead_rows: "no table of more than 10,000 rows",
};

interface Result {
  status: string;
  error?: string;
  data: { resultType: string; result: { metric: Record<string, string>; value: [number, string] }[] };
}

let processes: Processes | undefined;
let prometheus: ChildProcess | undefined;
let url = "";
let storage = "";

async function evaluate(expr: string): Promise<Result> {
  return (await (await fetch(`${url}/api/v1/query?query=${encodeURIComponent(fillIn(expr))}`)).json()) as Result;
}

/** The problem of the result of a query, if there is one. */
async function problemOf(expr: string): Promise<string | undefined> {
  const { status, error, data } = await evaluate(expr);
  if (status !== "success") return error ?? status;
  const isEmpty = Object.keys(empty).some((metric) => expr.includes(`${metric}{`));
  if (isEmpty) return data.result.length === 0 ? undefined : "has a result, and is listed without one";
  if (data.result.length === 0) return "no result";
  // NaN is what a division of nothing by nothing gives, and draws nothing.
  const unreadable = data.result.filter(({ value: [, text] }) => !Number.isFinite(Number(text)));
  return unreadable.length === 0 ? undefined : JSON.stringify(unreadable);
}

/** Starts it at a free port, which its log names. */
async function startPrometheus(target: string): Promise<void> {
  storage = await mkdtemp(join(tmpdir(), "insights-prometheus-"));
  const file = join(storage, "prometheus.yml");
  await writeFile(
    file,
    `global: { scrape_interval: 1s }
scrape_configs: [{ job_name: insights, static_configs: [{ targets: ["${new URL(target).host}"] }] }]
`,
  );
  const options = ["--web.listen-address=127.0.0.1:0", `--config.file=${file}`, `--storage.tsdb.path=${storage}/data`];
  prometheus = spawn(join(directory, "prometheus"), options, { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  prometheus.stderr?.on("data", (chunk) => {
    log += chunk;
  });
  await vi.waitFor(
    () => {
      const [, host] = /msg="?Listening on"? address=(127\.0\.0\.1:\d+)/.exec(log) ?? [];
      if (host === undefined) throw new Error(log);
      url = `http://${host}`;
    },
    { timeout: 30_000, interval: 100 },
  );
}

/** Lists of courses of a day ago and of a month ago, which people clicked, finished and dismissed; a drift; a failure. */
async function makeFigures(): Promise<void> {
  await makeWorld(database, 60);
  await database.query(`
    insert into ml.deployment (project_id, model_id, strategy, deployed_at)
    select project_id, model_id, 'manual', now() - interval '30 days' from ml.model where version = 1;
    insert into ml.drift (model_id, statistic, feature, value, verdict, row_count)
    select model_id, 'population_stability_index', 'weeks', 0.1, 'stable', 100 from ml.model where version = 1;
    insert into recommend.impression (
      person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at, completed_at,
      dismissed_at, score
    )
    select n, gen_random_uuid(), model_id, item_id, rank, 'model', listed_at, true,
      case when n % 3 = 0 then listed_at end, case when n % 6 = 0 then listed_at end,
      case when n % 5 = 0 then listed_at end, random()
    from generate_series(1, 60) as n
    cross join generate_series(1, 5) as rank
    cross join unnest(array[interval '30 hours', '25 days', '27 days']) as age
    cross join lateral (select now() - age as listed_at) as time
    join ml.model on model.version = 1
    join track.item on item.external_id = 'course ' || (rank + n % 4);
    select monitor.fail_run(monitor.start_run('evaluate'), 'an error');
  `);
}

describe.skipIf(directory === "")("Prometheus", () => {
  beforeAll(async () => {
    // Two readings of the database, in seconds.
    Object.assign(readingLimits, { fresh: 500 });
    await makeFigures();
    processes = await startProcesses(database);
    await processes.finishWorker();
    await database.query("select from track.check_rollups()");
    await startPrometheus(processes.metricsUrl);
  }, 180_000);

  afterAll(async () => {
    prometheus?.kill("SIGTERM");
    if (prometheus !== undefined && prometheus.exitCode === null) await once(prometheus, "exit");
    await processes?.close();
    await rm(storage, { recursive: true, force: true });
  });

  test("evaluates each query of the dashboard: finite numbers, or an empty result with a reason", async () => {
    const problems = async (): Promise<string[]> => {
      await database.query("select monitor.observe(array(select probe from monitor.probe))");
      await processes?.request();
      const found: string[] = [];
      for (const { panel, expr } of targets) {
        const problem = await problemOf(expr);
        if (problem !== undefined) found.push(`${panel}: ${expr}: ${problem}`);
      }
      return found;
    };
    await expect.poll(problems, { timeout: 60_000, interval: 1000 }).toEqual([]);
  }, 90_000);

  test("each name in a legend is a label of the results", async () => {
    for (const { panel, expr, legend } of targets) {
      const names = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, name = ""]) => name);
      for (const { metric } of (await evaluate(expr)).data.result)
        for (const name of names) expect(Object.keys(metric), `${panel}: ${expr}`).toContain(name);
    }
  });

  test("this test finds a query that is wrong", async () => {
    expect(await problemOf("sum(rate(")).toMatch(/parse error/);
    expect(await problemOf("insights_up{} / on (job) insights_database_bytes{}")).toBeUndefined();
    expect(await problemOf("insights_task_seconds{} / on (job) insights_queue_failed_jobs{}")).toMatch(/many-to-many/);
    expect(await problemOf("insights_gone{}")).toBe("no result");
    expect(await problemOf("0 * insights_up{} / 0")).toContain("NaN");
  });

  test("promtool has no remark on the metrics", async () => {
    const text = await (await fetch(`${processes?.metricsUrl}/metrics`)).text();
    const own = text
      .split("\n")
      .filter((line) => /^(?:# \w+ )?insights_/.test(line))
      .join("\n");
    const checked = spawnSync(join(directory, "promtool"), ["check", "metrics"], {
      input: `${own}\n`,
      encoding: "utf8",
    });
    expect(`${checked.stdout}${checked.stderr}`).toBe("");
    expect(checked.status).toBe(0);
  });
});
