import { Command } from "commander";
import { openListener } from "../api/listener.ts";
import { startApi } from "../api/server.ts";
import { readConfig } from "../config.ts";
import { type Database, openDatabase, withClient } from "../database/connect.ts";
import { checkApiLogin } from "../database/logins.ts";
import { migrate } from "../database/migrate.ts";
import { type Metrics, openMetricsPort, startMetrics } from "../metrics/metrics.ts";
import { untilSignal } from "./shutdown.ts";

export default new Command()
  .description("Serves the GraphQL API and its pages. `insights start` includes it.")
  .addHelpText(
    "after",
    "\nListens on PORT of HOST (5678 on 127.0.0.1). Stops at Ctrl-C, after the requests in progress.",
  )
  .action(async () => {
    const config = readConfig();
    // Before any other work, so that a port that is taken is reported before anything is changed.
    const listener = await openListener(config);
    const metricsPort = await openMetricsPort(config);
    let database: Database | undefined;
    let metrics: Metrics | undefined;
    try {
      database = await openDatabase(config, "api");
      if (database.own) await migrate(database.migrationUrl ?? database.url);
      await withClient(database.url, checkApiLogin);
      metrics = await startMetrics(config, database, metricsPort);
      const api = await startApi(config, database, listener, metrics);
      console.log(
        `ready: ${api.url}/graphql, ${config.graphiql ? `${api.url}/graphiql to try it, ` : ""}${api.url}/healthz${metricsPort ? `, ${metricsPort.url}/metrics` : ""}`,
      );
      await untilSignal(database);
      await api.close();
    } finally {
      await Promise.all([listener.close(), metricsPort?.close()]);
      await metrics?.close();
      await database?.close();
    }
  });
