import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { Command } from "commander";
import { readConfig } from "../config.ts";
import { openDatabase, withClient } from "../database/connect.ts";
import { migrate } from "../database/migrate.ts";
import { dryRun, plan } from "../database/plan.ts";
import type { LockWait } from "../database/release.ts";
import { InsightsError } from "../errors.ts";

interface Options {
  plan?: true;
  dryRun?: true;
  yes?: true;
}

async function confirmed({ yes }: Options): Promise<boolean> {
  if (yes === true) return true;
  if (!process.stdin.isTTY) {
    throw new InsightsError("--dry-run holds these locks while it runs, and there is no terminal to confirm it", {
      hint: "Run it with --yes.",
    });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test(await terminal.question("Run it and roll it back? (y/N) "));
  } finally {
    terminal.close();
  }
}

export default new Command()
  .description(
    "Creates roles, pgvector and the job queue where they are missing, and applies the releases of this version. " +
      "Safe to repeat, to run from several places at once, and to kill.",
  )
  .option("--plan", "print what is pending and which locks it takes; change nothing")
  .option("--dry-run", "print the plan, ask, run it in one transaction, print what was locked, roll back")
  .option("--yes", "with --dry-run: do not ask")
  .addHelpText(
    "after",
    `
Each release runs in one transaction. A statement that waits for a lock makes other sessions wait behind it, so it gives up
after INSIGHTS_LOCK_TIMEOUT milliseconds (400); the release is rolled back and tried again, INSIGHTS_LOCK_TRIES times (10,
over two and a half minutes), and each time the session that holds the lock is printed. Indexes on partitioned tables are
built concurrently, partition by partition, after the releases; if that is interrupted, the next run continues.
A release that changes derived data queues all people; their data are then refreshed, some people at a time, while readers and
writers continue. If that is interrupted, the workers or the next run continue.
Months of events that do not begin at 00:00 UTC are repaired one by one in the same way, while reads and writes of events wait.`,
  )
  .action(async (options: Options) => {
    const config = readConfig();
    if (
      (options.plan === true || options.dryRun === true) &&
      config.databaseUrl === undefined &&
      !existsSync(join(config.dataDirectory, "database", "PG_VERSION"))
    ) {
      // Opening the embedded database would create it.
      throw new InsightsError(
        `there is no embedded database in ${config.dataDirectory} yet, and DATABASE_URL is not set`,
        {
          hint: "insights migrate creates it, with every release of this version.",
        },
      );
    }
    const lockWait: LockWait = { lockTimeout: config.lockTimeout, tries: config.lockTries, say: console.error };
    const database = await openDatabase(config, "migrate");
    try {
      const url = database.migrationUrl ?? database.url;
      if (options.plan === true || options.dryRun === true) {
        const lines = await withClient(url, plan);
        for (const line of lines) console.log(line);
        if (options.dryRun !== true || !(await confirmed(options))) return;
        for (const line of await withClient(url, (client) => dryRun(url, client, lockWait))) {
          console.log(line);
        }
        return;
      }
      const { applied, current, indexed, months, pageViews, refreshed, ahead, temporaryRevoked } = await migrate(
        url,
        lockWait,
      );
      for (const name of applied) console.log(`applied ${name}`);
      if (temporaryRevoked)
        console.log("revoked temporary on this database from public: it contains no other application");
      if (current) console.log("applied the changes of this checkout");
      if (months > 0) console.log(`moved ${months} boundaries between months of events to 00:00 UTC`);
      if (pageViews > 0) console.log(`moved ${pageViews} page views into their sessions`);
      if (refreshed > 0) console.log(`refreshed the derived data of ${refreshed} people`);
      if (indexed > 0) console.log(`built or attached the indexes of ${indexed} partitions`);
      if (ahead.length > 0) console.log(`the database is ahead of this version: it has release ${ahead.join(", ")}`);
      else if (applied.length === 0 && !current && indexed + months + pageViews + refreshed === 0)
        console.log("up to date");
    } finally {
      await database.close();
    }
  });
