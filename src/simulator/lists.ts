import { BATCH, ingest, type Queryable } from "../importer/deliver.ts";
import type { Message } from "../importer/message.ts";
import { SOURCE } from "./run.ts";

/** Lists are served in the last weeks of the simulated time, each time to some people: statements are short. */
const WEEKS = 5;
const PEOPLE = 20;

export interface ServedLists {
  lists: number;
  rows: number;
  shown: number;
  clicks: number;
}

/**
 * Lists that the people of a population were served in the past weeks, and their answers, with a known truth.
 *
 * The rows are those of `recommend.for_people`, whose order changes a little from week to week, as it does with other
 * versions and settings: with items at several ranks, what a rank contributes to the clicks can be estimated. A row is
 * examined, and so shown, with the probability `rank ^ -0.8`. An examined course is clicked with a probability that grows
 * with the similarity of its topics and the preferences of the person, from 0.02 to 0.6. The impressions are written as
 * `recommend.serve_person` writes them, at times in the past; the answers are events, as those of an application are.
 */
export async function serveLists(
  connection: Queryable,
  onProgress: (fraction: number) => void = () => undefined,
): Promise<ServedLists> {
  const summary: ServedLists = { lists: 0, rows: 0, shown: 0, clicks: 0 };
  const { rows: learners } = (await connection.query(
    "select person from canvas_flow_truth.learner order by person",
  )) as { rows: { person: string }[] };
  for (let at = 0; at < learners.length; at += PEOPLE) {
    const people = learners.slice(at, at + PEOPLE).map(({ person }) => person);
    const { rows } = (await connection.query(SERVE, [people, WEEKS])) as { rows: Answer[] };
    const messages = rows.flatMap((row) => answers(row));
    for (let from = 0; from < messages.length; from += BATCH)
      await ingest(connection, SOURCE, messages.slice(from, from + BATCH));
    summary.lists += rows.filter(({ rank }) => rank === 1).length;
    summary.rows += rows.length;
    summary.shown += rows.filter(({ shown_at }) => shown_at !== null).length;
    summary.clicks += rows.filter(({ clicked_at }) => clicked_at !== null).length;
    onProgress(Math.min(1, (at + PEOPLE) / learners.length));
  }
  return summary;
}

interface Answer {
  person: string;
  item: string;
  rank: number;
  serving_id: string;
  shown_at: Date | null;
  clicked_at: Date | null;
}

function answers({ person, item, serving_id, shown_at, clicked_at }: Answer): Message[] {
  const message = (event: string, time: Date): Message => ({
    type: "track",
    messageId: `${event} ${serving_id}`,
    userId: person,
    event,
    timestamp: time.toISOString(),
    properties: { item, servingId: serving_id },
  });
  return [
    ...(shown_at === null ? [] : [message("Recommendation Shown", shown_at)]),
    ...(clicked_at === null ? [] : [message("Recommendation Clicked", clicked_at)]),
  ];
}

/* Random numbers are hashes of person, course and week, so that the same lists have the same answers. */
const SERVE = `
  with served as materialized (
    select
      listed.person, listed.item_id, listed.item, listed.basis, listed.score, listed.rank,
      nullif(split_part(listed.serving_id, '.', 1), '0')::bigint as model_id
    from recommend.for_people($1::text[], 15, 'course') as listed
  ),

  list as materialized (
    select
      served.*, identity.identity_id, identity.person_id, learner.tastes,
      week.number as week,
      date_trunc(
        'milliseconds',
        population.until - week.number * interval '7 days'
          + (hashtextextended(served.person, week.number) & 65535) / 65536.0 * interval '6 days'
      ) as listed_at,
      row_number() over (
        partition by served.person, week.number
        order by
          served.rank + 6 * (hashtextextended(served.person || ' ' || served.item, week.number) & 65535) / 65536.0,
          served.rank
      )::int as place
    from served
    join canvas_flow_truth.learner on learner.person = served.person
    join track.identity on identity.external_id = served.person and identity.kind = 'user'
    cross join canvas_flow_truth.population
    cross join generate_series(1, $2::int) as week (number)
  ),

  signed as materialized (
    select
      list.*,
      recommend._serving_id(
        secret, list.model_id, list.item_id, list.place, null, list.listed_at, list.identity_id, list.basis
      ) as serving_id
    from list
    join canvas_flow_truth.learner on learner.person = list.person
    cross join recommend.secret
    where list.place <= 10
      and list.listed_at >= learner.joined_at
      and (learner.left_at is null or list.listed_at < learner.left_at)
  ),

  recorded as (
    insert into recommend.impression (
      person_id, serving_key, identity_id, model_id, item_id, rank, basis, listed_at, is_served, score, function_name
    )
    select
      person_id, right(serving_id, 32)::uuid, identity_id, model_id, item_id, place, basis, listed_at, true, score,
      'serve_person'
    from signed
    on conflict (person_id, serving_key) do nothing
  ),

  examined as (
    select
      signed.*,
      signed.listed_at + signed.place * interval '2 seconds' as looked_at,
      (hashtextextended(concat_ws(' ', 'shown', signed.person, signed.item), signed.week) & 65535) / 65536.0 < signed.place ^ -0.8::float8 as is_shown,
      (hashtextextended(concat_ws(' ', 'liked', signed.person, signed.item), signed.week) & 65535) / 65536.0 < 0.02 + 0.58 * (
        select sum(taste * topic) from unnest(signed.tastes, course.topics) as entry (taste, topic)
      ) as is_liked
    from signed
    join canvas_flow_truth.course on course.item = signed.item
  )

  select
    person, item, place as rank, serving_id,
    case when is_shown then looked_at end as shown_at,
    case when is_shown and is_liked then looked_at + interval '3 seconds' end as clicked_at
  from examined
  order by person, listed_at, place
`;
