import type pg from "pg";
import type { Message } from "../src/importer/message.ts";
import { at, Random } from "../src/simulator/random.ts";

const DAY = 86_400_000;

export interface PlatformOptions {
  /** About as many; the number is random. */
  events: number;
  people: number;
  seed: number;
  /** The end of the events: a UTC midnight. They begin at the start of the same month of the year before. */
  until: number;
}

/** Names of events; the generated rows have the index in this list. */
const EVENTS = [
  "Page Viewed",
  "Heartbeat",
  "Video Playback Started",
  "Video Playback Completed",
  "Task Started",
  "Task Submitted",
  "Course Enrolled",
  "Course Started",
  "Course Completed",
  "Course Rated",
  "Search",
  "Reminder Sent",
] as const;
type EventName = (typeof EVENTS)[number];

/* Each course has 4 modules of 4 steps: 21 items. */
const COURSES = 200;
const STEPS = 16;
const ITEMS_OF_COURSE = 21;
const HOME = COURSES * ITEMS_OF_COURSE;
const STEP_KINDS = ["page", "video", "page", "task"] as const;
const courseItem = (course: number): number => course * ITEMS_OF_COURSE;
const moduleItem = (course: number, module: number): number => course * ITEMS_OF_COURSE + 1 + module * 5;
const stepItem = (course: number, step: number): number =>
  moduleItem(course, Math.floor(step / STEP_KINDS.length)) + 1 + (step % STEP_KINDS.length);

function buildItems(): { external_id: string; kind: string; title: string; parent: string | null }[] {
  const items = [];
  for (let course = 0; course < COURSES; course += 1) {
    const slug = `course-${course + 1}`;
    items.push({ external_id: slug, kind: "course", title: `Course ${course + 1}`, parent: null });
    for (let module = 0; module < STEPS / STEP_KINDS.length; module += 1) {
      const path = `${slug}/module-${module + 1}`;
      items.push({ external_id: path, kind: "module", title: `Module ${module + 1}`, parent: slug });
      for (const [position, kind] of STEP_KINDS.entries()) {
        items.push({ external_id: `${path}/${position + 1}`, kind, title: `Step ${position + 1}`, parent: path });
      }
    }
  }
  return [...items, { external_id: "home", kind: "page", title: "Dashboard", parent: null }];
}

/** Draws an index with probability in proportion to its weight. */
class Distribution {
  readonly #sums: Float64Array;

