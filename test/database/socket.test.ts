import { connect } from "node:net";
import type { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { openPglite } from "../../src/database/pglite.ts";
import { serveLocally } from "../support/embedded.ts";

const database = await openPglite();
const socket = await serveLocally(database);
const pool = new pg.Pool({ connectionString: socket.url, max: 8 });

afterAll(async () => {
  await pool.end();
  await socket.stop();
  await database.close();
});

beforeEach(async () => {
  await pool.query("drop table if exists public.note; create table public.note (number int, body text)");
});

async function withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: socket.url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** One typed message of the wire protocol. */
function typed(type: string, body: string): Buffer {
  const result = Buffer.alloc(5 + Buffer.byteLength(body));
  result.write(type, 0);
  result.writeInt32BE(result.length - 1, 1);
  result.write(body, 5);
  return result;
}

describe("many connections, one session", () => {
  test("statements larger than a packet keep their own parameters with concurrent clients and errors", async () => {
    const long = "y".repeat(400_000);
    const kinds = [
      async (number: number) => {
        const { rows } = await pool.query("select $1::int as number, length($2::text) as length", [number, long]);
        expect(rows).toEqual([{ number, length: long.length }]);
      },
      async (number: number) => {
        const { rows } = await pool.query("select $1::text as a, $2::int as b", [`x${number}`, number]);
        expect(rows).toEqual([{ a: `x${number}`, b: number }]);
      },
      async (number: number) => {
        await expect(pool.query("select $1::int / 0, $2::text", [number, long])).rejects.toMatchObject({
          code: "22012",
        });
      },
    ];
    await Promise.all(Array.from({ length: 120 }, (_, number) => kinds[number % kinds.length]?.(number)));
  });

  test("a transaction has the session exclusively until it ends", async () => {
    await withClient(async (client) => {
      await client.query("begin");
      await client.query("insert into public.note values (1)");
      let answered = false;
      const outside = pool.query("select count(*)::int as count from public.note").then((result) => {
        answered = true;
        return result;
      });
      await client.query("select pg_sleep(0.05)");
      expect(answered).toBe(false);
      await client.query("rollback");
      expect((await outside).rows).toEqual([{ count: 0 }]);
    });
  });

  test("a client that disconnects inside a transaction is rolled back and frees the session", async () => {
    const client = new pg.Client({ connectionString: socket.url });
    client.on("error", () => {});
    await client.connect();
    await client.query("begin");
    await client.query("insert into public.note values (1)");
    client.connection.stream.destroy();
    expect((await pool.query("select count(*)::int as count from public.note")).rows).toEqual([{ count: 0 }]);
  });

  test("a transaction that is left open is rolled back when others wait, and only then", async () => {
    // A database of its own: the limit is short, and the transactions of the other tests may take their time.
    const copy = (await database.clone()) as PGlite;
    const strict = await serveLocally(copy, { idleLimit: 500 });
    const client = new pg.Client({ connectionString: strict.url });
    const lost = new Promise<Error>((resolve) => client.on("error", resolve));
    await client.connect();
    await client.query("begin");
    await client.query("insert into public.note values (1)");
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await client.query("insert into public.note values (2)");
    const other = new pg.Client({ connectionString: strict.url });
    await other.connect();
    expect((await other.query("select count(*)::int as count from public.note")).rows).toEqual([{ count: 0 }]);
    expect(await lost).toMatchObject({ code: "25P03" });
    await other.end();
    await strict.stop();
    await copy.close();
  });

  test("a setting belongs to the connection that made it", async () => {
    await pool.query("do $$ begin create role socket_guest; exception when duplicate_object then null; end $$");
    const seen =
      "select current_user as role, current_setting('search_path') as path, coalesce(current_setting('a.b', true), '') as custom";
    const untouched = (await pool.query(seen)).rows[0];
    await withClient(async (client) => {
      await client.query("set search_path to pg_catalog, public");
      await client.query("set a.b to 'mine'");
      await client.query("set role socket_guest");
      expect((await pool.query(seen)).rows[0]).toEqual(untouched);
      expect((await client.query(seen)).rows[0]).toEqual({
        role: "socket_guest",
        path: "pg_catalog, public",
        custom: "mine",
      });
    });
    expect((await pool.query(seen)).rows[0]).toMatchObject({ role: "postgres", path: untouched.path });
  });

  test("a prepared statement ends with its connection", async () => {
    for (const number of [1, 2]) {
      await withClient(async (client) => {
        const { rows } = await client.query({ name: "same", text: `select ${number} as number` });
        expect(rows).toEqual([{ number }]);
      });
    }
  });
});

describe("the wire protocol", () => {
  const conversation = (bytes: Buffer[], until: (text: string) => boolean): Promise<string> =>
    new Promise((resolve, reject) => {
      let text = "";
      const client = connect(socket.path, () => {
        for (const chunk of bytes) client.write(chunk);
      });
      client.on("data", (chunk) => {
        text += chunk.toString("latin1");
        if (until(text)) client.end(() => resolve(text));
      });
      client.on("close", () => resolve(text));
      client.on("error", reject);
    });
  const startup = Buffer.from("\0\0\0\x17\0\x03\0\0user\0postgres\0\0", "latin1");

  test("encryption is declined, and the connection continues without it", async () => {
    const request = Buffer.alloc(8);
    request.writeInt32BE(8, 0);
    request.writeInt32BE(80877103, 4);
    expect(await conversation([request, startup], (text) => text.includes("server_version"))).toMatch(/^NR/);
  });

  test("rows that a client sends by COPY arrive, and a refused COPY affects no other client", async () => {
    const copy = (table: string): Promise<string> =>
      conversation(
        [startup, typed("Q", `copy public.${table} from stdin\0`), typed("d", "1\tone\n2\ttwo\n"), typed("c", "")],
        (text) => /(COPY 2|does not exist)[\s\S]*Z/.test(text),
      );
    expect(await copy("note")).toContain("COPY 2");
    expect(await copy("nowhere")).toContain("does not exist");
    expect(await conversation([startup, typed("Q", "select 1; copy public.note from stdin\0")], () => false)).toContain(
      "must be a query of its own",
    );
    expect((await pool.query("select number, body from public.note order by number")).rows).toEqual([
      { number: 1, body: "one" },
      { number: 2, body: "two" },
    ]);
  });

  test("another protocol gets an error message", async () => {
    expect(await conversation([Buffer.from("GET / HTTP/1.1\r\n\r\n")], () => false)).toContain(
      "not the PostgreSQL protocol",
    );
  });
});
