import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, vi } from "vitest";
import { startApi } from "../../src/api/server.ts";
import { readConfig } from "../../src/config.ts";
import { type Metrics, openMetricsPort, startMetrics } from "../../src/metrics/metrics.ts";
import { packageRoot } from "../../src/paths.ts";
import { startWorker } from "../../src/worker/worker.ts";
import { asDatabase, secret } from "./api.ts";
import type { TestDatabase } from "./database.ts";

/* The Grafana dashboard of the installation, and processes whose metrics it shows. */

export const dashboard = JSON.parse(await readFile(join(packageRoot, "docs", "grafana", "insights.json"), "utf8"));

export interface Target {
  panel: string;
  expr: string;
  legend: string;
}

export const targets: Target[] = dashboard.panels.flatMap(
  ({ title, targets = [] }: { title: string; targets?: { expr: string; legendFormat: string }[] }) =>
    targets.map(({ expr, legendFormat }) => ({ panel: title, expr, legend: legendFormat })),
);

/** A query as Grafana fills it in. */
export const fillIn = (expr: string): string => expr.replaceAll("$__rate_interval", "5m").replaceAll("$job", ".*");

export interface Processes {
  /** Address of the port of the metrics. */
  metricsUrl: string;
  /** Sends a message that is accepted, one that is refused, and a query that is refused. */
  request(): Promise<void>;
  /** Has the worker refresh, and stops it. */
  finishWorker(): Promise<void>;
  close(): Promise<void>;
}

/** An API that has had two requests, and a worker, whose metrics have a port of their own. */
export async function startProcesses(database: TestDatabase): Promise<Processes> {
  const config = readConfig({
    DATABASE_URL: database.url(),
    PORT: "0",
    INSIGHTS_JWT_SECRET: secret,
    INSIGHTS_POOL_SIZE: "3",
    INSIGHTS_METRICS_PORT: "0",
  });
  const target = asDatabase(database);
  const port = await openMetricsPort(config);
  const metrics = (await startMetrics(config, target, port)) as Metrics;
  const api = await startApi(config, target, undefined, metrics);
  const post = async (body: object): Promise<void> => {
    const headers = { "content-type": "application/json" };
    await (await fetch(`${api.url}/graphql`, { method: "POST", headers, body: JSON.stringify(body) })).text();
  };
  let requests = 0;
  const request = async (): Promise<void> => {
    requests += 1;
    await post({
      query: "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }",
      variables: { batch: [{ type: "track", event: "Opened", anonymousId: "a", messageId: `${requests}` }, {}] },
    });
    await post({ query: "{ unknown }" });
  };
  await request();
  const worker = await startWorker(config, target, metrics);
  let isStopped = false;
  const stopWorker = async (): Promise<void> => {
    if (!isStopped) await worker.close();
    isStopped = true;
  };
  return {
    metricsUrl: port?.url ?? "",
    request,
    async finishWorker() {
      await database.query("select insights_queue.add_job('insights:refresh', job_key => 'insights:refresh')");
      await vi.waitFor(
        async () => {
          const ended = "select count(*)::int from monitor.run where outcome = 'ok'";
          expect(await database.value<number>(ended)).toBeGreaterThan(0);
        },
        { timeout: 120_000, interval: 500 },
      );
      await stopWorker();
    },
    async close() {
      await stopWorker();
      await api.close();
      await metrics.close();
    },
  };
}
