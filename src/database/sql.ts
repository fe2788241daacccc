import { join } from "node:path";
import { compile } from "graphile-migrate";
import { packageRoot } from "../paths.ts";

export const migrationsDirectory: string = join(packageRoot, "migrations");

/**
 * SQL with every line `--!include path.sql` replaced by that file of `src/sql`: what graphile-migrate makes of it when a
 * migration is committed. Only a checkout has these files; the published package has migrations.
 */
export async function compileSql(sql: string, name: string): Promise<string> {
  return await compile(
    // No connection is made: the settings want the name of a database for placeholders, of which we have none.
    { connectionString: "postgres:///unused", migrationsFolder: migrationsDirectory },
    sql,
    { filename: name },
  );
}

/** A file of `src/sql` with all that it includes. */
export async function expandSql(path: string): Promise<string> {
  return await compileSql(`--!include ${path}\n`, `expanded ${path}`);
}
