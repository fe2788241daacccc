import type { Queries } from "../../support/database.ts";

/** The key of a person by name. */
export const key = (db: Queries, name: string): Promise<string> =>
  db.value<string>("select track.find_person($1)", [name]);

export const keys = (db: Queries, ...names: string[]): Promise<string[]> =>
  Promise.all(names.map((name) => key(db, name)));

/** The names of the people of a set: the first user of each, or else the first browser. */
export async function members(db: Queries, set: string): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(
    `select name.external_id as name
     from track.person_set_members($1) as member
     join track.identity as name on name.identity_id = member
     order by 1`,
    [set],
  );
  return rows.map(({ name }) => name);
}
