import { Command } from "commander";
import { readConfig } from "../config.ts";
import { openDatabase } from "../database/connect.ts";
import { distribute } from "../database/distribution.ts";

export default new Command()
  .description(
    "Preview: distributes the large tables over the workers of a cluster of Citus, in place, or brings them back. " +
      "Safe to repeat, and to kill: the next run continues.",
  )
  .option("--undo", "bring the rows back to the coordinator, and add the foreign keys again")
  .addHelpText(
    "after",
    `
DATABASE_URL names the coordinator. Each node has the extension citus in a database of the same name, and pgvector; the workers
were added by citus_add_node. Writes of a table wait while its rows are moved. docs/scaling.md states what does not work on a cluster yet.
`,
  )
  .action(async (options: { undo?: true }) => {
    const config = readConfig();
    const database = await openDatabase(config, "distribute");
    try {
      const steps = await distribute(database.migrationUrl ?? database.url, {
        undo: options.undo === true,
        say: console.log,
      });
      if (steps === 0) console.log(options.undo === true ? "nothing is distributed" : "everything is distributed");
    } finally {
      await database.close();
    }
  });
