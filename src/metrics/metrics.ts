import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { answer, type Listener, openListener, problem } from "../api/listener.ts";
import type { Measured } from "../api/measurements.ts";
import type { Config } from "../config.ts";
import type { Database } from "../database/connect.ts";
import { latencyBounds } from "./latencies.ts";

/*
 * Metrics in Prometheus' text format: those of this process and, from `monitor.metrics()`, those of the installation.
 * Labels are names of the schema, of tasks and of the catalogue; nothing of a person is in them.
 */

export interface Metrics {
  /** The metrics of the API: returns a function that counts a request. */
  ofRequests(state: RequestState): (measured: Measured) => void;
  /** The metrics of the worker: returns a function that counts a job that has ended. */
  ofJobs(): (job: { task: string; seconds: number; failed: boolean }) => void;
  /** Answers a request for /metrics on the port of the API. False: it does not exist for this request. */
  answerOnApi(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
  close(): Promise<void>;
}

/** Current numbers of the API. */
export interface RequestState {
  inProgress(): number;
  waiting(): number;
  pool: { readonly totalCount: number; readonly idleCount: number };
}

/** Connections of scrapers. Above it, a new one replaces an idle one. */
const scraperConnections = 200;

/** Milliseconds for which scrapers get the same text. */
const shared = 1000;

/** The port of /metrics; undefined unless INSIGHTS_METRICS_PORT is set. Commands open it before any other work. */
export async function openMetricsPort({ metricsHost, metricsPort }: Config): Promise<Listener | undefined> {
  if (metricsPort === undefined) return undefined;
  return await openListener(
    {
      host: metricsHost,
      port: metricsPort,
      variables: { host: "INSIGHTS_METRICS_HOST", port: "INSIGHTS_METRICS_PORT" },
    },
    { connections: scraperConnections },
  );
}

const hash = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Compares in a time that does not depend on the token. */
function createTokenCheck(token: string): (request: IncomingMessage) => boolean {
  const expected = hash(token);
  return ({ headers }) => {
    const sent = /^Bearer +(\S{1,1000})$/i.exec(headers.authorization ?? "")?.[1];
    return timingSafeEqual(hash(sent ?? ""), expected);
  };
}

/** The metrics of this process, served on `port`; undefined unless the configuration has a port or a token for them. */
export async function startMetrics(config: Config, database: Database, port?: Listener): Promise<Metrics | undefined> {
  const { metricsToken } = config;
  if (port === undefined && metricsToken === undefined) return undefined;
  // Loaded only where it is used.
  const [{ collectDefaultMetrics, Counter, Gauge, Histogram, Registry }, { createDatabaseMetrics }] = await Promise.all(
    [import("prom-client"), import("./database.ts")],
  );
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const up = new Gauge({
    name: "insights_up",
    help: "Whether the metrics of the database could be read: 1, or 0 when it did not answer in time.",
    registers: [registry],
  });
  const fromDatabase = createDatabaseMetrics(database);
  let text: Promise<string> | undefined;
  let textAt = Number.NEGATIVE_INFINITY;

  const compose = async (): Promise<string> => {
    const series = await fromDatabase.read();
    up.set(series === undefined ? 0 : 1);
    return `${await registry.metrics()}\n${series ?? ""}`;
  };

  const scrape = async (response: ServerResponse): Promise<void> => {
    if (text === undefined || performance.now() - textAt >= shared) {
      text = compose();
      textAt = performance.now();
    }
    const body = await text;
    response.writeHead(200, {
      "content-type": registry.contentType,
      "cache-control": "no-store",
      "content-length": Buffer.byteLength(body),
    });
    response.end(body);
  };

  const isAllowed = metricsToken === undefined ? undefined : createTokenCheck(metricsToken);

  port?.serve(async (request, response) => {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    if (path !== "/metrics" || request.method !== "GET") {
      answer(response, 404, problem(`${path.slice(0, 100)} does not exist`, "CF002", "GET /metrics."));
    } else if (isAllowed?.(request) === false) {
      response.setHeader("www-authenticate", "Bearer");
      const hint = "Send Authorization: Bearer with the value of INSIGHTS_METRICS_TOKEN.";
      answer(response, 401, problem("the token of the metrics is missing or wrong", "28000", hint));
    } else await scrape(response);
  });

  return {
    ofRequests({ inProgress, waiting, pool }) {
      const registers = [registry];
      const requests = new Counter({
        name: "insights_api_requests_total",
        help: "Requests by field of the schema or route, and by outcome: ok, refused, busy, failed, closed.",
        labelNames: ["operation", "outcome"],
        registers,
      });
      const durations = new Histogram({
        name: "insights_api_request_duration_seconds",
        help: "From the last byte of a request to its answer, by field of the schema or route.",
        labelNames: ["operation"],
        // Every other bound of common.duration_bounds(), from 1 ms to 66 s.
        buckets: latencyBounds.filter((_bound, index) => index % 2 === 0).slice(1, -1),
        registers,
      });
      const messages = new Counter({
        name: "insights_api_messages_total",
        help: "Messages in batches of trackIngest that were not refused as a whole.",
        registers,
      });
      new Gauge({
        name: "insights_api_requests_in_progress",
        help: "Requests that are being received or answered.",
        registers,
        collect() {
          this.set(inProgress());
        },
      });
      new Gauge({
        name: "insights_api_requests_waiting",
        help: "Requests that wait for a connection of the pool.",
        registers,
        collect() {
          this.set(waiting());
        },
      });
      new Gauge({
        name: "insights_api_pool_connections",
        help: "Connections of the API to the database, by state: busy, idle.",
        labelNames: ["state"],
        registers,
        collect() {
          this.set({ state: "idle" }, pool.idleCount);
          this.set({ state: "busy" }, pool.totalCount - pool.idleCount);
        },
      });
      return ({ operation, outcome, seconds, messages: sent }) => {
        requests.inc({ operation, outcome });
        if (seconds !== undefined) durations.observe({ operation }, seconds);
        if (sent > 0) messages.inc(sent);
      };
    },

    ofJobs() {
      const jobs = new Counter({
        name: "insights_worker_jobs_total",
        help: "Jobs that this worker has run, by task and outcome: ok, failed.",
        labelNames: ["task", "outcome"],
        registers: [registry],
      });
      const seconds = new Counter({
        name: "insights_worker_job_seconds_total",
        help: "Seconds that the jobs of this worker took, by task.",
        labelNames: ["task"],
        registers: [registry],
      });
      return ({ task, seconds: taken, failed }) => {
        jobs.inc({ task, outcome: failed ? "failed" : "ok" });
        seconds.inc({ task }, taken);
      };
    },

    async answerOnApi(request, response) {
      if (isAllowed?.(request) !== true) return false;
      await scrape(response);
      return true;
    },

    async close() {
      await port?.close();
      await fromDatabase.close();
    },
  };
}
