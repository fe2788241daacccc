import { Command } from "commander";
import { readConfig } from "../config.ts";
import { openDatabase } from "../database/connect.ts";
import { migrate } from "../database/migrate.ts";
import { runWorkerOnce, startWorker } from "../worker/worker.ts";
import { untilSignal } from "./shutdown.ts";

export default new Command()
  .description("Keeps sessions, rollups, views, partitions and models up to date. `insights start` includes it.")
  .option("--once", "run every task once, then exit")
  .addHelpText("after", "\nStops at Ctrl-C, after the job in progress. monitor.run records each run.")
  .action(async (options: { once?: true }) => {
    const config = readConfig();
    const database = await openDatabase(config, "worker");
    try {
      if (database.own) await migrate(database.migrationUrl ?? database.url);
      if (options.once) {
        await runWorkerOnce(database);
        return;
      }
      const worker = await startWorker(config, database);
      console.log("ready: the worker is running");
      await untilSignal(database);
      await worker.close();
    } finally {
      await database.close();
    }
  });
