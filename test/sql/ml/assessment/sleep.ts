import type { TestDatabase } from "../../../support/database.ts";

/** Makes lab.sleep, a row for each person, and lab.slept, a row for each value, from Student's data of 1908 (`sleep` of R). */
export async function sleep(database: TestDatabase): Promise<void> {
  await database.query(`
    create table lab.sleep as
    select *
    from unnest(
      array[0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2]::float8[],
      array[1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]::float8[]
    ) as pair (a, b);
    create table lab.slept as
    select true as first, a as value from lab.sleep union all select false, b from lab.sleep`);
}
