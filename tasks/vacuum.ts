import pg from "pg";
import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/**
 * Updates statistics and frees space where autovacuum does not run, as in the embedded database; otherwise there is
 * nothing to do.
 */
export default defineTask({
  name: "vacuum",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>(
      `select not exists (select from pg_catalog.pg_stat_activity where backend_type = 'autovacuum launcher')
         and version() like '%wasm%' as any`,
    );
    return found?.any === true;
  },
  async run(_payload, tools) {
    const tables = await tools.call<{ schema: string; name: string }>(
      `select schemaname as schema, relname as name
       from pg_catalog.pg_stat_user_tables
       where n_mod_since_analyze > 0 or n_dead_tup > 0
       order by n_mod_since_analyze desc, 1, 2`,
    );
    // One table per statement: other clients use the session in between.
    for (const { schema, name } of tables) {
      if (tools.stopping) break;
      const table = `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(name)}`;
      await tools.withClient((client) => client.query(`vacuum (analyze) ${table}`));
    }
    return { rows: tables.length };
  },
});
