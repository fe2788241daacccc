import type pg from "pg";
import { makeSchema } from "postgraphile";
import { lexicographicSortSchema, printSchema } from "postgraphile/graphql";
import { insightsService, preset } from "./preset.ts";

/** The API of a database in the schema definition language: what `schema.graphql` holds. */
export async function describeApi(pool: pg.Pool): Promise<string> {
  const { schema } = await makeSchema({ extends: [preset], pgServices: [insightsService(pool)] });
  return `${printSchema(lexicographicSortSchema(schema))}\n`;
}
