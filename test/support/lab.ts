import { type TestDatabase, testDatabase } from "./database.ts";

/** A fresh copy of the migrated database for the calling test file, with the schema `lab` for what its tests make. */
export async function lab(): Promise<TestDatabase> {
  const database = await testDatabase();
  await database.query("create schema lab");
  return database;
}

/** Makes a table from rows, in place of the one that exists, with columns in SQL such as `id int, x float8[]`. */
export async function load(
  database: TestDatabase,
  table: string,
  columns: string,
  rows: readonly object[],
): Promise<void> {
  await database.query(`drop table if exists ${table} cascade`);
  await database.query(`create table ${table} (${columns})`);
  await database.query(`insert into ${table} select * from jsonb_to_recordset($1) as source (${columns})`, [
    JSON.stringify(rows),
  ]);
}
