import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds the product's SQL; includes are written relative to it. */
export const sqlDirectory = fileURLToPath(new URL("../sql", import.meta.url));

const include = /^--![ \t]*include[ \t]+(.*\.sql)[ \t]*$/gm;

/**
 * The text of a SQL file with every `--!include path.sql` line replaced by that file, as graphile-migrate does it when
 * a migration is committed. Paths are relative to `src/sql` and may not leave it.
 */
export async function expandSql(path: string, trail: readonly string[] = []): Promise<string> {
  if (relative(sqlDirectory, join(sqlDirectory, path)).startsWith("..")) {
    throw new Error(`"${path}" lies outside ${sqlDirectory}`);
  }
  if (trail.includes(path)) {
    throw new Error(`"${path}" includes itself: ${[...trail, path].join(" → ")}`);
  }
  const content = await readFile(join(sqlDirectory, path), "utf8").catch((cause: unknown) => {
    throw new Error(`cannot read "${path}"${trail.length > 0 ? `, included by "${trail.at(-1)}"` : ""}`, { cause });
  });
  const parts: string[] = [];
  let position = 0;
  for (const match of content.matchAll(include)) {
    const included = match[1] ?? "";
    parts.push(content.slice(position, match.index));
    parts.push(
      `--! Included ${included}\n${(await expandSql(included, [...trail, path])).trim()}\n--! EndIncluded ${included}`,
    );
    position = match.index + match[0].length;
  }
  return parts.join("") + content.slice(position);
}
