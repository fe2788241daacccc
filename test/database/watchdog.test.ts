import { cp, mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, describe, expect, test } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { socketPath } from "../../src/database/directory.ts";
import { type EmbeddedDatabase, openEmbedded } from "../../src/database/embedded.ts";
import { migrate } from "../../src/database/migrate.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";
import { isFull } from "../support/runs.ts";

/** It would run for hours. */
const endless = "select count(*) from generate_series(1, 1000000000) as a, generate_series(1, 1000) as b";

const dataDirectory = await mkdtemp(join(tmpdir(), "insights-watchdog-"));
let failure: Error | undefined;
const database: EmbeddedDatabase = await openEmbedded({
  dataDirectory,
  command: "test",
  onFailure: (error) => {
    failure = error;
  },
});
await migrate(database.migrationUrl);
// Memory that is filled with zeros at each start.
await withClient(database.migrationUrl, (client) => client.query("alter system set shared_buffers = '4MB'"));
await withClient(database.psqlUrl, (client) => client.query("create table public.note (number int)"));

endAtEndOfFile();
afterAll(async () => {
  expect(failure).toBeUndefined();
  await database.close();
  await rm(dataDirectory, { recursive: true, force: true });
});

async function connected<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  return await withClient(database.psqlUrl, work);
}

const timedOut = { code: "57014", message: "canceling statement due to statement timeout" };

describe("a statement that exceeds its limit", () => {
  test("is cancelled with 57014; its connection and those of others continue, with their settings", async () => {
    await connected(async (other) => {
      await other.query("set search_path to pg_catalog, track");
      await connected(async (client) => {
        await client.query("set a.b to 'mine'");
        // Long enough for the short statements below on a busy machine.
        await client.query("set statement_timeout = '1500ms'");
        const refused = client.query(endless);
        const waiting = other.query("select current_setting('search_path') as path");
        await expect(refused).rejects.toMatchObject({ ...timedOut, hint: expect.stringContaining("1.5 s") });
        expect((await waiting).rows).toEqual([{ path: "pg_catalog, track" }]);
        const { rows } = await client.query(
          "select current_setting('a.b') as custom, current_setting('statement_timeout') as timeout, current_user as role",
        );
        expect(rows).toEqual([{ custom: "mine", timeout: "1500ms", role: "insights" }]);
        await client.query("set statement_timeout = 0");
        expect((await client.query("select pg_sleep(1.6)")).rowCount).toBe(1);
      });
    });
  });

  test("leaves its transaction to be rolled back, as in PostgreSQL, wherever the limit was set", async () => {
    await connected(async (client) => {
      await client.query("begin");
      // As the API does it: the name of the setting is in a parameter.
      await client.query("select set_config(name, value, true) from json_each_text($1) as setting (name, value)", [
        JSON.stringify({ role: "insights_admin", statement_timeout: "300ms" }),
      ]);
      await expect(client.query("select count(*) from generate_series(1, $1::bigint)", [1e12])).rejects.toMatchObject(
        timedOut,
      );
      await expect(client.query("select 1")).rejects.toMatchObject({ code: "25P02" });
      await client.query("rollback");
      // The limit belonged to the transaction.
      expect((await client.query("select current_user as role, pg_sleep(0.5)")).rows).toMatchObject([
        { role: "insights" },
      ]);
    });
  });

  test("loses nothing that was acknowledged, however often it happens", async () => {
    const acknowledged: number[] = [];
    let repeat = true;
    const writing = connected(async (client) => {
      for (let number = 1; repeat; number++) {
        await client.query("insert into public.note values ($1)", [number]);
        acknowledged.push(number);
      }
    });
    await connected(async (client) => {
      await client.query("set statement_timeout = '200ms'");
      for (let round = 0; round < 5; round++) {
        await expect(client.query(`insert into public.note ${endless}`)).rejects.toMatchObject(timedOut);
        const before = acknowledged.length;
        await expect.poll(() => acknowledged.length, { timeout: 30_000 }).toBeGreaterThan(before + 20);
      }
    });
    repeat = false;
    await writing;
    const { rows } = await connected((client) => client.query("select number from public.note order by number"));
    expect(rows.map(({ number }) => number)).toEqual(acknowledged);
  });

  test("closes its connection if that had prepared statements, which cannot be restored", async () => {
    const bystander = new pg.Client({ connectionString: database.psqlUrl });
    const lost = new Promise<Error>((resolve) => bystander.on("error", resolve));
    await bystander.connect();
    await bystander.query({ name: "kept", text: "select 1" });
    const owner = new pg.Client({ connectionString: database.psqlUrl });
    owner.on("error", () => {});
    await owner.connect();
    await owner.query("set statement_timeout = '200ms'");
    await expect(owner.query({ name: "own", text: endless })).rejects.toMatchObject(timedOut);
    expect(await connected((client) => client.query("select 1 as one").then(({ rows }) => rows))).toEqual([{ one: 1 }]);
    expect(await lost).toMatchObject({ code: "57P01", message: expect.stringContaining("was restarted") });
    await expect(owner.query("select 1")).rejects.toThrow();
  });
});

