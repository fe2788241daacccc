import type { TestDatabase } from "../support/database.ts";

/** The settings under which the expected results are computed, and all results are read. */
export const usual = { datestyle: "ISO, MDY", timezone: "UTC", intervalstyle: "postgres", extra_float_digits: "1" };

/** Columns that differ from run to run. */
const volatile_ = ["duration", "exec_time", "created_at", "received_at"];

/** Sums depend on the order of rows in their last digits, whatever the settings. */
function rounded(value: unknown): unknown {
  if (typeof value === "number") return Number(value.toPrecision(9));
  if (Array.isArray(value)) return value.map(rounded);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, rounded(entry)]));
}

/** Runs each of the steps under the settings, in one transaction; returns the results, or the error, of each. */
export async function computeUnder(
  database: TestDatabase,
  steps: Record<string, string>,
  settings: Record<string, string>,
): Promise<Record<string, unknown>> {
  const client = await database.pool.connect();
  const set = async (values: Record<string, string>): Promise<void> => {
    await client.query("select set_config(name, value, true) from json_each_text($1) as setting (name, value)", [
      JSON.stringify(values),
    ]);
  };
  const results: Record<string, unknown> = {};
  const read = async (name: string, relation: string): Promise<void> => {
    const { rows } = await client.query<{ row: unknown }>(
      `select to_jsonb(given) - $1::text[] as row from ${relation} as given`,
      [volatile_],
    );
    results[name] = rows.map(({ row }) => JSON.stringify(rounded(row))).sort();
  };
  try {
    await client.query("begin");
    let count = 0;
    for (const [name, sql] of Object.entries(steps)) {
      await client.query("savepoint before");
      try {
        await set(settings);
        await client.query(
          `create table lab.answer_${++count} as ${sql.replace(/^\s*select (\w+\.\w+\([\s\S]*\))\s*$/, "select $1 as answer").replace(/ as answer$/, "::text as answer")}`,
        );
      } catch (error) {
        await client.query("rollback to savepoint before");
        await set(usual);
        results[name] = error instanceof Error ? error.message : error;
        continue;
      }
      await set(usual);
      await read(name, `lab.answer_${count}`);
    }
    const { rows } = await client.query<{ name: string }>(
      "select relname as name from pg_class where relnamespace = 'lab'::regnamespace and relkind = 'r' and relname !~ '^answer_' order by 1",
    );
    for (const { name } of rows) await read(`table ${name}`, `lab.${name}`);
    const { rows: months } = await client.query<{ bounds: string }>(
      "select pg_get_expr(relpartbound, oid) as bounds from pg_class where relname ~ '^event_203' and relkind = 'r' order by relname",
    );
    results["months made"] = months.map(({ bounds }) => bounds);
    return results;
  } finally {
    await client.query("rollback").finally(() => client.release());
  }
}
