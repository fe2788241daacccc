import { InsightsError } from "../errors.ts";
import { BATCH, ingest, type Queryable } from "../importer/deliver.ts";
import type { Message } from "../importer/message.ts";
import { match } from "./behaviour.ts";
import { TOPICS } from "./catalogue.ts";
import { beginning, EXPERIMENT, METRICS, type Variation, WATCHED_TO_END } from "./experiment.ts";
import { Options, WEEK } from "./options.ts";
import { at } from "./random.ts";
import { APPLICATION, TRUTH } from "./schema.ts";
import { Simulation } from "./simulation.ts";

export const SOURCE = "simulator";

export interface SimulationProgress {
  /** The completed share of the simulated time, from 0 to 1. */
  fraction: number;
  accepted: number;
  duplicates: number;
}

export interface SimulationSummary {
  learners: number;
  courses: number;
  sessions: number;
  enrolments: number;
  /** Messages that were stored, and messages that arrived twice, as happens in networks. */
  accepted: number;
  duplicates: number;
  /** Whether the population existed before, so that nothing was done. */
  wasThere: boolean;
}

interface Population {
  learners: number;
  courses: number;
  weeks: number;
  seed: number;
  until: Date;
  finished: boolean;
}

/** The population in a database, if there is one. */
export async function findPopulation(database: Queryable): Promise<Population | undefined> {
  const known = await database.query("select to_regclass('canvas_flow_truth.population') is not null as exists");
  if ((known.rows as { exists: boolean }[])[0]?.exists !== true) return undefined;
  const { rows } = await database.query(
    `select learners, courses, weeks, seed::float8 as seed, until, finished_at is not null as finished
    from canvas_flow_truth.population`,
  );
  return (rows as Population[])[0];
}

/**
 * Simulates a population into a database: the application's tables, the events through `track.ingest`, and the true
 * attributes.
 *
 * A database holds one population. Repeating the same options does nothing, or completes an interrupted run: every
 * message has the same id. `connection` must be one connection, because transactions are used.
 */
export async function simulate(
  connection: Queryable,
  options: Options,
  onProgress: (progress: SimulationProgress) => void = () => undefined,
): Promise<SimulationSummary> {
  if (options.until.getTime() > Date.now()) {
    throw new InsightsError(`until ${options.until.toISOString()} is in the future`, {
      hint: "Use a day in the past, or omit it for today.",
    });
  }
  const simulation = new Simulation(Options.parse(options));
  const summary = {
    learners: options.learners,
    courses: options.courses,
    sessions: 0,
    enrolments: 0,
    accepted: 0,
    duplicates: 0,
    wasThere: false,
  };
  const found = await findPopulation(connection);
  if (found !== undefined) {
    refuseAnother(found, options);
    if (found.finished) return { ...summary, wasThere: true };
  }
  await transaction(connection, () => prepare(connection, simulation));
  // A population that an earlier release began has none, and is completed without the experiment.
  if (found === undefined) await transaction(connection, () => assign(connection, simulation));
  for (const { person, variation } of await assigned(connection)) simulation.variations.set(person, variation);

  let batch: Message[] = [];
  let underWay: Promise<void> = Promise.resolve();
  const send = async (messages: Message[], receivedAt: number): Promise<void> => {
    const result = await transaction(connection, async () => {
      const stored = await ingest(connection, SOURCE, messages);
      await connection.query("update canvas_flow_truth.population set messages = coalesce(messages, 0) + $1::int", [
        stored.accepted,
      ]);
      return stored;
    });
    const [error] = result.errors;
    if (error !== undefined) {
      throw new InsightsError(`a simulated message was rejected: ${error.message} (${error.code})`, {
        hint: error.hint ?? "Compare track.setting with the simulated time.",
      });
    }
    summary.accepted += result.accepted;
    summary.duplicates += result.duplicates;
    const { accepted, duplicates } = summary;
    const fraction = (receivedAt - simulation.start) / (options.until.getTime() - simulation.start);
    onProgress({ fraction, accepted, duplicates });
  };
  for (const { messages, receivedAt } of simulation.deliveries()) {
    batch.push(...messages);
    if (batch.length < BATCH) continue;
    await underWay;
    underWay = send(batch, receivedAt);
    // A failure is handled at the next await; until then it must not count as unhandled.
    underWay.catch(() => undefined);
    batch = [];
  }
  await underWay;
  await send(batch, options.until.getTime());

  await transaction(connection, async () => {
    await complete(connection, simulation);
    if (simulation.variations.size > 0) await startExperiment(connection, simulation);
  });
  return { ...summary, sessions: simulation.sessions.length, enrolments: simulation.enrolments.length };
}

