import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { catalogueOf } from "../../src/database/catalogue.ts";
import { withClient } from "../../src/database/connect.ts";
import { bootstrap } from "../../src/database/migrate.ts";
import { checkout } from "../support/checkout.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile } from "../support/insights.ts";

endAtEndOfFile();

const template = await testDatabase();

describe.skipIf(!template.native)("releases (need a real server)", async () => {
  if (!template.native) return;
  const copy = await checkout();
  const server = template.url();
  await copy.firstRelease(server);
  const database = await testDatabase({ empty: true });
  const call = async (...parameters: string[]): Promise<string> => {
    const run = copy.insights(parameters, database.url());
    if ((await run.exitCode()) !== 0) throw new Error(run.output());
    return run.output();
  };
  const catalogue = (): Promise<unknown> => database.as("insights_owner", { search_path: "" }, catalogueOf);
  const journey = "src/sql/track/functions/journey.sql";
  const comment = (): Promise<string> => database.value("select obj_description('track.journey'::regproc)");

  test("one word changed in a comment is a release of one file, without a lock on a table", async () => {
    expect(await call("migrate")).toContain("applied 000001-first-release.sql\n");
    expect(await call("migrate")).toBe("up to date\n");

    const text = await copy.read(journey);
    const word = /comment on function track\.journey[^$]*\$\$\s*(?:@.*\n)*(\w+)/.exec(text)?.[1] ?? "";
    await copy.write(
      journey,
      text.replace(new RegExp(`(comment on function track\\.journey[^$]*\\$\\$\\s*(?:@.*\n)*)${word}`), "$1Oneword"),
    );
    await copy.commit(server, "--message", "one word");
    const released = await copy.read("migrations/committed/000002-one-word.sql");
    const lines = released.split("\n").length - 1;
    const file = (await copy.read(journey)).split("\n").length;
    console.log(`a release of one changed word has ${lines} lines, of which ${file} are the file`);
    expect(lines).toBeLessThan(file + 40);
    expect(released.match(/^--! Included .*/gm)).toEqual([
      "--! Included prepare.sql",
      "--! Included track/functions/journey.sql",
    ]);
    expect(await copy.read("current.sql")).toMatch(/^-- .*\n$/);

    const planned = await call("migrate", "--plan");
    expect(planned).toContain("release 000002-one-word.sql: ");
    expect(planned).toContain("comment on function track.journey");
    expect(planned).toContain("no read and no write waits for it\n");
    expect(await comment()).not.toContain("Oneword");

    const locked = await database.as("insights_owner", {}, async (db) => {
      await db.query(released);
      return await db.rows(
        `select relation::regclass::text, mode from pg_locks
         where pid = pg_backend_pid() and locktype = 'relation' and mode not in ('AccessShareLock', 'RowShareLock')
           and relation::regclass::text !~ '^pg_'`,
      );
    });
    expect(locked).toEqual([]);
    await expect(call("migrate", "--dry-run")).rejects.toThrow("there is no terminal to confirm it");
    const dry = await call("migrate", "--dry-run", "--yes");
    expect(dry).toMatch(/ran 000002-one-word.sql in \d+ ms, and rolled it back\n$/);
    expect(await comment()).not.toContain("Oneword");
    expect(await call("migrate")).toBe("applied 000002-one-word.sql\n");
    expect(await comment()).toContain("Oneword");
    expect(await call("migrate", "--plan")).toBe("up to date: nothing to do\n");
  });

  test("a file that was edited, migrated and restored is applied again", async () => {
    const text = await copy.read(journey);
    await copy.write(journey, text.replace("Oneword", "Otherword"));
    expect(await call("migrate", "--plan")).toContain("changes of this checkout: ");
    expect(await call("migrate")).toBe("applied the changes of this checkout\n");
    expect(await comment()).toContain("Otherword");
    expect(await call("migrate")).toBe("up to date\n");
    await copy.write(journey, text);
    expect(await call("migrate")).toBe("applied the changes of this checkout\n");
    expect(await comment()).toContain("Oneword");
    expect(await call("migrate")).toBe("up to date\n");
    await expect(copy.commit(server, "--message", "nothing")).rejects.toThrow(
      "nothing has changed since the last release",
    );
  });

  test("of policies, only the statements that changed are released, and nothing else is locked", async () => {
    const policies = "src/sql/monitor/policies.sql";
    const text = await copy.read(policies);
    await copy.write(
      policies,
      `${text}\ndrop policy if exists extra on monitor.run;\ncreate policy extra on monitor.run to insights_admin using (task <> 'it''s; nothing');\n`,
    );
    await copy.commit(server, "--message", "a policy");
    const released = await copy.read("migrations/committed/000003-a-policy.sql");
    expect(released).toContain(
      "-- from monitor/policies.sql\ndrop policy if exists extra on monitor.run;\ncreate policy extra",
    );
    expect(released).not.toMatch(/create policy (?!extra )/);
    expect(await call("migrate", "--plan")).toMatch(
      /blocks other sessions until it is committed:\n {4}ACCESS EXCLUSIVE on monitor.run \(.*\): reads and writes wait\n/,
    );
    // This database has run edits of a checkout, so that it runs every file again: their effects are unknown.
    expect(await call("migrate")).toBe("applied 000003-a-policy.sql\napplied the changes of this checkout\n");
    expect(await call("migrate")).toBe("up to date\n");

    // Objects that are removed are dropped in current.sql; without the statement, the comparison detects it.
    await copy.write(policies, text);
    await expect(copy.commit(server, "--message", "no policy")).rejects.toThrow(
      "monitor/policies.sql has fewer statements, and current.sql does not drop the objects that they created",
    );
    await copy.write("current.sql", "comment on schema monitor is 'Another comment than the source has.';\n");
    await expect(copy.commit(server, "--message", "no policy")).rejects.toThrow(
      /policy monitor.run.extra: only in the release\n {2}schema monitor: comment\nhint: .*current.sql/,
    );
    expect(await copy.releases()).toHaveLength(3);
    await copy.write("current.sql", "drop policy if exists extra on monitor.run;\n");
    await copy.commit(server, "--message", "no policy");
    expect(await call("migrate")).toContain("applied 000004-no-policy.sql\n");
  });

  test("a changed file that is missing in a release is detected", async () => {
    const manifest = await copy.read("migrations/committed/manifest.json");
    const text = await copy.read(journey);
    await copy.write(journey, text.replace("Oneword", "Leftout"));
    await copy.write("current.sql", "comment on table monitor.run is 'Changed.';\n");
    // As if the file had been released: the manifest has its new hashes.
    const {
      readSource,
      filesOf,
      writeManifest,
      readManifest: readCopied,
    } = (await import(join(copy.root, "src/database/source.ts"))) as typeof import("../../src/database/source.ts");
    const source = await readSource();
    if (source === undefined) throw new Error("no source");
    await writeManifest({ ...(await readCopied()), files: filesOf(source) });
    await expect(copy.commit(server, "--message", "left out")).rejects.toThrow(
      /does not give the same catalogue as src\/sql installed from empty:\n[\s\S]*function track\.journey\([^)]*\): comment\n/,
    );
    await copy.write("migrations/committed/manifest.json", manifest);
    await copy.write("current.sql", "");
    await copy.write(journey, text);
    expect(await call("migrate")).toBe("up to date\n");
  });

  test("a dropped function is created again if current.sql includes its file", async () => {
    await copy.write(
      "current.sql",
      "drop function if exists track.journey(text, timestamptz, timestamptz, int) cascade;\n--!include track/functions/journey.sql\n",
    );
    const before = await catalogue();
    expect(await call("migrate")).toBe("applied the changes of this checkout\n");
    expect(await catalogue()).toEqual(before);
    expect(await call("migrate")).toBe("up to date\n");
    await copy.commit(server, "--message", "journey again");
    expect(await call("migrate")).toContain("applied 000005-journey-again.sql\n");
    expect(await catalogue()).toEqual(before);
  });

  test("the same releases, applied by graphile-migrate itself, give the same database", async () => {
    const other = await testDatabase({ empty: true });
    await withClient(other.url(), bootstrap);
    const { migrate } = await import("graphile-migrate");
    await migrate({
      connectionString: other.url(),
      migrationsFolder: join(copy.root, "migrations"),
      pgSettings: { role: "insights_owner" },
    });
    expect(await other.as("insights_owner", { search_path: "" }, catalogueOf)).toEqual(await catalogue());
    const after = copy.insights(["migrate"], other.url());
    expect(await after.exitCode()).toBe(0);
    expect(after.output()).toBe("up to date\n");
  });

  test("once there is a second release, the first is not generated again, and an edited one is refused", async () => {
    await expect(copy.commit(server, "--first")).rejects.toThrow("the releases are frozen");
    const file = "migrations/committed/000002-one-word.sql";
    const text = await copy.read(file);
    await copy.remove(file);
    await copy.write(file, text.replace("Oneword", "Edited"));
    await expect(call("migrate")).rejects.toThrow("000002-one-word.sql is not the file that was released");
    await copy.remove(file);
    await copy.write(file, text);
    expect(await call("migrate")).toBe("up to date\n");
  });

  test("a database of an earlier first release is reported before anything is changed", async () => {
    await database.query("alter table graphile_migrate.migrations drop constraint migrations_previous_hash_fkey");
    await database.query(
      "update graphile_migrate.migrations set hash = 'sha1:0123456789abcdef' where filename = '000001.sql'",
    );
    const before = await catalogue();
    for (const parameters of [["migrate"], ["migrate", "--plan"], ["doctor"]]) {
      const run = copy.insights(parameters, database.url());
      expect(await run.exitCode()).toBe(1);
      expect(run.output()).toMatch(
        /this database was made by a pre-release version: its first release is sha1:0123456789ab, /,
      );
      expect(run.output()).toContain("migrate a new database");
    }
    expect(await catalogue()).toEqual(before);
  });
});
