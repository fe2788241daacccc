import { compile, migrationsDirectory } from "./graphile-migrate.ts";

export { migrationsDirectory };

/**
 * SQL with every line `--!include path.sql` replaced by that file of `src/sql`, as graphile-migrate does when a
 * migration is committed.
 */
export const compileSql = compile;

/** A file of `src/sql` with all its includes. */
export async function expandSql(path: string): Promise<string> {
  return await compile(`--!include ${path}\n`, `expanded ${path}`);
}
