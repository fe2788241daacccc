import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/paths.ts";

/** The directory of the SQL source. */
export const sqlRoot = join(packageRoot, "src/sql");

export const withoutComments = (sql: string): string => sql.replace(/\/\*.*?\*\//gs, " ").replace(/--.*$/gm, " ");

/** The statements of a file of the SQL source, without its comments and those on objects. */
export const statementsOf = (path: string): string =>
  withoutComments(readFileSync(join(sqlRoot, path), "utf8")).replace(/^comment on .*?;$/gms, "");