function refuseAnother(found: Population, options: Options): void {
  const said = ({ learners, courses, weeks, seed, until }: Omit<Population, "finished">): string =>
    `--learners ${learners} --courses ${courses} --weeks ${weeks} --seed ${seed} --until ${until.toISOString().slice(0, 10)}`;
  if (said(found) === said(options)) return;
  throw new InsightsError(`this database already holds another simulated population: ${said(found)}`, {
    hint: "Simulate into another database, or repeat these options.",
  });
}

async function transaction<T>(connection: Queryable, work: () => Promise<T>): Promise<T> {
  await connection.query("begin");
  try {
    const result = await work();
    await connection.query("commit");
    return result;
  } catch (error) {
    await connection.query("rollback").catch(() => undefined);
    throw error;
  }
}

/** Before the first event: the tables, the catalogue in them, and the items that are synchronised. */
async function prepare(connection: Queryable, { id, options, catalogue, learners }: Simulation): Promise<void> {
  await connection.query(APPLICATION);
  await connection.query(TRUTH);
  await store(connection, "canvas_flow_truth.population", [
    {
      population_id: id,
      learners: options.learners,
      courses: options.courses,
      weeks: options.weeks,
      seed: options.seed,
      until: options.until,
      topics: TOPICS,
    },
  ]);
  const { courses } = catalogue;
  await store(
    connection,
    "canvas_flow.courses",
    courses.map((course) => ({
      slug: course.externalId,
      title: course.title,
      url: course.url,
      subject: at(TOPICS, course.topic),
      requires: course.requires?.externalId,
      available_from: time(course.availableFrom),
      available_until: time(course.availableUntil),
    })),
  );
  await store(
    connection,
    "canvas_flow.modules",
    courses.flatMap((course) =>
      course.modules.map((module, position) => ({
        path: module.externalId,
        course: course.externalId,
        position: position + 1,
        title: module.title,
        url: module.url,
        opens_at: time(module.opensAt),
      })),
    ),
  );
  await store(
    connection,
    "canvas_flow.lessons",
    courses.flatMap((course) =>
      course.modules.flatMap((module) =>
        module.steps.map((step, position) => ({
          path: step.externalId,
          module: module.externalId,
          position: position + 1,
          kind: step.kind,
          title: step.title,
          url: step.url,
          seconds: step.seconds,
          due_at: time(step.dueAt),
        })),
      ),
    ),
  );
  await store(
    connection,
    "canvas_flow.users",
    learners.map((learner) => ({
      username: learner.externalId,
      name: learner.name,
      email: learner.email,
      time_zone: learner.timeZone,
      language: learner.language,
      joined_at: time(learner.joinedAt),
    })),
  );
  await connection.query("select track.sync_items('canvas_flow.items')");
  await connection.query("select track.sync_item_roles('canvas_flow.item_roles')");
  await connection.query(`
    insert into track.prerequisite (item_id, required_item_id)
    select item.item_id, required.item_id
    from canvas_flow.courses
    join track.item on item.external_id = courses.slug
    join track.item as required on required.external_id = courses.requires
    on conflict do nothing
  `);
}

/** Assigns all learners to the variations of the experiment, by the hash by which it assigns people once it runs. */
async function assign(connection: Queryable, { learners }: Simulation): Promise<void> {
  const { key, variations } = EXPERIMENT;
  await store(
    connection,
    "canvas_flow_truth.variation",
    variations.map((variation) => ({ variation: variation.key, finished_share: WATCHED_TO_END[variation.key] })),
  );
  await connection.query(
    `insert into canvas_flow_truth.assignment (person, variation)
    select
      person,
      ($3::text[])[1 + experiment.choose_variation(
        experiment.hash($1, person, 2), experiment.bucket_ranges(cardinality($3::text[]))
      )]
    from unnest($2::text[]) as person
    on conflict do nothing`,
    [key, learners.map(({ externalId }) => externalId), variations.map((variation) => variation.key)],
  );
}

async function assigned(connection: Queryable): Promise<{ person: string; variation: Variation }[]> {
  const { rows } = await connection.query("select person, variation from canvas_flow_truth.assignment");
  return rows as { person: string; variation: Variation }[];
}

/**
 * Defines and starts the experiment through the functions of the product, and then moves its start, which is now, to
 * its beginning in the simulated time. After the events, because a metric can only name events that have been received;
 * a population so small that one of them is missing has no experiment.
 */
