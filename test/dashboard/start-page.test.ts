import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { buildSchema, parse, validate } from "postgraphile/graphql";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";

interface Queries {
  counts: Record<string, [label: string, field: string][]>;
  examples: Record<string, Record<string, string>>;
  liveQuery(role: string): string;
}

// A script of the browser, without types.
const { counts, examples, liveQuery } = (await import(
  pathToFileURL(join(packageRoot, "src/dashboard/queries.js")).href
)) as Queries;
const schema = buildSchema(await readFile(join(packageRoot, "schema.graphql"), "utf8"));

describe("the queries of the start page match the schema", () => {
  test.each(Object.keys(counts))("live numbers of a role: %s", (role) => {
    expect(validate(schema, parse(liveQuery(role))).map(String)).toEqual([]);
  });

  test.each(
    Object.entries(examples).flatMap(([role, list]) =>
      Object.entries(list).map(([label, query]) => [role, label, query]),
    ),
  )("%s: %s", (_role, _label, query) => {
    expect(validate(schema, parse(query ?? "")).map(String)).toEqual([]);
  });
});
