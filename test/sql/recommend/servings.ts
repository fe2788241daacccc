import type { Queries } from "../../support/database.ts";

export const DAY = 86_400_000;
export const start = Date.UTC(2026, 0, 1);
/** A time, in days after the first of January 2026. */
export const at = (day: number): string => new Date(start + Math.round(day * DAY)).toISOString();

export interface Listed {
  /** Name for which the list was made; null: a list for no person. */
  person: string | null;
  item: string;
  rank?: number;
  /** Days after the first of January 2026. */
  day: number;
  basis?: string;
  propensity?: number | null;
  pool?: string[] | null;
  model?: number | null;
}

/** A signed id, as a list of this time would have it. People and items exist. */
export const signed = (db: Queries, listed: Listed): Promise<string> =>
  db.value<string>(
    `select recommend._serving_id(
       secret, $1, (select item_id from track.item where external_id = $2), $3, $4, $5,
       (
         select identity_id from track.identity
         where external_id = $6 and kind in ('user', 'anonymous') order by kind desc, identity_id limit 1
       ),
       $7,
       (select array_agg(item_id order by place) from unnest($8::text[]) with ordinality as name (external_id, place)
        join track.item using (external_id))
     )
     from recommend.secret`,
    [
      listed.model ?? null,
      listed.item,
      listed.rank ?? 1,
      listed.propensity ?? null,
      at(listed.day),
      listed.person,
      listed.basis ?? "model",
      listed.pool ?? null,
    ],
  );

/** Records a row as served at the time of its list, which `serve_me` does only at the present time. */
export const served = (db: Queries, id: string): Promise<unknown> =>
  db.query(
    `insert into recommend.impression (
       person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served
     )
     select
       (track.people_of_identities(array[read.identity_id], array[read.listed_at]))[1], read.serving_key,
       read.identity_id, read.model_id, read.item_id, read.rank, read.basis, read.propensity, read.pool,
       read.listed_at, true
     from recommend._read_serving_id($1) as read`,
    [id],
  );

export interface Impression {
  person: string;
  item: string;
  rank: number;
  is_served: boolean;
  seen_at: string | null;
  clicked_at: string | null;
  dismissed_at: string | null;
  liked_at: string | null;
  liking: number | null;
  withdrawn_at: string | null;
  completed_at: string | null;
}

const iso = (column: string): string =>
  `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as ${column}`;

/** The stored rows. Ranks identify the rows of a test. */
export const impressions = (db: Queries): Promise<Impression[]> =>
  db.rows<Impression>(
    `select person.external_id as person, item.external_id as item, rank, is_served, liking,
       ${["seen_at", "clicked_at", "dismissed_at", "liked_at", "withdrawn_at", "completed_at"].map(iso).join(", ")}
     from recommend.impression
     join track.identity as person on person.identity_id = impression.person_id
     join track.item using (item_id)
     order by rank, person.external_id`,
  );
