import "graphile-worker";
import { createAuthenticate } from "./src/api/authentication.ts";
import { authenticationOptions } from "./src/api/server.ts";
import { readConfig } from "./src/config.ts";
import { createPool, withClient } from "./src/database/connect.ts";
import { findEmbedded } from "./src/database/embedded.ts";
import { queueSchema } from "./src/database/logins.ts";
import { isPooled } from "./src/database/pooler.ts";

/*
 * For the tools of the Graphile family, such as `npx graphile config print`, `npx postgraphile` and `npx
 * graphile-worker`. They use the same database as `insights start`: DATABASE_URL, or the running embedded database.
 */
const config = readConfig();
const url = config.databaseUrl ?? (await findEmbedded(config.dataDirectory))?.url;
const pooler = config.databaseUrl === undefined || (config.pooler ?? (await withClient(config.databaseUrl, isPooled)));
if (pooler) process.env["DATAPLAN_PG_PREPARED_STATEMENT_CACHE_SIZE"] = "0";
const { insightsService, preset: api } = await import("./src/api/preset.ts");

const preset: GraphileConfig.Preset = {
  extends: [api],
  insights: { authenticate: createAuthenticate(await authenticationOptions(config)) },
  pgServices: url === undefined ? [] : [insightsService(createPool({ url }, config.poolSize))],
  worker: {
    ...(url === undefined ? {} : { connectionString: url }),
    schema: queueSchema,
    taskDirectory: `${import.meta.dirname}/src/worker/tasks.ts`,
    crontabFile: `${import.meta.dirname}/crontab`,
    preparedStatements: !pooler,
  },
};

export default preset;
