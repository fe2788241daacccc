import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";

const root = fileURLToPath(new URL("../../../shared/data/", import.meta.url));
const cache = new Map<string, Record<string, string | null>[]>();

const path = (name: string): string => `${root}${name}.csv.gz`;

/** Whether the data set, such as `movielens_100k/ratings`, is on this machine. It is not part of the repository. */
export function hasDataset(name: string): boolean {
  return existsSync(path(name));
}

/** The rows of `../shared/data/<name>.csv.gz`; an empty field is null. */
export function dataset(name: string): Record<string, string | null>[] {
  let rows = cache.get(name);
  if (rows === undefined) {
    rows = parse(gunzipSync(readFileSync(path(name))), {
      columns: true,
      bom: true,
      cast: (value) => (value === "" ? null : value),
    }) as Record<string, string | null>[];
    cache.set(name, rows);
  }
  return rows;
}
