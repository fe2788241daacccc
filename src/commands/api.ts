import { Command } from "commander";
import { startApi } from "../api/server.ts";
import { readConfig } from "../config.ts";
import { openDatabase } from "../database/connect.ts";
import { migrate } from "../database/migrate.ts";
import { untilEnded } from "./ending.ts";

export default new Command()
  .description("Serves the GraphQL API and its pages. `insights start` contains one.")
  .addHelpText("after", "\nListens on PORT of HOST (5678 on 127.0.0.1). Ends at Ctrl-C, after the requests at hand.")
  .action(async () => {
    const config = readConfig();
    const database = await openDatabase(config, "api");
    try {
      if (database.own) await migrate(database.migrationUrl ?? database.url);
      const api = await startApi(config, database);
      console.log(`ready: ${api.url}/graphql, ${api.url}/graphiql to try it, ${api.url}/healthz`);
      await untilEnded(database);
      await api.close();
    } finally {
      await database.close();
    }
  });
