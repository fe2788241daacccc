/*
 * Response times of one client of the embedded database, which has one session for all: while the worker runs every
 * scheduled task, with all events unprocessed and no model trained, and alone afterwards.
 *
 * npm exec -- node bench/jobs.ts
 *
 * The client is a learner who requests recommendations over HTTP, one request at a time with 20 ms between them.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { signToken } from "../src/api/authentication.ts";
import { startApi } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { createPool, openDatabase } from "../src/database/connect.ts";
import { migrate } from "../src/database/migrate.ts";
import { midnight, Options } from "../src/simulator/options.ts";
import { simulate } from "../src/simulator/run.ts";
import { runWorkerOnce } from "../src/worker/worker.ts";

const directory = await mkdtemp(join(tmpdir(), "insights-bench-"));
const secret = randomBytes(32).toString("hex");
const config = readConfig({ INSIGHTS_DATA_DIR: directory, INSIGHTS_JWT_SECRET: secret, PORT: "0" });
const database = await openDatabase(config, "bench");
try {
  await migrate(database.migrationUrl ?? database.url);
  const pool = createPool(database, 2);
  const client = await pool.connect();
  const { accepted, learners } = await simulate(client, Options.parse({ until: midnight(new Date()) }), () => {});
  client.release();
  const { rows } = await pool.query<{ name: string }>(
    "select external_id as name from track.identity where kind = 'user' order by identity_id limit 1",
  );
  const api = await startApi(config, database);
  const token = await signToken({ role: "learner", person: rows[0]?.name, source: undefined }, { secret });

  const ask = async (until: () => boolean): Promise<number[]> => {
    const times: number[] = [];
    while (!until()) {
      const began = performance.now();
      const response = await fetch(`${api.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify({ query: "{ recommendForMe(top: 10) { nodes { item score } } }" }),
      });
      const answer = (await response.json()) as { errors?: unknown };
      if (answer.errors !== undefined) throw new Error(JSON.stringify(answer.errors));
      times.push(performance.now() - began);
      await wait(20);
    }
    return times.sort((a, b) => a - b);
  };
  const report = (label: string, times: number[]): void => {
    const at = (part: number): string => (times[Math.ceil(times.length * part) - 1] ?? 0).toFixed(1).padStart(8);
    console.log(`${label.padEnd(26)} median ${at(0.5)} ms   95 % ${at(0.95)} ms   longest ${at(1)} ms`);
  };

  console.log(`embedded, ${learners} learners, ${accepted} events`);
  let working = true;
  const worked = runWorkerOnce(database).finally(() => {
    working = false;
  });
  report("with every scheduled task", await ask(() => !working));
  await worked;
  const end = performance.now() + 5000;
  report("alone", await ask(() => performance.now() > end));
  const runs = await pool.query<{ task: string; seconds: string }>(
    "select task, round(extract(epoch from sum(finished_at - started_at)), 1) as seconds from monitor.run group by task order by 2 desc",
  );
  console.log(`tasks: ${runs.rows.map(({ task, seconds }) => `${task} ${seconds} s`).join(", ")}`);
  await api.close();
  await pool.end();
} finally {
  await database.close();
  await rm(directory, { recursive: true });
}
