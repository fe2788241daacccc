/*
 * The cost of measuring: what it adds to a request, and what /metrics that is scraped each second adds to the requests
 * of a quiet client.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/metrics.ts [requests]
 *
 * The measuring of a request is timed alone, as the API does it: the plugin with the search for the operation, the
 * histogram of the database and that of Prometheus. The peer is the same request to the API, over HTTP. The quiet client
 * sends one request at a time; the rounds with and without scraper alternate, so that both see the same machine.
 */
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createMeasurements } from "../src/api/measurements.ts";
import { startApi } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { createLatencies } from "../src/metrics/latencies.ts";
import { openMetricsPort, startMetrics } from "../src/metrics/metrics.ts";
import { benchDatabase } from "./database.ts";

const requests = Number(process.argv[2] ?? 2000);

const at = (times: number[], part: number): number => times[Math.floor(part * (times.length - 1))] ?? 0;

function describe(times: number[]): string {
  times.sort((a, b) => a - b);
  return `median ${at(times, 0.5).toFixed(2)} ms   99 % ${at(times, 0.99).toFixed(2)} ms`;
}

const { client, url, embedded, name, close } = await benchDatabase();
try {
  console.log(name);
  const config = readConfig({
    DATABASE_URL: url,
    PORT: "0",
    INSIGHTS_METRICS_PORT: "0",
    INSIGHTS_JWT_SECRET: "x".repeat(40),
  });
  const target = { url, embedded, pooler: embedded, own: false, close: async () => {} };
  const port = await openMetricsPort(config);
  const metrics = await startMetrics(config, target, port);
  if (metrics === undefined || port === undefined) throw new Error("no metrics");
  const api = await startApi({ ...config, addressRate: 1_000_000 }, target, undefined, metrics);
  await client.query("select monitor.observe(array(select probe from monitor.probe))");

  const body = JSON.stringify({
    query: "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }",
    variables: { batch: [] },
  });
  const ask = async (): Promise<number> => {
    const began = performance.now();
    const response = await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    await response.text();
    return performance.now() - began;
  };
  for (let count = 0; count < 200; count += 1) await ask();

  const without: number[] = [];
  const beside: number[] = [];
  const scrapes: number[] = [];
  let bytes = 0;
  for (let round = 0; round < 6; round += 1) {
    const isScraped = round % 2 === 1;
    let scraping = Promise.resolve();
    const scrape = async (): Promise<void> => {
      const began = performance.now();
      bytes = (await (await fetch(`${port.url}/metrics`)).text()).length;
      scrapes.push(performance.now() - began);
    };
    const timer = isScraped
      ? setInterval(() => {
          scraping = scraping.then(scrape);
        }, 1000)
      : undefined;
    for (let count = 0; count < requests; count += 1) (isScraped ? beside : without).push(await ask());
    clearInterval(timer);
    await scraping;
  }
  console.log(`a request of trackIngest without messages            ${describe(without)}`);
  console.log(`the same, while /metrics is scraped each second      ${describe(beside)}`);
  console.log(
    `a scrape (${scrapes.length} of them, ${Math.round(bytes / 1000)} kB)                       ${describe(scrapes)}`,
  );

  // The measuring alone, in this process.
  const latencies = createLatencies(async () => []);
  const countRequest = (await startMetrics(config, target, { ...port, serve() {} }))?.ofRequests({
    inProgress: () => 0,
    waiting: () => 0,
    pool: { totalCount: 0, idleCount: 0 },
  });
  const measurements = createMeasurements((measured) => {
    countRequest?.(measured);
    const { operation, seconds = 0, messages } = measured;
    latencies.add({ operation, seconds, failed: false, messages });
  });
  const many = 200_000;
  const began = performance.now();
  for (let count = 0; count < many; count += 1) {
    const request = {} as IncomingMessage;
    const response = new EventEmitter() as unknown as ServerResponse;
    measurements.begin(request, response, "/healthz", true);
    measurements.received(request);
    response.emit("prefinish");
    response.emit("close");
  }
  const each = (performance.now() - began) / many;
  console.log(
    `measuring a request                                  ${(1000 * each).toFixed(2)} µs, ${((100 * each) / at(without, 0.5)).toFixed(3)} % of it`,
  );
  await latencies.close();
  await api.close();
  await metrics.close();
} finally {
  await close();
}
process.exit(0);
