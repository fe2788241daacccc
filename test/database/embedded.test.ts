import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { openDatabase, withClient } from "../../src/database/connect.ts";
import { socketFolder, socketPath } from "../../src/database/directory.ts";
import { openEmbedded } from "../../src/database/embedded.ts";

const root = process.getuid?.() === 0;
const nobody = 65534;

/** An existing database: creating one takes seconds. */
let made: string;
let dataDirectory: string;
const children: ChildProcess[] = [];

const newDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), "insights-embedded-"));

beforeAll(async () => {
  made = await newDirectory();
  const database = await openEmbedded({ dataDirectory: made, command: "test" });
  await withClient(database.migrationUrl, async (client) => {
    await client.query("create role insights login");
    // Memory that is filled with zeros at each start.
    await client.query("alter system set shared_buffers = '4MB'");
  });
  await database.close();
});

afterAll(() => rm(made, { recursive: true, force: true }));

beforeEach(async () => {
  dataDirectory = await newDirectory();
  await cp(made, dataDirectory, { recursive: true });
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

/** A program that opens the database, then inserts numbers without end and prints each one once it is acknowledged. */
function writer(): string {
  const connect = new URL("../../src/database/connect.ts", import.meta.url).href;
  const embedded = new URL("../../src/database/embedded.ts", import.meta.url).href;
  return `
    import { withClient } from ${JSON.stringify(connect)};
    import { openEmbedded } from ${JSON.stringify(embedded)};
    const database = await openEmbedded({ dataDirectory: ${JSON.stringify(dataDirectory)}, command: "writer" });
    await withClient(database.migrationUrl, async (client) => {
      await client.query("create table if not exists number (number int)");
      for (let number = 1; ; number++) {
        await client.query("insert into number values ($1)", [number]);
        console.log(number);
      }
    });
  `;
}

async function startWriter(): Promise<{ child: ChildProcess; acknowledged: number[] }> {
  const child = spawn(process.execPath, ["--input-type=module"], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  child.stdin?.end(writer());
  const acknowledged: number[] = [];
  const lines = createInterface({ input: child.stdout as NonNullable<typeof child.stdout> });
  lines.on("line", (line) => acknowledged.push(Number(line)));
  const ended = once(child, "exit").then(([code]) => Promise.reject(new Error(`the writer ended with ${code}`)));
  await Promise.race([once(lines, "line"), ended]);
  // From here on it ends when the test ends it.
  ended.catch(() => {});
  return { child, acknowledged };
}

describe("one process at a time", () => {
  test("after kill -9 every acknowledged row is there, and lock and socket of the killed process are taken over", async () => {
    const { child, acknowledged } = await startWriter();
    await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(200);
    child.kill("SIGKILL");
    await once(child, "exit");
    await stat(socketPath(dataDirectory));

    const database = await openEmbedded({ dataDirectory, command: "test" });
    const stored = await withClient(database.migrationUrl, async (client) => {
      const { rows } = await client.query<{ number: number }>("select number from number order by number");
      return rows.map(({ number }) => number);
    });
    await database.close();
    expect(stored.slice(0, acknowledged.length)).toEqual(acknowledged);
  });

  test.skipIf(process.platform !== "linux")(
    "a killed process that its parent has not reaped yet counts as ended (needs /proc)",
    async () => {
      const file = join(dataDirectory, "..", `writer-${process.pid}.mjs`);
      await writeFile(file, writer());
      // "sleep" replaces the shell, and never waits for the writer.
      const script = `${JSON.stringify(process.execPath)} ${JSON.stringify(file)} & echo "pid $!"; exec sleep 600`;
      const parent = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "inherit"] });
      children.push(parent);
      let said = "";
      parent.stdout.on("data", (chunk) => {
        said += chunk;
      });
      await expect.poll(() => /^pid (\d+)$[\s\S]*^\d+$/m.test(said), { timeout: 30_000 }).toBe(true);
      const pid = Number(/^pid (\d+)$/m.exec(said)?.[1]);
      process.kill(pid, "SIGKILL");
      await expect
        .poll(async () => (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]?.[0], { timeout: 10_000 })
        .toBe("Z");
      const database = await openDatabase(readConfig({ INSIGHTS_DATA_DIR: dataDirectory }), "sql");
      expect(database.own).toBe(true);
      await database.close();
      await rm(file);
    },
  );

  test("while one process has the database, another is refused and gets its name", async () => {
    const { child } = await startWriter();
    await expect(openEmbedded({ dataDirectory, command: "second" })).rejects.toMatchObject({
      message: `${dataDirectory} is in use by "insights writer" (process ${child.pid})`,
      hint: expect.stringContaining("INSIGHTS_DATA_DIR"),
    });
  });

  test("a command uses the running database, and opens it if none runs, also when two start at the same time", async () => {
    const config = readConfig({ INSIGHTS_DATA_DIR: dataDirectory });
    const both = await Promise.all([openDatabase(config, "first"), openDatabase(config, "second")]);
    const [own, others] = both[0].own ? both : [both[1], both[0]];
    expect(own).toMatchObject({ embedded: true, pooler: true, own: true });
    expect(others).toMatchObject({ url: own.url, migrationUrl: own.migrationUrl, own: false });
    await others.close();
    await withClient(own.url, (client) => client.query("select 1"));
    await own.close();
    await expect(readFile(join(dataDirectory, "lock"))).rejects.toMatchObject({ code: "ENOENT" });
    await expect(stat(socketPath(dataDirectory))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("a lock of an ended process with the same number, or an invalid lock, is ignored", async () => {
    for (const content of [JSON.stringify({ pid: process.pid, began: "1", command: "start" }), "", "{"]) {
      await writeFile(join(dataDirectory, "lock"), content);
      const database = await openEmbedded({ dataDirectory, command: "test" });
      await database.close();
    }
  });

  test("a socket that another process listens on is named", async () => {
    const path = socketPath(dataDirectory);
    const other = createServer().listen(path);
    await once(other, "listening");
    await expect(openEmbedded({ dataDirectory, command: "test" })).rejects.toMatchObject({
      message: `the socket ${path} is in use by another process`,
      hint: expect.stringContaining("INSIGHTS_DATA_DIR"),
    });
    other.close();
  });
});

/**
 * Files that another user of the machine can read. Node itself starts as root: it may be in a directory that other
 * users may not enter.
 */
function asNobody(program: string): string {
  const become = `process.setgroups([]); process.setgid(${nobody}); process.setuid(${nobody});`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", `${become} ${program}`], {
    cwd: "/",
    encoding: "utf8",
  });
  return stdout + stderr;
}

describe("a directory of one user", () => {
  test("directories, files and socket are readable by the owner only, also files that are created later", async () => {
    // As earlier versions have left it.
    await chmod(dataDirectory, 0o755);
    await writeFile(join(dataDirectory, "jwt-secret"), "secret\n", { mode: 0o644 });
    const database = await openEmbedded({ dataDirectory, command: "test" });
    expect((await stat(dataDirectory)).mode & 0o777).toBe(0o700);
    for (const round of ["open", "closed"]) {
      const entries = await readdir(dataDirectory, { recursive: true, withFileTypes: true });
      expect(entries.length).toBeGreaterThan(900);
      for (const entry of entries) {
        const name = join(entry.parentPath, entry.name);
        expect(((await stat(name)).mode & 0o077).toString(8), `${name}, ${round}`).toBe("0");
      }
      if (round === "closed") break;
      await withClient(database.migrationUrl, (client) => client.query("create table later (number int)"));
      await database.close();
    }
  });

  test.skipIf(!root)("another user of the machine can read nothing (needs root)", async () => {
    const database = await openEmbedded({ dataDirectory, command: "test" });
    const attempts = {
      list: `import { readdirSync } from "node:fs"; readdirSync(${JSON.stringify(dataDirectory)})`,
      lock: `import { readFileSync } from "node:fs"; readFileSync(${JSON.stringify(join(dataDirectory, "lock"))})`,
      data: `import { readFileSync } from "node:fs"; readFileSync(${JSON.stringify(join(dataDirectory, "database", "PG_VERSION"))})`,
      socket: `import { connect } from "node:net";
        connect(${JSON.stringify(socketPath(dataDirectory))}, () => { console.log("connected"); process.exit(); })`,
    };
    for (const [name, program] of Object.entries(attempts)) expect(asNobody(program), name).toContain("EACCES");
    // The attempts succeed if the directory is open.
    await chmod(dataDirectory, 0o755);
    await chmod(socketPath(dataDirectory), 0o777);
    expect(asNobody(attempts.socket)).toBe("connected\n");
    expect(asNobody(attempts.list)).toBe("");
    await database.close();
  });

  test("one that also contains other files is not closed to others without consent, and not used open", async () => {
    await chmod(dataDirectory, 0o755);
    await writeFile(join(dataDirectory, "thesis.txt"), "");
    await expect(openEmbedded({ dataDirectory, command: "test" })).rejects.toMatchObject({
      message: `other users may read ${dataDirectory}, which also contains other files, such as "thesis.txt"`,
      hint: expect.stringContaining("chmod 700"),
    });
    expect((await stat(dataDirectory)).mode & 0o777).toBe(0o755);
  });

  test.skipIf(!root)("one of another user is refused (needs root)", async () => {
    await chown(dataDirectory, nobody, nobody);
    await expect(openEmbedded({ dataDirectory, command: "test" })).rejects.toMatchObject({
      message: `${dataDirectory} belongs to another user (uid ${nobody}; this process runs as 0)`,
      hint: expect.stringContaining("a directory of your own"),
    });
  });

  test("one that cannot be created, or is not a directory, is named with the setting to change", async () => {
    const file = join(dataDirectory, "file");
    await writeFile(file, "");
    for (const directory of [file, join(file, "below"), "/proc/insights", "/proc/insights/below"]) {
      await expect(openEmbedded({ dataDirectory: directory, command: "test" })).rejects.toMatchObject({
        message: expect.stringContaining(`cannot be kept in ${directory}`),
        hint: "Set INSIGHTS_DATA_DIR to a directory that you may write to.",
      });
    }
  });
});

describe("addresses for clients", () => {
  test("a path too long for a socket moves it to the runtime directory, closed to others", async () => {
    const runtime = await newDirectory();
    const before = process.env["XDG_RUNTIME_DIR"];
    process.env["XDG_RUNTIME_DIR"] = runtime;
    try {
      const long = join(dataDirectory, "a directory with a long name ".repeat(4));
      await mkdir(long);
      const folder = await socketFolder(long);
      expect(folder.startsWith(runtime)).toBe(true);
      for (const path of [folder, dirname(folder)]) expect((await stat(path)).mode & 0o777).toBe(0o700);

      await cp(made, long, { recursive: true });
      const database = await openEmbedded({ dataDirectory: long, command: "test" });
      const found = await openDatabase(readConfig({ INSIGHTS_DATA_DIR: long }), "sql");
      expect(found).toMatchObject({ url: database.url, own: false });
      await withClient(database.psqlUrl, (client) => client.query("select 1"));
      await database.close();

      // Another user created a link there before, to a directory that he may read.
      await rm(dirname(folder), { recursive: true });
      await symlink(dataDirectory, dirname(folder));
      await expect(socketFolder(long)).rejects.toMatchObject({ message: `${dirname(folder)} is not a directory` });
      if (root) {
        await rm(dirname(folder));
        await mkdir(dirname(folder));
        await chown(dirname(folder), nobody, nobody);
        await expect(socketFolder(long)).rejects.toMatchObject({
          message: expect.stringContaining("belongs to another user"),
        });
      }
    } finally {
      if (before === undefined) delete process.env["XDG_RUNTIME_DIR"];
      else process.env["XDG_RUNTIME_DIR"] = before;
      await rm(runtime, { recursive: true });
    }
  });

  test("psql and node-postgres accept the address, also with a path that a shell would change", async () => {
    const odd = join(dataDirectory, "it's $HOME & 50%!");
    await cp(made, odd, { recursive: true });
    const database = await openEmbedded({ dataDirectory: odd, command: "test" });
    const answer = await withClient(database.psqlUrl, (client) => client.query("select current_user as role"));
    expect(answer.rows).toEqual([{ role: "insights" }]);
    const shell = spawn("sh", ["-c", `psql -X -A -t -c "select 'found'" "${database.psqlUrl}"`]);
    let said = "";
    for (const stream of [shell.stdout, shell.stderr]) {
      stream.on("data", (chunk) => {
        said += chunk;
      });
    }
    await once(shell, "close");
    // psql is not installed on every machine.
    if (!said.includes("not found")) expect(said).toBe("found\n");
    await database.close();
  });

  test("TCP is available on request only, and requires the password", async () => {
    const closed = await openEmbedded({ dataDirectory, command: "test" });
    expect(closed.port).toBeUndefined();
    await closed.close();

    const database = await openEmbedded({ dataDirectory, command: "test", port: 0 });
    const password = (await readFile(join(dataDirectory, "database-password"), "utf8")).trim();
    expect(password.length).toBeGreaterThan(30);
    expect(database.psqlUrl).toBe(`postgres://insights@127.0.0.1:${database.port}/postgres`);
    const over = (user: string, secret: string): string =>
      `postgres://${user}:${secret}@127.0.0.1:${database.port}/postgres`;
    const { rows } = await withClient(over("insights", password), (client) => client.query("select 1 as one"));
    expect(rows).toEqual([{ one: 1 }]);
    for (const user of ["insights", "postgres", "nobody"]) {
      for (const wrong of ["wrong", password.slice(1), `${password}x`]) {
        await expect(withClient(over(user, wrong), async () => {})).rejects.toMatchObject({
          code: "28P01",
          message: `password authentication failed for user "${user}"`,
        });
      }
    }
    await expect(withClient(over("nobody", password), async () => {})).rejects.toMatchObject({ code: "28000" });
    const other = await newDirectory();
    await expect(openEmbedded({ dataDirectory: other, command: "test", port: database.port })).rejects.toMatchObject({
      message: `port ${database.port} is taken`,
    });
    await rm(other, { recursive: true });
    await database.close();
  });
});

describe("a database that cannot be opened", () => {
  const control = (): string => join(dataDirectory, "database", "global", "pg_control");

  test("a damaged one is reported with the possible fixes, and is not changed", async () => {
    const file = await open(control(), "r+");
    await file.write(Buffer.alloc(200, 0xa5), 0, 200, 0);
    await file.close();
    const before = await readFile(control());
    await expect(openEmbedded({ dataDirectory, command: "test" })).rejects.toMatchObject({
      message: expect.stringContaining(`the embedded database in ${join(dataDirectory, "database")} is damaged`),
      hint: expect.stringMatching(/Restore .* from a backup, or move .* away/),
    });
    expect(await readFile(control())).toEqual(before);
    await expect(stat(join(dataDirectory, "lock"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("a directory that contains other files does not become a database", async () => {
    await rm(join(dataDirectory, "database", "PG_VERSION"));
    await expect(openEmbedded({ dataDirectory, command: "test" })).rejects.toMatchObject({
      message: expect.stringContaining("PG_VERSION is missing"),
    });
  });

  test("one whose creation was interrupted is created again", async () => {
    await rm(join(dataDirectory, "database"), { recursive: true });
    await mkdir(join(dataDirectory, "database.new", "global"), { recursive: true });
    const database = await openEmbedded({ dataDirectory, command: "test" });
    await withClient(database.migrationUrl, (client) => client.query("select 1"));
    await database.close();
    expect(await readdir(dataDirectory)).toEqual(["database"]);
  });

  test("a full disk is reported, and the unfinished database is not used", async (context) => {
    const small = await newDirectory();
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=30m", "tmpfs", small]).status === 0;
    if (!mounted) context.skip("needs the right to mount");
    try {
      const directory = join(small, "data");
      await expect(openEmbedded({ dataDirectory: directory, command: "test" })).rejects.toMatchObject({
        message: expect.stringContaining(`the disk of ${directory} is full`),
        hint: expect.stringContaining("Free space"),
      });
      expect(await readdir(directory)).not.toContain("database");
    } finally {
      spawnSync("umount", [small]);
      await rm(small, { recursive: true, force: true });
    }
  });
});