  constructor(weights: readonly number[]) {
    let sum = 0;
    this.#sums = Float64Array.from(weights, (weight) => {
      sum += weight;
      return sum;
    });
  }

  /** The weight of all indexes before `index`. */
  before(index: number): number {
    return index === 0 ? 0 : at(this.#sums, Math.min(index, this.#sums.length) - 1);
  }

  draw(random: Random, low = 0, high = this.#sums.length): number {
    const first = this.before(low);
    const wanted = first + random.uniform() * (this.before(high) - first);
    while (low < high - 1) {
      const middle = (low + high) >> 1;
      if (at(this.#sums, middle - 1) <= wanted) low = middle;
      else high = middle;
    }
    return low;
  }
}

/** Terms, holidays and days of the week. */
function dayWeight(time: number): number {
  const date = new Date(time);
  const month = date.getUTCMonth() + 1 + date.getUTCDate() / 31;
  const term = month >= 7 && month < 9 ? 0.35 : month > 12.6 || month < 1.2 ? 0.25 : month >= 9 ? 1.3 : 1.1;
  return term * at([0.75, 1.1, 1.15, 1.1, 1.05, 0.9, 0.5], date.getUTCDay());
}

interface Person {
  activity: number;
  joined: number;
  left: number;
  peakHour: number;
  hasHeartbeats: boolean;
  /** Whether she opened pages before she signed in. */
  browsed: boolean;
  plan: string;
}

/** Columns of the events that are sent to the server together. */
class Rows {
  readonly identity: number[] = [];
  readonly time: number[] = [];
  readonly event: number[] = [];
  readonly item: number[] = [];
  readonly detail: number[] = [];

  get length(): number {
    return this.time.length;
  }

  add(identity: number, time: number, event: EventName, item: number, detail = 0): void {
    this.identity.push(identity);
    this.time.push(Math.round(time));
    this.event.push(EVENTS.indexOf(event));
    this.item.push(item);
    this.detail.push(detail);
  }
}

/**
 * A platform of 200 courses with 4,201 items. Courses are popular by Zipf's law, the activity of people is log-normal,
 * four of five sessions are near the usual hour of the person, and all follow terms and weekdays. Half of the people are
 * present from the start, all leave at some time. One of five has a client with heartbeats. 15 % more browse without signing
 * in, 0.5 % are staff, who are excluded. The same options give the same events.
 */
export class Platform {
  readonly options: PlatformOptions;
  readonly since: number;
  readonly visitors: number;
  readonly #days: Distribution;
  readonly #dayCount: number;
  readonly #courses = new Distribution(Array.from({ length: COURSES }, (_, rank) => 1 / (rank + 2)));
  readonly #people: Person[];
  #sessionsPerWeight = 1;

  constructor(options: PlatformOptions) {
    this.options = options;
    const end = new Date(options.until);
    this.since = Date.UTC(end.getUTCFullYear() - 1, end.getUTCMonth());
    this.visitors = Math.round(0.15 * options.people);
    this.#dayCount = Math.round((options.until - this.since) / DAY);
    this.#days = new Distribution(
      Array.from({ length: this.#dayCount }, (_, day) => dayWeight(this.since + day * DAY)),
    );
    this.#people = Array.from({ length: options.people }, (_, index) => this.#person(index));
    this.#calibrate();
  }

  #person(index: number): Person {
    const random = new Random(`platform/${this.options.seed}/person/${index}`);
    const joined = random.chance(0.5) ? 0 : this.#days.draw(random);
    const left = Math.min(this.#dayCount, joined + 1 + Math.floor(random.exponential(210)));
    return {
      activity: random.logNormal(1, 1) * (this.isStaff(index) ? 5 : 1),
      joined,
      left,
      peakHour: (random.normal(19.5, 2) + random.pick([0, -1, -1, 5, 8, -5])) % 24,
      hasHeartbeats: random.chance(0.2),
      browsed: random.chance(0.4),
      plan: random.pick(["free", "free", "free", "pro", "school"]),
    };
  }

  isStaff(index: number): boolean {
    return index % 200 === 7;
  }

  /** Some people's events are counted, to know how many sessions make the wanted number of events. */
  #calibrate(): void {
    const expected = this.#people.reduce((sum, person) => sum + this.#expected(person), 0);
    this.#sessionsPerWeight = this.options.events / 14 / expected;
    const step = Math.max(1, Math.floor(this.options.people / 2_000));
    const counted = new Rows();
    let sample = 0;
    for (let index = 0; index < this.#people.length; index += step) {
      this.#live(index, counted);
      sample += this.#expected(at(this.#people, index));
    }
    this.#sessionsPerWeight *= this.options.events / ((counted.length / sample) * expected);
  }

  #expected({ activity, joined, left }: Person): number {
    return activity * (this.#days.before(left) - this.#days.before(joined));
  }

  /** Names of the identities: the people, the browsers of those who browsed before, then the visitors. */
  identities(): { kind: "user" | "anonymous"; name: string }[] {
    const { people } = this.options;
    const numbers = Array.from({ length: people }, (_, index) => index);
    return [
      ...numbers.map((index) => ({ kind: "user" as const, name: `learner-${index + 1}` })),
      ...numbers.map((index) => ({ kind: "anonymous" as const, name: `browser-${index + 1}` })),
      ...Array.from({ length: this.visitors }, (_, index) => ({
        kind: "anonymous" as const,
        name: `visitor-${index + 1}`,
      })),
    ];
  }

  /** The first message of each person. */
  *signIns(): Generator<Message> {
    for (const [index, { browsed, joined, plan }] of this.#people.entries()) {
      const timestamp = new Date(this.since + (joined + 0.5) * DAY).toISOString();
      yield {
        type: "identify",
        messageId: `sign in ${index}`,
        userId: `learner-${index + 1}`,
        ...(browsed ? { anonymousId: `browser-${index + 1}` } : {}),
        traits: { plan },
        timestamp,
        sentAt: timestamp,
        receivedAt: timestamp,
      };
    }
  }

  *events(size: number): Generator<Rows> {
    let rows = new Rows();
    const { people } = this.options;
    for (let index = 0; index < people + this.visitors; index += 1) {
      if (index < people) this.#live(index, rows);
      else this.#visit(people + index, rows);
      if (rows.length < size) continue;
      yield rows;
      rows = new Rows();
    }
    yield rows;
  }

  #visit(identity: number, rows: Rows): void {
    const random = new Random(`platform/${this.options.seed}/visitor/${identity}`);
    let time = this.since + this.#days.draw(random) * DAY + random.uniform() * 0.9 * DAY;
    for (let views = random.integer(1, 5); views > 0; views -= 1) {
      rows.add(identity, time, "Page Viewed", courseItem(this.#courses.draw(random)));
      time += random.logNormal(30_000, 0.8);
    }
  }

  #live(index: number, rows: Rows): void {
    const person = at(this.#people, index);
    const random = new Random(`platform/${this.options.seed}/life/${index}`);
    const mean = this.#expected(person) * this.#sessionsPerWeight;
    const count = Math.max(1, mean < 30 ? random.poisson(mean) : Math.round(random.normal(mean, Math.sqrt(mean))));
    const starts = Array.from({ length: count }, () => {
      const day = this.#days.draw(random, person.joined, person.left);
      const hour = random.chance(0.8) ? random.normal(person.peakHour, 1.5) : random.between(6, 24);
      return this.since + day * DAY + (((hour % 24) + 24) % 24) * 3_600_000;
    }).sort((a, b) => a - b);
    const enrolments: { course: number; next: number }[] = [];
    let free = 0;
    for (const [number, start] of starts.entries()) {
      if (start < free) continue;
      free = this.#session(index, person, start, number === 0, enrolments, random, rows) + 2_700_000;
    }
  }

  #session(
    index: number,
    person: Person,
    start: number,
    isFirst: boolean,
    enrolments: { course: number; next: number }[],
    random: Random,
    rows: Rows,
  ): number {
    let now = start;
    let identity = index;
    const end = this.options.until;
    const add = (event: EventName, item: number, detail = 0): void => {
      if (now < end) rows.add(identity, now, event, item, detail);
    };
    const view = (item: number, median: number): void => {
      const number = rows.length + 1;
      const seconds = Math.min(1_500, random.logNormal(median, 0.9));
      add("Page Viewed", item, person.hasHeartbeats ? number : 0);
      if (person.hasHeartbeats) {
        for (let after = 30; after < Math.min(seconds, 300); after += 30) {
          if (now + after * 1_000 < end) rows.add(identity, now + after * 1_000, "Heartbeat", item, number);
        }
      }
      now += seconds * 1_000;
    };

    if (isFirst && person.browsed) {
      identity = this.options.people + index;
      view(courseItem(this.#courses.draw(random)), 30);
      identity = index;
    } else if (random.chance(0.03)) {
      add("Reminder Sent", -1);
      now += 60_000;
    }
    if (random.chance(0.4)) view(HOME, 10);
    if (random.chance(0.1)) {
      add("Search", -1, random.integer(1, 500));
      now += 2_000;
    }
    if (enrolments.length === 0 || random.chance(0.08)) {
      for (let seen = random.integer(1, 3); seen > 0; seen -= 1) {
        const course = this.#courses.draw(random);
        view(courseItem(course), 25);
        if (enrolments.length >= 6 || enrolments.some((known) => known.course === course) || !random.chance(0.5))
          continue;
        enrolments.push({ course, next: 0 });
        add("Course Enrolled", courseItem(course));
        now += 1_500;
      }
    }
    const chosen = enrolments.at(random.chance(0.7) ? -1 : random.integer(0, enrolments.length) - 1);
    if (chosen === undefined) return now;
    const { course } = chosen;
    view(courseItem(course), 8);
    if (chosen.next === 0) add("Course Started", courseItem(course));
    for (let steps = Math.ceil(random.logNormal(3, 0.7)); steps > 0; steps -= 1) {
      const step = chosen.next % STEPS;
      const item = stepItem(course, step);
      view(item, 60);
      const kind = at(STEP_KINDS, step % STEP_KINDS.length);
      if (kind === "video") {
        add("Video Playback Started", item);
        now += random.logNormal(180_000, 0.6);
        if (random.chance(0.6)) add("Video Playback Completed", item);
      } else if (kind === "task") {
        add("Task Started", item);
        now += random.logNormal(240_000, 0.7);
        if (random.chance(0.75)) add("Task Submitted", item, random.integer(1, 100));
      }
      now += random.logNormal(4_000, 0.7);
      if (random.chance(0.15)) continue;
      chosen.next += 1;
      if (chosen.next !== STEPS) continue;
      add("Course Completed", courseItem(course));
      now += 5_000;
      if (random.chance(0.3)) add("Course Rated", courseItem(course), random.integer(1, 5));
      // A completed course is repeated only when no other follows.
      if (enrolments.length > 1) enrolments.splice(enrolments.indexOf(chosen), 1);
      break;
    }
    if (random.chance(0.03)) enrolments.splice(enrolments.indexOf(chosen), 1);
    return now;
  }
}

/** The properties of a row `planned`, whose item is `item`. */
const PROPERTIES = `
  jsonb_strip_nulls(jsonb_build_object(
    'item', item.external_id,
    'viewId', case when planned.event in (0, 1) and planned.detail > 0 then planned.block || '-' || planned.detail end,
    'interval', case when planned.event = 1 then 30 end,
    'score', case when planned.event = 5 then planned.detail / 100.0 end,
    'plan', case
      when planned.event = 5 then (array['free', 'free', 'free', 'pro', 'school'])[1 + planned.identity % 5]
    end,
    'rating', case when planned.event = 9 then planned.detail end,
    'query', case when planned.event = 10 then 'query ' || planned.detail end
  ))`;

/** Arrival: within two seconds, or six hours later for one of fifty. */
const RECEIVED = `least(
    planned.time + 100 + (planned.number * 7919) % 1900
      + case when planned.number / 37 % 50 = 0 then 21600000 else 0 end,
    greatest(planned.time, $1)
  )`;

const timeOf = (milliseconds: string): string => `to_timestamp((${milliseconds}) / 1000.0::numeric)`;

/** Runs a step and prints its time. */
export type Step = <T>(label: string, work: (progress: (share: number) => void) => Promise<T>) => Promise<T>;

/**
 * Stores the events of a platform as track.ingest would have stored them: people, browsers and their links through
 * track.ingest itself, items by track.sync_items, events and messages by the functions that give them their keys. The
 * caller derives the rest by track.rebuild. 1,000 of the events are then sent to track.ingest, which must store equal
 * rows.
 */
export async function storePlatform(client: pg.Client, platform: Platform, step: Step): Promise<number> {
  const { until } = platform.options;
  await client.query("set work_mem to '256MB'");
  await step("items, by track.sync_items", async () => {
    await client.query(
      `create table public.platform_item as
        select item.number::int - 1 as number, item.external_id, item.kind, item.title, item.parent
        from rows from (
          json_to_recordset($1) as (external_id text, kind text, title text, parent text)
        ) with ordinality as item (external_id, kind, title, parent, number)`,
      [JSON.stringify(buildItems())],
    );
    await client.query("select track.sync_items('public.platform_item')");
    await client.query("alter table public.platform_item add item_id bigint");
    await client.query(`
      update public.platform_item
      set item_id = item.item_id
      from track.item
      where item.external_id = platform_item.external_id`);
  });
  await step("people, by track.ingest", async (progress) => {
    const messages = [...platform.signIns()];
    for (let start = 0; start < messages.length; start += 1_000) {
      progress(start / messages.length);
      await ingest(client, messages.slice(start, start + 1_000));
    }
    const identities = platform.identities();
    const visitors = identities.slice(-platform.visitors).map(({ name }) => name);
    await client.query("select track._enter_people(array_fill('anonymous'::text, array[$2::int]), $1)", [
      visitors,
      visitors.length,
    ]);
    await client.query(
      `create unlogged table public.platform_identity as
        select named.ordinality::int - 1 as number, identity.identity_id, identity.person_id
        from unnest($1::text[], $2::text[]) with ordinality as named (kind, name, ordinality)
        join track.identity on identity.external_id = named.name and identity.kind = named.kind`,
      [identities.map(({ kind }) => kind), identities.map(({ name }) => name)],
    );
    await client.query("select track.exclude_person(person, 'staff') from unnest($1::text[]) as person", [
      identities
        .slice(0, platform.options.people)
        .flatMap(({ name }, index) => (platform.isStaff(index) ? [name] : [])),
    ]);
    await client.query(
      "insert into track.event_type (name) select name from unnest($1::text[]) as name on conflict (name) do nothing",
      [EVENTS],
    );
    await client.query(
      `create table public.platform_event_type as
        select named.ordinality::int - 1 as event, event_type.event_type_id
        from unnest($1::text[]) with ordinality as named (name, ordinality)
        join track.event_type using (name)`,
      [EVENTS],
    );
  });
  await step("events, simulated", async (progress) => {
    await client.query(
      `create unlogged table public.platform_event (
        number bigint, block int, identity int, time bigint, event int, item int, detail int
      )`,
    );
    let stored = 0;
    let block = 0;
    let writing: Promise<unknown> = Promise.resolve();
    for (const { identity, time, event, item, detail, length } of platform.events(20_000)) {
      await writing;
      writing = client.query({
        name: "platform event",
        text: `
          insert into public.platform_event
          select $6::bigint + ordinality, $7::int, identity, time, event, item, detail
          from unnest($1::int[], $2::bigint[], $3::int[], $4::int[], $5::int[])
            with ordinality as row (identity, time, event, item, detail, ordinality)`,
        values: [...[identity, time, event, item, detail].map((column) => `{${column.join(",")}}`), stored, block],
      });
      // A failure is handled at the next await; until then it must not count as unhandled.
      writing.catch(() => undefined);
      stored += length;
      block += 1;
      progress(stored / platform.options.events);
    }
    await writing;
    await client.query("analyze public.platform_event, public.platform_identity, public.platform_item");
  });
  const source = "(select source_id from track.source where name = 'default' and level = 'server')";
  const { rows: months } = await client.query<{ month: string; next: string }>(`
    select month::text as month, (month + interval '1 month')::text as next
    from generate_series(
      (select date_trunc('month', ${timeOf("min(time)")}) from public.platform_event),
      (select ${timeOf("max(time)")} from public.platform_event),
      interval '1 month'
    ) as month`);
  await step("events, stored", async (progress) => {
    await client.query("select track.make_partitions(min(month), max(month)) from unnest($1::timestamptz[]) as month", [
      months.map(({ month }) => month),
    ]);
    for (const [index, { month, next }] of months.entries()) {
      progress(index / months.length);
      await client.query(
        `
        with arrived as materialized (
          select
            planned.*, ${timeOf("planned.time")} as occurred_at, ${timeOf(RECEIVED)} as received_at,
            track._message_hash('event ' || planned.number) as message_hash
          from public.platform_event as planned
          where planned.time >= extract(epoch from $2::timestamptz) * 1000
            and planned.time < extract(epoch from $3::timestamptz) * 1000
          order by received_at
        ),

        stored as (
          insert into track.message (source_id, message_hash)
          select ${source}, message_hash
          from arrived
        )

        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
        )
        select
          identity.person_id, planned.occurred_at,
          track._event_id(planned.occurred_at, planned.message_hash, ${source}, null),
          identity.identity_id, event_type.event_type_id, item.item_id, planned.received_at, ${source},
          nullif(${PROPERTIES}, '{}')
        from arrived as planned
        join public.platform_identity as identity on identity.number = planned.identity
        join public.platform_event_type as event_type using (event)
        left join public.platform_item as item on item.number = planned.item`,
        [until, month, next],
      );
    }
  });
  await step("1,000 of them again, by track.ingest", async () => {
    const { rows } = await client.query<{ message: Message }>(
      `select
        jsonb_strip_nulls(jsonb_build_object(
          'messageId', 'event ' || planned.number,
          'type', case when planned.event = 0 then 'page' else 'track' end,
          case named.kind when 'user' then 'userId' else 'anonymousId' end, named.external_id,
          'event', case when planned.event > 0 then event_type.name end,
          'timestamp', ${timeOf("planned.time")},
          'sentAt', ${timeOf(RECEIVED)},
          'receivedAt', ${timeOf(RECEIVED)},
          'properties', ${PROPERTIES}
        )) as message
      from public.platform_event as planned
      join public.platform_identity as identity on identity.number = planned.identity
      join track.identity as named using (identity_id)
      join public.platform_event_type using (event)
      join track.event_type using (event_type_id)
      left join public.platform_item as item on item.number = planned.item
      where planned.number % greatest((select count(*) from public.platform_event) / 1000, 1) = 0
      limit 1000`,
      [until],
    );
    const messages = rows.map(({ message }) => message);
    const sample = [JSON.stringify(messages)];
    const again = await client.query("select duplicates from track.ingest($1)", sample);
    if (again.rows[0].duplicates !== messages.length) throw new Error("an event could be stored twice");
    await client.query("begin");
    await client.query(
      `create temporary table sent on commit drop as
        select track._message_hash("messageId") as message_hash, timestamp as occurred_at
        from json_to_recordset($1) as ("messageId" text, timestamp timestamptz)`,
      sample,
    );
    await client.query(`
      create temporary table taken on commit drop as
        with deleted as (
          delete from track.event
          using sent
          where event.occurred_at = sent.occurred_at
            and event.event_id = track._event_id(sent.occurred_at, sent.message_hash, event.source_id, null)
          returning event.*
        )
        select * from deleted`);
    await client.query("delete from track.message using sent where message.message_hash = sent.message_hash");
    await ingest(client, messages);
    const { rows: compared } = await client.query(`
      select count(*)::int as taken, json_agg(json_build_array(taken, event)) filter (where event_type_id is null or not is_equal) as differing
      from (
        select taken, event, event.event_type_id, row(taken.*) is not distinct from row(event.*) as is_equal
        from taken
        left join track.event using (person_id, occurred_at, event_id)
      ) as pair`);
    await client.query("rollback");
    if (compared[0].taken !== messages.length || compared[0].differing !== null) {
      const examples = JSON.stringify(compared[0].differing)?.slice(0, 2_000);
      throw new Error(`${compared[0].taken} of ${messages.length} were stored, track.ingest differs: ${examples}`);
    }
  });
  // As the worker does: all of them, and then the size of the table.
  await step("hashes of messages are packed", async () => {
    for (let round = 0; round < 2; round++) {
      const packed = async () => (await client.query("select track.pack_messages() as moved")).rows[0].moved === null;
      while (!(await packed()));
      await client.query("vacuum track.message, track.packed_message");
    }
    await client.query("select track.pack_messages()");
  });
  const { rows } = await client.query<{ events: string }>("select count(*) as events from public.platform_event");
  await client.query("drop table public.platform_event");
  await client.query("reset work_mem");
  return Number(rows[0]?.events);
}

export async function ingest(client: pg.Client, messages: readonly Message[]): Promise<void> {
  const { rows } = await client.query("select accepted, errors from track.ingest($1)", [JSON.stringify(messages)]);
  if (rows[0].accepted !== messages.length) {
    throw new Error(
      `${rows[0].accepted} of ${messages.length} accepted: ${JSON.stringify(rows[0].errors).slice(0, 300)}`,
    );
  }
}
