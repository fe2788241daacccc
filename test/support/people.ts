import type { Queries } from "./database.ts";

/** People whose keys are 1 to the given number, with a user name each. */
export async function makePeople(db: Queries, count = 20): Promise<void> {
  await db.query(
    `insert into track.identity (identity_id, kind, external_id, person_id) overriding system value
     select number, 'user', 'person-' || number, number from generate_series(1, $1) as number`,
    [count],
  );
  await db.query("insert into track.person (person_id) select generate_series(1, $1)", [count]);
  await db.query("select setval(pg_get_serial_sequence('track.identity', 'identity_id'), 1000)");
}
