import { join } from "node:path";
import { Command } from "commander";
import type pg from "pg";
import { signToken } from "../api/authentication.ts";
import { openListener } from "../api/listener.ts";
import { readPages } from "../api/pages.ts";
import { authenticationOptions, startApi } from "../api/server.ts";
import { type Config, readConfig } from "../config.ts";
import { createPool, type Database, endWithDatabase, openDatabase, ownDatabase } from "../database/connect.ts";
import { openEmbedded, passwordFile } from "../database/embedded.ts";
import { migrate } from "../database/migrate.ts";
import { describeError } from "../errors.ts";
import { openMetricsPort, startMetrics } from "../metrics/metrics.ts";
import { serveLists } from "../simulator/lists.ts";
import { sendLive, startLive } from "../simulator/live.ts";
import { midnight, Options } from "../simulator/options.ts";
import { findPopulation, simulate } from "../simulator/run.ts";
import { step } from "../terminal.ts";
import { startWorker } from "../worker/worker.ts";
import { refresh } from "./refresh.ts";
import { exitInTime } from "./shutdown.ts";

/** The resources that were opened, to be released in reverse order. */
class Closers {
  readonly #list: (() => Promise<void>)[] = [];
  #closing: Promise<void> | undefined;

  add(close: () => Promise<void>): void {
    this.#list.push(close);
  }

  closeAll(): Promise<void> {
    this.#closing ??= (async () => {
      for (const close of this.#list.reverse()) {
        await close().catch((error: unknown) => console.error(describeError(error)));
      }
    })();
    return this.#closing;
  }
}

/** `start` requires the embedded database for itself: unlike other commands it does not connect to a running one. */
async function open(config: Config): Promise<Database> {
  if (config.databaseUrl !== undefined) return await openDatabase(config, "start");
  const opened = await openEmbedded({
    dataDirectory: config.dataDirectory,
    command: "start",
    port: config.databasePort,
    onFailure: endWithDatabase,
  });
  return ownDatabase(opened);
}

async function exists(pool: pg.Pool, query: string): Promise<boolean> {
  const { rows } = await pool.query<{ found: boolean }>(`select exists (${query}) as found`);
  return rows[0]?.found === true;
}

/** A demo for an empty database: a simulated platform, what its people have done until now, and all derived data. */
async function fill(pool: pg.Pool): Promise<Date> {
  const { finished: _finished, ...population } = (await findPopulation(pool)) ?? {
    until: midnight(new Date()),
    finished: false,
  };
  const options = Options.parse(population);
  const client = await pool.connect();
  try {
    await step(
      "Simulating a platform",
      (bar) => simulate(client, options, ({ fraction }) => bar.update(fraction, 1)),
      ({ learners, courses, accepted }) => `${learners} learners, ${courses} courses, ${accepted} events`,
    );
  } finally {
    client.release();
  }
  const now = new Date();
  await sendLive(pool, midnight(now));
  await refresh(pool, process.stdout);
  await step("Refreshing views", () => pool.query("select analytics.refresh_views(), recommend.refresh_lists()"));
  return now;
}

/** Lists of the past weeks, so that their relevance is seen at once; the worker refreshes what follows from them. */
async function serve(pool: pg.Pool): Promise<void> {
  await step(
    "Serving recommendations of the past weeks",
    (bar) => serveLists(pool, (fraction) => bar.update(fraction, 1)),
    ({ lists, clicks }) => `${lists} lists, ${clicks} clicks`,
  );
}

async function train(pool: pg.Pool): Promise<void> {
  await step(
    "Training the recommender",
    () => pool.query<{ version: number }>("select version from recommend.train()"),
    ({ rows }) => `version ${rows[0]?.version}`,
  );
}

/** A person for the learner's token: the one with the most interactions. */
async function demoLearner(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ name: string }>(
    `select identity.external_id as name
     from track.identity as identity
     join recommend.interaction as interaction on interaction.person_id = identity.person_id
     where identity.kind = 'user'
     group by identity.external_id
     order by count(*) desc, identity.external_id
     limit 1`,
  );
  return rows[0]?.name ?? "ada";
}

/** A person for the instructor's token: the one with the most courses; undefined in a demo of an earlier release. */
async function demoInstructor(pool: pg.Pool): Promise<string | undefined> {
  const { rows } = await pool.query<{ name: string }>(
    `select identity.external_id as name
     from track.item_role
     join track.identity using (identity_id)
     where item_role.role = 'instructor'
     group by identity.external_id
     order by count(*) desc, identity.external_id
     limit 1`,
  );
  return rows[0]?.name;
}

