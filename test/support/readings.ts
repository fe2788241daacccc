import type { Queries } from "./database.ts";

/*
 * A call of each function that reads, from the catalogue: with a value for each argument that it needs, and with a set of
 * people and a breakdown where it takes them.
 */
const rooms = ["track", "privacy", "experiment", "analytics", "recommend", "monitor"];

/** Those that write a log of the read, and are volatile for it. */
const loggedReads =
  /^(analytics\.(anomalies|funnel|forecast|course_learners|trend|paths|journey|interventions)|track\.(journey|my_journey|list_person_set)|privacy\.disclosures|experiment\.(attributes|evaluate_features))/;

/** They are about this server, or about the moment. */
const ofTheServer =
  /^(monitor\.|track\.distribution_steps|recommend\.serving_times|experiment\.(decision|features|definition|history|report)|privacy\.(export_person|verify_ledger))/;

export interface Subject {
  person: string;
  personId: string;
  people: readonly string[];
  item: string;
  itemId: string;
  eventName: string;
  eventTypeId: number;
  /** A set of people, for `among`; null: all people. */
  among: string | null;
  breakdown: string | null;
  since: string;
  until: string;
  experiment: string;
}

interface Known {
  signature: string;
  room: string;
  name: string;
  arguments: { name: string; type: string; optional: boolean }[];
}

const literal = (value: string): string => `'${value.replaceAll("'", "''")}'`;

/** SQL of the calls by the signatures of the functions. */
export async function readings(db: Queries, subject: Subject): Promise<Map<string, string>> {
  const functions = await db.rows<Known & { volatile: boolean }>(
    `select proc.oid::regprocedure::text as signature, namespace.nspname as room, proc.proname as name,
       proc.provolatile = 'v' as volatile,
       coalesce((
         select json_agg(json_build_object('name', argument.name, 'type', format_type(argument.type, null),
           'optional', argument.place > proc.pronargs - proc.pronargdefaults) order by argument.place)
         from unnest(proc.proargnames[:proc.pronargs], proc.proargtypes::oid[]) with ordinality as argument (name, type, place)
       ), '[]') as arguments
     from pg_proc as proc
     join pg_namespace as namespace on namespace.oid = proc.pronamespace
     where namespace.nspname = any ($1) and proc.prokind = 'f' and proc.proname !~ '^_' and proc.provolatile in ('s', 'v')
       and proc.prorettype <> 'trigger'::regtype
     order by 1`,
    [rooms],
  );
  const count = subject.people.length;
  const of = (value: string, type: string): string => `array_fill(${value}::${type}, array[${count}])`;
  const people = `'{${subject.people.join(",")}}'::bigint[]`;
  const since = literal(subject.since);
  const until = literal(subject.until);
  const orNull = (value: string | null): string => (value === null ? "null" : literal(value));
  const values: Record<string, string> = {
    person: literal(subject.person),
    person_id: subject.personId,
    people,
    of_people: people,
    identities: people,
    identity_ids: people,
    subject: `track.subject(${literal(subject.person)})`,
    item: literal(subject.item),
    course: literal(subject.item),
    items: `array[${literal(subject.item)}]`,
    item_id: subject.itemId,
    courses: `array[${subject.itemId}]::bigint[]`,
    event_name: literal(subject.eventName),
    event_type_id: String(subject.eventTypeId),
    first_day: since,
    end_day: until,
    first_month: `date_trunc('month', ${since}::timestamp)::date`,
    end_month: `date_trunc('month', ${until}::timestamp + interval '1 month')::date`,
    month: `date_trunc('month', ${until}::timestamp)::date`,
    first_days: of(since, "date"),
    end_days: of(until, "date"),
    times: of(until, "timestamptz"),
    occurred_at: of(until, "timestamptz"),
    steps: `'[{"event": "Course Enrolled"}, {"event": "Page Viewed"}, {"event": "Task Submitted"}]'`,
    step: "1",
    set_name: literal(subject.among ?? "counted"),
    set_names: `array[${literal(subject.among ?? "counted")}]`,
    name: literal(subject.among ?? "counted"),
    purpose: "'personalization'",
    purposes: "'{personalization}'",
    property: "'score'",
    bucket: "'week'",
    zone: "'UTC'",
    measure: "'events'",
    among: orNull(subject.among),
    breakdown: orNull(subject.breakdown),
    top_values: "10",
    birth_date: "'2000-01-01'",
    kinds: "'{user}'",
    names: `array[${literal(subject.person)}]`,
    experiment: literal(subject.experiment),
  };
  const calls = new Map<string, string>();
  for (const known of functions) {
    const name = `${known.room}.${known.name}`;
    if (ofTheServer.test(name) || (known.volatile && !loggedReads.test(name))) continue;
    const given = known.arguments.filter(
      (argument) =>
        !argument.optional ||
        ["since", "until"].includes(argument.name) ||
        (subject.among !== null && argument.name === "among") ||
        (subject.breakdown !== null && argument.name === "breakdown"),
    );
    const missing = given.find(
      (argument) => values[argument.name] === undefined && !/^(since|until)$/.test(argument.name),
    );
    if (missing !== undefined) continue;
    const list = given.map((argument) => {
      const isList = argument.type.endsWith("[]");
      if (argument.name === "since") return `since => ${isList ? of(since, "timestamptz") : since}`;
      if (argument.name === "until") return `until => ${isList ? of(until, "timestamptz") : until}`;
      if (argument.name === "name" && /trait/.test(known.name)) return "name => 'plan'";
      return `${argument.name} => ${values[argument.name]}`;
    });
    calls.set(known.signature, `select to_jsonb(found) as found from ${name}(${list.join(", ")}) as found`);
  }
  return calls;
}
