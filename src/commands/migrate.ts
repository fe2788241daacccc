import { Command } from "commander";
import { readConfig } from "../config.ts";
import { openDatabase } from "../database/connect.ts";
import { migrate } from "../database/migrate.ts";

export default new Command()
  .description(
    "Creates roles, pgvector and the job queue where they are missing, and applies the migrations of this version. " +
      "Safe to repeat, and to run from several places at once.",
  )
  .action(async () => {
    const database = await openDatabase(readConfig(), "migrate");
    try {
      const { applied, current, temporaryRevoked } = await migrate(database.migrationUrl ?? database.url);
      for (const name of applied) console.log(`applied ${name}`);
      if (temporaryRevoked) console.log("revoked temporary on this database from public: it holds nothing else");
      if (current) console.log("applied current.sql");
      if (applied.length === 0 && !current) console.log("up to date");
    } finally {
      await database.close();
    }
  });
