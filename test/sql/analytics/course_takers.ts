import type { Queries } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";

const random = generator(11);

/** Enrolments of the people of `doings.ts`, of one who did nothing, and of one with two names. */
export const enrolments = ["course-a", "course-b"].flatMap((item) =>
  [...Array.from({ length: 12 }, (_, index) => `p${index}`), "idler", "twin-1", "twin-2"]
    .filter(() => random() < 0.8)
    .map((person) => ({
      person,
      item,
      status: random() < 0.4 ? "completed" : random() < 0.3 ? "dropped" : "active",
    })),
);

export async function makeEnrolments(database: Queries): Promise<void> {
  await database.query(
    `create table public.taken as
      select *, '2026-02-01Z'::timestamptz as enrolled_at,
        case when status <> 'active' then '2026-02-20Z'::timestamptz end as ended_at
      from jsonb_to_recordset($1) as taken (person text, item text, status text)`,
    [JSON.stringify(enrolments)],
  );
  await database.query("select track.sync_enrolments('public.taken')");
  await database.query("select track.link_identities('twin-1', 'twin-2')");
}

/** Enrolments, completions and dropped ones of counted people by course, from the tables: calls nothing of the room. */
export const COMPLETION = `
  select course, count(*)::int as enrolled, count(*) filter (where completed)::int as completed,
    count(*) filter (where ended and not completed)::int as dropped
  from (
    select item.external_id as course, person_id,
      bool_or(status = 'completed') as completed, bool_and(status in ('completed', 'dropped')) as ended
    from track.enrolment
    join track.item using (item_id)
    where item.kind = 'course'
      and exists (select from track.identity where person_id = enrolment.person_id and kind = 'user')
      and not exists (
        select from track.identity join track.exclusion using (identity_id) where person_id = enrolment.person_id
      )
    group by 1, 2
  ) as by_person
  group by 1`;