async function startExperiment(connection: Queryable, { options }: Simulation): Promise<void> {
  const events = METRICS.flatMap((metric) => ("events" in metric ? [...metric.events] : []));
  const { rows } = await connection.query(
    "select name from unnest($1::text[]) as name where name not in (select name from track.event_type)",
    [events],
  );
  if (rows.length > 0) return;
  for (const metric of METRICS) {
    const names = Object.keys(metric);
    await connection.query(
      `select experiment.define_metric(${names.map((name, index) => `${name} => $${index + 1}`).join(", ")})`,
      Object.values(metric),
    );
  }
  const { key, feature, name } = EXPERIMENT;
  await connection.query("select experiment.define_feature($1, $2)", [feature, `${name}.`]);
  await connection.query("select experiment.define_experiment($1)", [JSON.stringify(EXPERIMENT)]);
  await connection.query("select experiment.start($1)", [key]);
  await connection.query(
    `with moved as (
      update experiment.experiment set started_at = $2 where experiment_key = $1 returning experiment_id, started_at
    )
    update experiment.weighting set since = moved.started_at from moved where weighting.experiment_id = moved.experiment_id`,
    [key, time(beginning(options))],
  );
  // A worker may have read the events before.
  await connection.query("select experiment.rebuild($1)", [key]);
}

/** After the last event: enrolments in the application's final state, and the true attributes. */
async function complete(connection: Queryable, simulation: Simulation): Promise<void> {
  const { enrolments, sessions, attention, learners, catalogue, options } = simulation;
  const end = options.until.getTime();
  const byName = new Map(learners.map((learner) => [learner.externalId, learner]));
  await store(
    connection,
    "canvas_flow.enrolments",
    enrolments.map(({ person, course, enrolledAt, completedAt, reportedAt }) => ({
      username: person,
      course: course.externalId,
      enrolled_at: time(enrolledAt),
      completed_at: time(completedAt),
      dropped_at: time(reportedAt),
    })),
  );
  await connection.query("select track.sync_enrolments('canvas_flow.enrolment_states')");
  await store(
    connection,
    "canvas_flow_truth.learner",
    learners.map((learner) => ({
      person: learner.externalId,
      time_zone: learner.timeZone,
      tastes: learner.tastes,
      ability: learner.ability,
      engagement: learner.engagement,
      peak_hour: learner.peakHour,
      weekend_factor: learner.weekendFactor,
      features: learner.features,
      joined_at: time(learner.joinedAt),
      left_at: learner.leftAt < end ? time(learner.leftAt) : undefined,
    })),
  );
  await store(
    connection,
    "canvas_flow_truth.course",
    catalogue.courses.map(({ externalId, topic, topics, difficulty, appeal }) => ({
      item: externalId,
      topic: at(TOPICS, topic),
      topics,
      difficulty,
      appeal,
    })),
  );
  await store(
    connection,
    "canvas_flow_truth.session",
    sessions.map((session, index) => ({
      session_number: index + 1,
      person: session.person,
      anonymous_id: session.anonymousId,
      device: session.deviceKind,
      clock_skew: `${session.clockSkew} milliseconds`,
      started_at: time(session.startedAt),
      ended_at: time(session.endedAt),
      events: session.events,
      views: session.views,
      engaged: `${session.engagedSeconds} seconds`,
    })),
  );
  await store(
    connection,
    "canvas_flow_truth.enrolment",
    enrolments.map(({ person, course, enrolledAt, completedAt, droppedAt, rating, weeklyHazard }) => {
      const learner = byName.get(person);
      if (learner === undefined) throw new Error(`there is no person ${person}`);
      return {
        person,
        item: course.externalId,
        enrolled_at: time(enrolledAt),
        match: match(learner, course),
        weekly_hazard: weeklyHazard,
        dropped_at: time(droppedAt),
        dropped_week: droppedAt === undefined ? undefined : Math.floor((droppedAt - enrolledAt) / WEEK),
        completed_at: time(completedAt),
        rating,
      };
    }),
  );
  await store(
    connection,
    "canvas_flow_truth.attention",
    [...attention].map(([item, { views, people, seconds }]) => ({
      item,
      views,
      people: people.size,
      engaged: `${seconds} seconds`,
    })),
  );
  await connection.query("update canvas_flow_truth.population set finished_at = now()");
}

function time(instant: number | undefined): string | undefined {
  return instant === undefined ? undefined : new Date(instant).toISOString();
}

/** Inserts rows and leaves existing ones unchanged. The names come from this file. */
async function store(connection: Queryable, table: string, rows: readonly object[]): Promise<void> {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].join(", ");
  for (let start = 0; start < rows.length; start += 5_000) {
    await connection.query(
      `insert into ${table} (${columns})
      select ${columns} from jsonb_populate_recordset(null::${table}, $1)
      on conflict do nothing`,
      [JSON.stringify(rows.slice(start, start + 5_000))],
    );
  }
}