test("an engine that fails is opened again, and the client gets an error", async () => {
  await connected(async (other) => {
    const client = new pg.Client({ connectionString: database.psqlUrl });
    client.on("error", () => {});
    await client.connect();
    // Deeper than the engine's stack.
    await expect(client.query(`select '${"[".repeat(50_000)}${"]".repeat(50_000)}'::json`)).rejects.toMatchObject({
      code: "57P02",
      message: expect.stringContaining("was opened again"),
    });
    expect((await other.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  });
});

test("a database can be closed while a statement runs, which is rolled back", async () => {
  const directory = await mkdtemp(join(tmpdir(), "insights-closed-"));
  const closing = await openEmbedded({ dataDirectory: directory, command: "test" });
  const client = new pg.Client({ connectionString: closing.migrationUrl });
  client.on("error", () => {});
  await client.connect();
  await client.query("create table kept (number int)");
  const statement = client.query(`insert into kept ${endless}`).catch((error: Error) => error);
  await closing.close();
  expect(await statement).toBeInstanceOf(Error);
  const again = await openEmbedded({ dataDirectory: directory, command: "test" });
  const { rows } = await withClient(again.migrationUrl, (reader) => reader.query("select number from kept"));
  expect(rows).toEqual([]);
  await again.close();
  await rm(directory, { recursive: true });
});

describe("a request to cancel", () => {
  /** The key that the server sends to a client, of which node-postgres stores the parts. */
  const keyOf = (client: pg.Client): { process: number; secret: number } => {
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    return { process: processID, secret: secretKey };
  };
  const cancel = async ({ process, secret }: { process: number; secret: number }): Promise<void> => {
    const packet = Buffer.alloc(16);
    for (const [index, value] of [16, 80877102, process, secret].entries()) packet.writeInt32BE(value, 4 * index);
    await new Promise<void>((resolve) => {
      const asking: Socket = connect(socketPath(dataDirectory), () => asking.write(packet));
      asking.on("close", () => resolve());
      asking.resume();
    });
  };

  test("cancels the statement of the client that has the key, and no other", async () => {
    await connected(async (client) => {
      const key = keyOf(client);
      let ended = false;
      const running = client.query(endless).finally(() => {
        ended = true;
      });
      running.catch(() => {});
      await cancel({ ...key, secret: key.secret ^ 1 });
      await connected(async (other) => cancel(keyOf(other)));
      await new Promise((resolve) => setTimeout(resolve, 1500));
      expect(ended).toBe(false);
      await cancel(key);
      await expect(running).rejects.toMatchObject({
        code: "57014",
        message: "canceling statement due to user request",
      });
      expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    });
  });

  test("gives a short statement time to end", async () => {
    await connected(async (client) => {
      const running = client.query("select pg_sleep(0.1)");
      await cancel(keyOf(client));
      expect((await running).rowCount).toBe(1);
    });
  });
});

describe("sessions without superuser", () => {
  test("statements that would end the engine or write files are refused, also after attempts to restore the superuser", async () => {
    const copies = ["copy (select 1) to program 'true'", `copy (select 1) to '${join(dataDirectory, "x")}'`];
    const attempts = ["", "reset role", "set session authorization postgres", "discard all", "set role none"];
    await connected(async (client) => {
      for (const attempt of attempts) {
        if (attempt !== "") await client.query(attempt);
        for (const copy of copies) await expect(client.query(copy), attempt).rejects.toMatchObject({ code: "42501" });
        const { rows } = await client.query("select session_user as login, current_setting('is_superuser') as super");
        expect(rows, attempt).toEqual([{ login: "insights", super: "off" }]);
      }
    });
  });

  test("a person with psql can read everything, create tables and schemas, and use the roles", async () => {
    await connected(async (client) => {
      await client.query("create schema lab; create table lab.t as select 1 as x; drop schema lab cascade");
      await client.query("select count(*) from track.event");
      await client.query("select count(*) from insights_queue.jobs");
      await client.query("vacuum (analyze) track.person");
      for (const role of ["owner", "visitor", "learner", "instructor", "analyst", "admin", "worker", "api"]) {
        await client.query("begin");
        await client.query(`set local role insights_${role}`);
        await client.query("rollback");
      }
    });
  });

  test("only roles that exist and may log in are accepted", async () => {
    const as = (user: string): Promise<unknown> =>
      withClient(database.psqlUrl.replace("user=insights", `user=${user}`), (client) =>
        client.query("select current_user as role").then(({ rows }) => rows),
      );

    expect(await as("postgres")).toEqual([{ role: "postgres" }]);
    await expect(as("unknown")).rejects.toMatchObject({ code: "28000", message: 'role "unknown" does not exist' });
    await expect(as("insights_owner")).rejects.toMatchObject({
      code: "28000",
      message: 'role "insights_owner" is not permitted to log in',
    });
  });
});

describe("a signal ends the process even while a statement runs", () => {
  for (const { command, ready, usual } of [
    { command: "api", ready: /^ready: /m, usual: "SIGTERM" },
    { command: "worker", ready: /^ready: /m, usual: "SIGTERM" },
    { command: "start", ready: /^ready in /m, usual: "SIGINT" },
  ]) {
    // The signal of a service manager or of a terminal; the other one with `--full`.
    for (const signal of (["SIGTERM", "SIGINT"] as const).filter((one) => isFull || one === usual)) {
      test(`${command}, ${signal}`, { timeout: 180_000 }, async () => {
        const directory = await mkdtemp(join(tmpdir(), "insights-signal-"));
        try {
          await withClient(database.migrationUrl, (client) => client.query("checkpoint"));
          await cp(join(dataDirectory, "database"), join(directory, "database"), { recursive: true });
          const running = insights([command], { INSIGHTS_DATA_DIR: directory, PORT: "0" });
          await running.prints(command === "start" ? /^Simulating a platform/m : ready);
          const client = new pg.Client({ connectionString: `postgres:///postgres?host=${directory}&user=insights` });
          client.on("error", () => {});
          await client.connect();
          await client.query("create table if not exists public.kept (number int)");
          await client.query("insert into public.kept values (1)");
          const statement = client.query(endless).catch((error: Error) => error);
          // A request in the process itself, which waits for the session.
          const url = /^ready: (http:\S+)\/graphql,/m.exec(running.output())?.[1];
          const request = url === undefined ? undefined : fetch(`${url}/healthz`).catch((error: Error) => error);
          running.child.kill(signal);
          expect(await running.exitCode()).toBe(command === "start" ? 130 : 0);
          expect(await statement).toBeInstanceOf(Error);
          if (url !== undefined) expect(await request).toBeInstanceOf(Error);
          const again = await openEmbedded({ dataDirectory: directory, command: "test" });
          const { rows } = await withClient(again.psqlUrl, (reader) => reader.query("select number from public.kept"));
          expect(rows).toEqual([{ number: 1 }]);
          await again.close();
        } finally {
          await rm(directory, { recursive: true, force: true });
        }
      });
    }
  }
});
