import { once } from "node:events";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { Command, InvalidArgumentError, Option } from "commander";
import { createAuthenticate, visitor } from "../api/authentication.ts";
import { createGate } from "../api/connections.ts";
import { openListener } from "../api/listener.ts";
import { rooms } from "../api/rooms.ts";
import { authenticationOptions } from "../api/server.ts";
import { type Config, readConfig } from "../config.ts";
import { createPool, openDatabase, withClient } from "../database/connect.ts";
import { checkApiLogin } from "../database/logins.ts";
import { migrate } from "../database/migrate.ts";
import type { Mcp } from "../mcp/server.ts";

interface Options {
  http?: number | true;
  write?: true;
  reason?: string;
  room?: string[];
  rows: number;
  bytes: number;
  seconds: number;
}

const whole =
  (least: number, most: number) =>
  (text: string): number => {
    const number = Number(text);
    if (/^\d{1,9}$/.test(text) && number >= least && number <= most) return number;
    throw new InvalidArgumentError(`Use a whole number from ${least} to ${most}.`);
  };

/** The functions of `ml` are many, and compute with vectors and tables of the caller. */
const usual = rooms.filter((room) => room !== "ml");

/** Serves one client on standard input and output, until it closes them. */
async function serveStdio(config: Config, mcp: Mcp, readReason: string | undefined): Promise<void> {
  const authenticate = createAuthenticate(await authenticationOptions(config));
  const { token } = config;
  const senderOf = async () => ({
    ...(token === undefined ? visitor : await authenticate(`Bearer ${token}`)),
    readReason,
  });
  // A token that is not accepted is reported when the client starts the server.
  const { role, person } = await senderOf();
  console.error(`ready: ${[role, person].filter(Boolean).join(" ")}, on standard input and output`);
  const server = mcp.connect(senderOf);
  const closed = new Promise<void>((resolve) => {
    server.onclose = resolve;
  });
  await server.connect(new StdioServerTransport());
  await Promise.race([closed, once(process.stdin, "end"), once(process, "SIGINT"), once(process, "SIGTERM")]);
  await server.close();
}

export default new Command()
  .description(
    "Offers assistants what a role may call, as tools of the Model Context Protocol: on standard input and output with the " +
      "token of INSIGHTS_TOKEN, or with --http by HTTP, where each request has its token.",
  )
  .addOption(
    new Option("--http [port]", "listen on this port of HOST; the path is /mcp (default: 5679)").argParser(
      whole(0, 65_535),
    ),
  )
  .option(
    "--reason <reason>",
    "why records of people are read, for functions that log it; by HTTP, the header X-Read-Reason",
  )
  .option("--write", "also the functions that write; the role must be allowed to call them")
  .addOption(
    new Option("--room <room>", `functions of this room; repeat it for several (default: all but ml)`).argParser(
      (room: string, before: string[] = []) => {
        if (!rooms.includes(room)) throw new InvalidArgumentError(`Use one of ${rooms.join(", ")}.`);
        return [...before, room];
      },
    ),
  )
  .addOption(new Option("--rows <count>", "rows of an answer").argParser(whole(1, 10_000)).default(200))
  .addOption(
    new Option("--bytes <count>", "bytes of the rows of an answer").argParser(whole(1000, 4_000_000)).default(100_000),
  )
  .addOption(new Option("--seconds <count>", "longest time of a call").argParser(whole(1, 60)).default(10))
  .addHelpText(
    "after",
    "\nWithout INSIGHTS_TOKEN, the role is visitor. `insights token <role> [person]` prints a token. See docs/assistants.md.",
  )
  .action(async (options: Options) => {
    const config = readConfig();
    const isHttp = options.http !== undefined;
    const listener = isHttp
      ? await openListener({
          host: config.host,
          port: options.http === true ? 5679 : (options.http as number),
          variables: { host: "HOST", port: "--http" },
        })
      : undefined;
    // Read once, when the libraries of the API are loaded.
    process.env["GRAPHILE_ENV"] ??= "production";
    const [{ createMcp }, { createHandle }] = await Promise.all([import("../mcp/server.ts"), import("../mcp/http.ts")]);
    const database = await openDatabase(config, "mcp");
    try {
      // Nothing but messages of the protocol is written to standard output.
      if (database.own) await migrate(database.migrationUrl ?? database.url);
      await withClient(database.url, checkApiLogin);
      const size = database.embedded ? 1 : isHttp ? config.poolSize : 2;
      const maxWait = database.embedded ? 30_000 : 5000;
      const pool = createPool(database, size);
      try {
        const mcp = createMcp(pool, createGate(size, maxWait), {
          rooms: options.room ?? usual,
          write: options.write === true,
          rows: options.rows,
          bytes: options.bytes,
          seconds: options.seconds,
          onlyOperations: config.operations !== undefined,
        });
        if (listener === undefined) await serveStdio(config, mcp, options.reason);
        else {
          listener.serve(await createHandle(config, pool, mcp));
          console.log(`ready: ${listener.url}/mcp`);
          await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
          await listener.close();
        }
      } finally {
        await pool.end();
      }
    } finally {
      await listener?.close();
      await database.close();
    }
  });
