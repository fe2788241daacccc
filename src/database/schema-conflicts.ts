import type pg from "pg";
import { InsightsError } from "../errors.ts";
import { queueSchema } from "./logins.ts";

/** The schemas of the installation. */
const schemas = [
  "common",
  "ml",
  "privacy",
  "track",
  "experiment",
  "analytics",
  "recommend",
  "monitor",
  queueSchema,
  "graphile_migrate",
];

interface Conflict {
  name: string;
  owner: string;
}

/**
 * Refuses a database in which another application has one of our schemas, before anything is changed. Our own are those
 * that `insights_owner` owns.
 */
export async function checkSchemaConflicts(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<Conflict>(
    `select nspname::text as name, pg_catalog.pg_get_userbyid(nspowner)::text as owner
     from pg_catalog.pg_namespace
     where nspname = any ($1) and pg_catalog.pg_get_userbyid(nspowner) <> 'insights_owner'
     order by nspname`,
    [schemas],
  );
  if (rows.length === 0) return;
  const [first] = rows as [Conflict];
  const many = rows.length > 1;
  const list = rows.map(({ name, owner }) => `"${name}" (owner "${owner}")`).join(", ");
  throw new InsightsError(
    `the database has ${many ? "schemas" : "a schema"} of another application where Insights needs ${many ? "its" : "one of its"} own: ${list}`,
    {
      hint:
        "Nothing was changed. Give Insights a database of its own (create database insights; then set DATABASE_URL to it)" +
        // The name of graphile-migrate's schema is fixed.
        (rows.some(({ name }) => name === "graphile_migrate")
          ? ": the application uses graphile-migrate too, and two sets of migrations in one database are not possible."
          : `, or rename the application's: alter schema "${first.name}" rename to …`),
    },
  );
}