/** How to sign in: links for the people of the demo, and instructions for other databases. */
async function signInLines(config: Config, database: Database, pool: pg.Pool, url: string): Promise<string> {
  const options = await authenticationOptions(config);
  if (options.secret === undefined) return "Sign in with a token of your identity provider (INSIGHTS_JWKS_URL).";
  if (!database.embedded || (await findPopulation(pool)) === undefined) {
    return "Sign in with a token of your application, signed with this server's key, or with one that `insights token admin` prints.";
  }
  const lines = [
    "Links that sign in to the demo, valid for 12 hours (the part after #token= is the token for Authorization: Bearer …):",
  ];
  const people = {
    learner: await demoLearner(pool),
    instructor: await demoInstructor(pool),
    analyst: "analyst",
    admin: "admin",
  };
  for (const role of ["learner", "instructor", "analyst", "admin"] as const) {
    const person = people[role];
    if (person === undefined) continue;
    lines.push(`${role}: ${url}/#token=${await signToken({ role, person, source: undefined }, options)}`);
  }
  return lines.join("\n");
}

function withoutPassword(url: string): string {
  const shown = new URL(url);
  shown.password = "";
  return shown.href;
}

export default new Command()
  .description(
    "Opens the embedded database (or DATABASE_URL), migrates it, simulates a platform if the embedded database is empty, " +
      "trains, and serves: the worker and the API in this process.",
  )
  .option("--simulate", "simulate a platform on DATABASE_URL too")
  .addHelpText("after", "\nStops at Ctrl-C. The next start continues with the same data.")
  .action(async (options: { simulate?: true }) => {
    const began = performance.now();
    const config = readConfig();
    const closers = new Closers();
    let serving = false;
    const end = (): void => {
      // A second Ctrl-C does not wait.
      process.once("SIGINT", () => process.exit(130));
      if (serving) console.log("\nstopping …");
      exitInTime({ embedded: config.databaseUrl === undefined }, serving ? 0 : 130);
      void closers.closeAll().finally(() => process.exit(serving ? 0 : 130));
    };
    process.once("SIGINT", end);
    process.once("SIGTERM", end);

    try {
      // Before any other work, so that a port that is taken is reported before anything is changed.
      const listener = await openListener(config);
      closers.add(() => listener.close());
      const metricsPort = await openMetricsPort(config);
      if (metricsPort !== undefined) closers.add(() => metricsPort.close());

      const database = await step(config.databaseUrl === undefined ? "Opening the database" : "Connecting", () =>
        open(config),
      );
      closers.add(() => database.close());
      await step(
        "Migrating",
        () => migrate(database.migrationUrl ?? database.url),
        ({ applied, current }) => (applied.length > 0 || current ? "migrated" : "up to date"),
      );
      const pool = createPool(database, 4);
      closers.add(() => pool.end());

      const graphiql = config.graphiql ?? database.embedded;
      const metrics = await startMetrics(config, database, metricsPort);
      if (metrics !== undefined) closers.add(() => metrics.close());
      const [api] = await step("Starting the API", () =>
        Promise.all([startApi({ ...config, graphiql }, database, listener, metrics), readPages()]),
      );
      closers.add(() => api.close());

      const unfinished = (await findPopulation(pool))?.finished === false;
      const empty = !(await exists(pool, "select from track.event"));
      const isFilled = options.simulate === true || (database.embedded && (empty || unfinished));
      const until = isFilled ? await fill(pool) : midnight(new Date());
      const untrained = !(await exists(pool, "select from ml.deployment"));
      if (untrained && (await exists(pool, "select from recommend.interaction"))) await train(pool);
      if (isFilled && !(await exists(pool, "select from recommend.impression"))) await serve(pool);

      const worker = await step("Starting the worker", () => startWorker(config, database, metrics));
      closers.add(() => worker.close());
      // The worker trains them each night; the demo is there to be seen at once.
      if (isFilled) await pool.query("select insights_queue.add_job('insights:train_predictions')");

      if ((database.embedded || options.simulate === true) && (await findPopulation(pool))?.finished) {
        const live = startLive(pool, until, (error) =>
          console.error(`the demo's people pause: ${describeError(error)}`),
        );
        closers.add(() => live.close());
      }
      serving = true;
      const password =
        database.embedded && config.databasePort !== undefined
          ? ` (password in ${join(config.dataDirectory, passwordFile)})`
          : "";
      console.log(`
ready in ${((performance.now() - began) / 1000).toFixed(1)} s
  start page  ${api.url}/${graphiql ? `\n  GraphQL     ${api.url}/graphiql` : ""}
${metricsPort ? `  metrics     ${metricsPort.url}/metrics\n` : ""}  database    psql "${database.psqlUrl ?? withoutPassword(database.url)}"${password}
`);
      console.log(await signInLines(config, database, pool, api.url));
    } catch (error) {
      await closers.closeAll();
      throw error;
    }
  });
