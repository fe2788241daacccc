/*
 * Pages of xAPI statements: the milliseconds of `track.statements` by what is queried, over many statements of one source, of
 * which one in a hundred refers to another one. The peer is the plain query of the same table: those with the keys, in their
 * order, without what refers to them.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/statements.ts [statements]
 *
 * Verbs, by the statements that have them: one in ten, one in twenty, one in a thousand, and one in ten of the oldest
 * only. The smallest of five times is shown, so that other work of the machine counts little.
 */
import { benchDatabase } from "./database.ts";

const count = Number(process.argv[2] ?? 300_000);
const { client, name, close } = await benchDatabase();
await client.query("set jit to off");
const one = async (text: string, values: unknown[] = []): Promise<unknown> =>
  Object.values((await client.query<Record<string, unknown>>(text, values)).rows[0] ?? {})[0];
const key = await one("select write_key from track.create_write_key('lrs', 'server')");
await client.query("select set_config('insights.write_key', encode(sha256(convert_to($1, 'UTF8')), 'hex'), false)", [
  key,
]);
const source = await one("select source_id from track.source where name = 'lrs' and level = 'server'");

await client.query(
  `create temporary table made as
   select
     number, timestamptz '2026-01-01 00:00:00Z' + number * interval '1 second' as stored_at,
     case when number % 100 = 99 then md5('statement ' || number - 17)::uuid end as reference_id,
     'mailto:person' || number % 10000 || '@example.org' as agent,
     'https://example.org/activities/' || number / 300 as activity,
     'https://example.org/courses/' || number % 20 as course,
     md5('registration ' || number % 3000)::uuid::text as registration,
     'https://example.org/verbs/' || case
       when number % 1000 = 7 then 'rare'
       when number < ${count} / 10 then 'old'
       when number % 20 = 3 then 'twentieth'
       else 'tenth ' || number % 10
     end as verb
   from generate_series(1, ${count}) as number`,
);
// Each key is computed once.
await client.query("create temporary table key (kind text, value text, key bigint, primary key (kind, value))");
await client.query(
  `insert into key
   select
     kind, value,
     track._statement_key(
       $1, kind,
       case when kind like '%agent' then track._agent_identifier(jsonb_build_object('mbox', value)) else value end
     )
   from (
     select distinct sought.kind, sought.value
     from made
     cross join lateral (
       values
         ('verb', verb), ('agent', agent), ('related agent', agent), ('activity', activity),
         ('related activity', activity), ('related activity', course), ('registration', registration)
     ) as sought (kind, value)
   ) as sought`,
  [source],
);
await client.query("analyze made, key");
await client.query(
  `insert into track.statement (
     source_id, statement_id, stored_at, statement, keys, people, reference_id, bytes, occurred_at
   )
   select
     $1, md5('statement ' || made.number)::uuid, made.stored_at,
     jsonb_build_object(
       'id', md5('statement ' || made.number)::uuid, 'actor', jsonb_build_object('mbox', made.agent),
       'verb', jsonb_build_object('id', made.verb),
       'object', jsonb_build_object('id', made.activity, 'definition', jsonb_build_object('description', repeat('x', 100))),
       'context', jsonb_build_object('registration', made.registration, 'platform', repeat('x', 200))
     ),
     array[verb.key, agent.key, related.key, activity.key, related_activity.key, course.key, registration.key], '{}',
     made.reference_id, 700, made.stored_at
   from made
   join key as verb on verb.kind = 'verb' and verb.value = made.verb
   join key as agent on agent.kind = 'agent' and agent.value = made.agent
   join key as related on related.kind = 'related agent' and related.value = made.agent
   join key as activity on activity.kind = 'activity' and activity.value = made.activity
   join key as related_activity
     on related_activity.kind = 'related activity' and related_activity.value = made.activity
   join key as course on course.kind = 'related activity' and course.value = made.course
   join key as registration on registration.kind = 'registration' and registration.value = made.registration
   order by made.number`,
  [source],
);
await client.query("vacuum analyze track.statement");

const verb = (name: string): object => ({ verb: `https://example.org/verbs/${name}` });
const day = (number: number): string => new Date(Date.UTC(2026, 0, 1) + number * 86_400_000).toISOString();
const queries: Record<string, object> = {
  "without a filter": {},
  "verb of one in ten": verb("tenth 2"),
  "the same, 500 per page": { ...verb("tenth 2"), limit: 500 },
  "the same, from the start": { ...verb("tenth 2"), ascending: "true" },
  "the same, of a day": { ...verb("tenth 2"), since: day(1), until: day(2) },
  "verb of one in twenty": verb("twentieth"),
  "verb of one in a thousand": verb("rare"),
  "verb of one in ten, the oldest only": verb("old"),
  "verb of none": verb("none"),
  agent: { agent: { mbox: "mailto:person7@example.org" } },
  "agent, also related": { agent: { mbox: "mailto:person7@example.org" }, related_agents: "true" },
  activity: { activity: "https://example.org/activities/500" },
  "related activity of one in twenty": { activity: "https://example.org/courses/3", related_activities: "true" },
  "the same with another verb": {
    ...verb("tenth 2"),
    activity: "https://example.org/courses/3",
    related_activities: "true",
  },
  registration: { registration: await one("select md5('registration 7')::uuid") },
};

async function fastest(text: string, values: unknown[]): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round += 1) {
    const began = performance.now();
    await client.query(text, values);
    best = Math.min(best, performance.now() - began);
  }
  return best;
}

console.log(`${name}: ${count.toLocaleString("en")} statements`);
for (const [label, query] of Object.entries(queries)) {
  const page = await fastest("select next, statements from track.statements($1)", [query]);
  const length = await one("select jsonb_array_length(statements) from track.statements($1)", [query]);
  const plain = await fastest(
    `select statement.stored_at, statement.statement
     from track.statement
     where source_id = $1 and not is_voided and keys @> track._queried_keys($2, $1) order by stored_at desc limit 101`,
    [source, query],
  );
  console.log(
    `${label.padEnd(36)} ${String(length ?? 0).padStart(4)} found  ${page.toFixed(1).padStart(6)} ms  plain ${plain.toFixed(1).padStart(6)} ms`,
  );
}
await close();
