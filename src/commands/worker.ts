import { Command } from "commander";
import { readConfig } from "../config.ts";
import { openDatabase } from "../database/connect.ts";
import { migrate } from "../database/migrate.ts";
import { type Metrics, openMetricsPort, startMetrics } from "../metrics/metrics.ts";
import { runWorkerOnce, startWorker } from "../worker/worker.ts";
import { untilSignal } from "./shutdown.ts";

export default new Command()
  .description("Keeps sessions, rollups, views, partitions and models up to date. `insights start` includes it.")
  .option("--once", "run every task once, then exit")
  .addHelpText("after", "\nStops at Ctrl-C, after the job in progress. monitor.run records each run.")
  .action(async (options: { once?: true }) => {
    const config = readConfig();
    const metricsPort = options.once ? undefined : await openMetricsPort(config);
    const database = await openDatabase(config, "worker").catch(async (error: unknown) => {
      await metricsPort?.close();
      throw error;
    });
    let metrics: Metrics | undefined;
    try {
      if (database.own) await migrate(database.migrationUrl ?? database.url);
      if (options.once) {
        await runWorkerOnce(database);
        return;
      }
      if (metricsPort !== undefined) metrics = await startMetrics(config, database, metricsPort);
      const worker = await startWorker(config, database, metrics);
      console.log(`ready: the worker is running${metricsPort ? `, ${metricsPort.url}/metrics` : ""}`);
      await untilSignal(database);
      await worker.close();
    } finally {
      await metricsPort?.close();
      await metrics?.close();
      await database.close();
    }
  });
