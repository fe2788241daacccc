import { Command } from "commander";
import { readConfig } from "../config.ts";
import { openDatabase } from "../database/connect.ts";
import { migrate } from "../database/migrate.ts";
import { runWorkerOnce, startWorker } from "../worker/worker.ts";
import { untilEnded } from "./ending.ts";

export default new Command()
  .description("Keeps everything fresh: sessions, rollups, views, partitions, models. `insights start` contains one.")
  .option("--once", "do everything once, and end")
  .addHelpText("after", "\nEnds at Ctrl-C, after the job at hand. What each run did is in monitor.run.")
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
      console.log("ready: the worker looks after the database");
      await untilEnded(database);
      await worker.close();
    } finally {
      await database.close();
    }
  });
