#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { describeError, errorCode } from "./errors.ts";
import { packageRoot } from "./paths.ts";

/*
 * A command is a file of src/commands with a commander Command as its default export. It is imported when it is called,
 * so that a command does not load the libraries of the others.
 */
const commands: Record<string, { summary: string; load: () => Promise<{ default: Command }> }> = {
  start: {
    summary: "database, migrations, simulated platform, worker and API in one process",
    load: () => import("./commands/start.ts"),
  },
  migrate: {
    summary: "bring the database to the state of this version",
    load: () => import("./commands/migrate.ts"),
  },
  api: {
    summary: "serve the GraphQL API",
    load: () => import("./commands/api.ts"),
  },
  worker: {
    summary: "keep sessions, rollups, views, partitions and models up to date",
    load: () => import("./commands/worker.ts"),
  },
  import: {
    summary: "import logs of Moodle, Open edX, Canvas, xAPI, Caliper, OULAD, Segment, or any CSV file",
    load: () => import("./commands/import.ts"),
  },
  "forget-import": {
    summary: "remove an import, with all that came with it",
    load: () => import("./commands/forget-import.ts"),
  },
  simulate: {
    summary: "fill the database with a simulated platform",
    load: () => import("./commands/simulate.ts"),
  },
  train: {
    summary: "train a recommender",
    load: () => import("./commands/train.ts"),
  },
  evaluate: {
    summary: "measure recommenders on what people did, and search their parameters",
    load: () => import("./commands/evaluate.ts"),
  },
  recommend: {
    summary: "recommend items to a person, with reasons",
    load: () => import("./commands/recommend.ts"),
  },
  experiment: {
    summary: "define, start, stop and ship experiments",
    load: () => import("./commands/experiment.ts"),
  },
  sql: {
    summary: "run SQL on the configured database",
    load: () => import("./commands/sql.ts"),
  },
  query: {
    summary: "print the rows of a query or a saved query as CSV, JSON or a table, as an analyst",
    load: () => import("./commands/query.ts"),
  },
  mcp: {
    summary: "offer assistants what a role may call, as tools (Model Context Protocol)",
    load: () => import("./commands/mcp.ts"),
  },
  token: {
    summary: "print a token that signs in as a role and a person",
    load: () => import("./commands/token.ts"),
  },
  keys: {
    summary: "list, create, rotate and revoke write keys of clients",
    load: () => import("./commands/keys.ts"),
  },
  refused: {
    summary: "count refused messages by source and error code, with the rule that each broke",
    load: () => import("./commands/refused.ts"),
  },
  export: {
    summary: "write all data of a person as JSON",
    load: () => import("./commands/export.ts"),
  },
  erase: {
    summary: "erase a person, or repeat erasures after a restore",
    load: () => import("./commands/erase.ts"),
  },
  distribute: {
    summary: "distribute the large tables over the workers of a cluster of Citus, or bring them back",
    load: () => import("./commands/distribute.ts"),
  },
  retention: {
    summary: "set how long data is kept, print what expires, and delete it",
    load: () => import("./commands/retention.ts"),
  },
  health: {
    summary: "print what is wrong with the running installation, each problem with its fix",
    load: () => import("./commands/health.ts"),
  },
  doctor: {
    summary: "report problems of server, extension, roles, migrations and models, each with its fix",
    load: () => import("./commands/doctor.ts"),
  },
};

// `insights sql … | head` closes the pipe before all output is written.
process.stdout.on("error", (error) => {
  if (errorCode(error) === "EPIPE") process.exit(0);
  throw error;
});

const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };

const program = new Command("insights")
  .description("Canvas Flow Insights: behaviour tracking, analytics and recommendations inside PostgreSQL.")
  .version(version)
  .addHelpText(
    "after",
    `
Environment:
  DATABASE_URL        your own PostgreSQL 15 or later with pgvector; without it, the embedded database
  DIRECT_DATABASE_URL the server itself, for migrations, if DATABASE_URL connects through a pooler
  INSIGHTS_DATA_DIR   directory of the embedded database (.insights)
  INSIGHTS_DATABASE_PORT
                      a port of 127.0.0.1 for the embedded database, in addition to its Unix socket; requires a password
  PORT, HOST          port and address of the API (5678 on 127.0.0.1)
  INSIGHTS_LOCK_TIMEOUT, INSIGHTS_LOCK_TRIES
                      how long and how often a migration waits for a lock: see insights migrate --help
  INSIGHTS_…          tokens, the pool, the GraphQL page: see docs/deploying.md
`,
  );

const called = process.argv.slice(2).find((argument) => !argument.startsWith("-")) ?? "";
for (const [name, { summary, load }] of Object.entries(commands)) {
  const command =
    name === called || (called === "help" && process.argv.includes(name)) ? (await load()).default : new Command();
  program.addCommand(command.name(name).summary(summary));
}

// Usage errors exit with 2, other errors with 1.
for (const command of [program, ...program.commands]) command.exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    console.error(describeError(error));
    process.exitCode = 1;
  }
}
