import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { openDatabase, withClient } from "../../src/database/connect.ts";
import { openEmbedded } from "../../src/database/embedded.ts";

let dataDirectory: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  dataDirectory = await mkdtemp(join(tmpdir(), "insights-embedded-"));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }
  await rm(dataDirectory, { recursive: true, force: true });
});

/** Another process that opens the database, then inserts numbers for ever and says each one once it is acknowledged. */
async function startWriter(): Promise<{ child: ChildProcess; acknowledged: number[] }> {
  const connect = new URL("../../src/database/connect.ts", import.meta.url).href;
  const embedded = new URL("../../src/database/embedded.ts", import.meta.url).href;
  const child = spawn(process.execPath, ["--input-type=module"], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  child.stdin?.end(`
    import { withClient } from ${JSON.stringify(connect)};
    import { openEmbedded } from ${JSON.stringify(embedded)};
    const database = await openEmbedded({ dataDirectory: ${JSON.stringify(dataDirectory)}, command: "writer" });
    await withClient(database.url, async (client) => {
      await client.query("create table if not exists number (number int)");
      for (let number = 1; ; number++) {
        await client.query("insert into number values ($1)", [number]);
        console.log(number);
      }
    });
  `);
  const acknowledged: number[] = [];
  const lines = createInterface({ input: child.stdout as NonNullable<typeof child.stdout> });
  lines.on("line", (line) => acknowledged.push(Number(line)));
  const ended = once(child, "exit").then(([code]) => Promise.reject(new Error(`the writer ended with ${code}`)));
  await Promise.race([once(lines, "line"), ended]);
  // From now on it ends when the test says so.
  ended.catch(() => {});
  return { child, acknowledged };
}

test("after kill -9 every acknowledged row is there, and the lock of the dead process is taken over", async () => {
  const { child, acknowledged } = await startWriter();
  await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(200);
  child.kill("SIGKILL");
  await once(child, "exit");

  const database = await openEmbedded({ dataDirectory, command: "test" });
  const stored = await withClient(database.url, async (client) => {
    const { rows } = await client.query<{ number: number }>("select number from number order by number");
    return rows.map(({ number }) => number);
  });
  await database.close();
  expect(stored.slice(0, acknowledged.length)).toEqual(acknowledged);
});

test("while one process has the database, another is refused it and told who has it", async () => {
  const { child } = await startWriter();
  await expect(openEmbedded({ dataDirectory, command: "second" })).rejects.toMatchObject({
    message: `${dataDirectory} is in use by "insights writer" (process ${child.pid})`,
    hint: expect.stringContaining("INSIGHTS_DATA_DIR"),
  });
});

test("a command uses the database that is running, and opens it where none runs", async () => {
  const config = readConfig({ INSIGHTS_DATA_DIR: dataDirectory });
  const first = await openDatabase(config, "first");
  expect(first).toMatchObject({ embedded: true, pooler: true, own: true });
  const second = await openDatabase(config, "second");
  expect(second).toMatchObject({ url: first.url, own: false });
  await second.close();
  await withClient(first.url, (client) => client.query("select 1"));
  await first.close();
  await expect(readFile(join(dataDirectory, "lock"))).rejects.toMatchObject({ code: "ENOENT" });
});

test("a lock that a process with the same number left, or that is no lock at all, does not stand in the way", async () => {
  for (const content of [JSON.stringify({ pid: process.pid, began: "1", command: "start", port: 1 }), "", "{"]) {
    await writeFile(join(dataDirectory, "lock"), content);
    const database = await openEmbedded({ dataDirectory, command: "test" });
    await database.close();
  }
});

test("a taken port is named", async () => {
  const database = await openEmbedded({ dataDirectory, command: "test" });
  const other = await mkdtemp(join(tmpdir(), "insights-embedded-"));
  await expect(openEmbedded({ dataDirectory: other, command: "test", port: database.port })).rejects.toMatchObject({
    message: `port ${database.port} is taken`,
  });
  await database.close();
  await rm(other, { recursive: true });
});

test("a directory that can not be one is named, with what to set", async () => {
  const file = join(dataDirectory, "file");
  await writeFile(file, "");
  for (const directory of [file, join(file, "below")]) {
    await expect(openEmbedded({ dataDirectory: directory, command: "test" })).rejects.toMatchObject({
      message: expect.stringContaining(`can not be kept in ${directory}`),
      hint: "Set INSIGHTS_DATA_DIR to a directory that you may write in.",
    });
  }
});
