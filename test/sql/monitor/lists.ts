import type { Queries } from "../../support/database.ts";

/** A Monday. */
const beginning = Date.UTC(2025, 0, 6);
/** A time, in weeks after the Monday of the simulated lists. */
export const week = (weeks: number): string => new Date(beginning + Math.round(weeks * 7 * 86_400_000)).toISOString();

export interface Lists {
  people: number;
  /** Simulated weeks, numbered from 0; each has one list per person. */
  weeks: number;
  seed: number;
}

/** Courses, two versions, and people whom no client can invent. */
export async function makeWorld(db: Queries, people: number): Promise<void> {
  await db.query(
    `insert into track.item (external_id, kind) select 'course ' || n, 'course' from generate_series(1, 60) as n;
     insert into ml.project (name, task, metric) values ('recommend.course', 'recommendation', 'ndcg_at_10');
     insert into ml.model (project_id, version, algorithm)
     select project_id, version, 'ease' from ml.project, generate_series(1, 2) as version`,
  );
  await db.query(
    `insert into track.person_set_block (name, block, people)
     select 'counted', block, bit_or(b'1'::bit(4096) >> (person_id % 4096)::int)
     from (select n::bigint as person_id, n / 4096 as block from generate_series(1, $1::int) as n) as person
     group by block`,
    [people],
  );
}

/** The true examination of a rank. */
export const examined = (rank: number): number => rank ** -0.8;

/**
 * Lists of ten in which good courses are above bad ones, nearly always in version 1 and less often in version 2. A row is
 * clicked with the probability (examination of the rank) × (relevance of the course) × (how much the person clicks).
 */
export async function makeLists(db: Queries, { people, weeks, seed }: Lists): Promise<void> {
  await db.query("select setseed($1)", [seed]);
  await db.query(
    `insert into recommend.impression (
       person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at
     )
     select
       person_id, gen_random_uuid(), model_id, item_id, rank, 'model', listed_at, true,
       case
         when random() < power(rank, -0.8) * (0.6 - 0.009 * place) * activity then listed_at + interval '1 minute'
       end
     from (
       select listed.*, row_number() over (
         partition by person_id, listed_at order by place + case version when 1 then 20 else 60 end * random()
       )::int as rank
       from (
         select person.n::bigint as person_id, 0.2 + 1.2 * (person.n * 7 % 11) / 10.0 as activity, item.item_id,
           item.place, model.model_id, model.version,
           $3::timestamptz + week.n * interval '7 days' + person.n * interval '1 minute' as listed_at
         from generate_series(1, $1::int) as person (n)
         cross join generate_series(0, $2::int - 1) as week (n)
         cross join lateral (
           select item_id, row_number() over (order by item_id) as place from track.item where kind = 'course'
         ) as item
         join ml.model on model.version = 1 + (person.n + week.n) % 2
         where random() < 0.4
       ) as listed
     ) as ranked
     where rank <= 10`,
    [people, weeks, week(0)],
  );
}
