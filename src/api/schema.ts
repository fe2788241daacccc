import type pg from "pg";

/** The API of a database in the schema definition language: what `schema.graphql` holds. */
export async function describeApi(pool: pg.Pool): Promise<string> {
  // Loaded late: what PostGraphile reads from the environment may be set until then (see `startApi`).
  const [{ makeSchema }, { lexicographicSortSchema, printSchema }, { insightsService, preset }] = await Promise.all([
    import("postgraphile"),
    import("postgraphile/graphql"),
    import("./preset.ts"),
  ]);
  const { schema } = await makeSchema({ extends: [preset], pgServices: [insightsService(pool)] });
  return `${printSchema(lexicographicSortSchema(schema))}\n`;
}
