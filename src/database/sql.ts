import { fileURLToPath } from "node:url";
import { compile } from "graphile-migrate";

export const migrationsDirectory: string = fileURLToPath(new URL("../../migrations", import.meta.url));

/**
 * The text of a file of `src/sql` with every `--!include path.sql` line replaced by that file: what graphile-migrate
 * makes of it when a migration is committed. Only a checkout has these files; the published package has migrations.
 */
export async function expandSql(path: string): Promise<string> {
  return await compile(
    // No connection is made: the settings want the name of a database for placeholders, of which we have none.
    { connectionString: "postgres:///unused", migrationsFolder: migrationsDirectory },
    `--!include ${path}\n`,
    { filename: "expandSql" },
  );
}
