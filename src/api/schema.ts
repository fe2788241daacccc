import type pg from "pg";

/** The API of a database in the schema definition language: the content of `schema.graphql`. */
export async function describeApi(pool: pg.Pool): Promise<string> {
  // Imported late: environment variables that PostGraphile reads may be set until then (see `startApi`).
  const [{ makeSchema }, { lexicographicSortSchema, printSchema }, { insightsService, preset }] = await Promise.all([
    import("postgraphile"),
    import("postgraphile/graphql"),
    import("./preset.ts"),
  ]);
  const { schema } = await makeSchema({ extends: [preset], pgServices: [insightsService(pool)] });
  return `${printSchema(lexicographicSortSchema(schema))}\n`;
}
