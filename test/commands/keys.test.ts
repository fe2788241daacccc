import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase();
endAtEndOfFile();

// The embedded database behaves like a pooler, which its address does not show.
const environment = { DATABASE_URL: database.url(), INSIGHTS_POOLER: String(!database.native) };

interface Result {
  code: number | null;
  out: string;
  said: string;
}

async function call(...words: string[]): Promise<Result> {
  const running = insights(words, environment);
  return { code: await running.exitCode(), out: running.printed(), said: running.output() };
}

const opens = async (key: string): Promise<string> => {
  const hash = createHash("sha256").update(key).digest("hex");
  return await database.value("select source || ' ' || level from track.open_write_key($1, 'events')", [hash]);
};
const fails = async (key: string): Promise<string> => {
  const hash = createHash("sha256").update(key).digest("hex");
  return (await database.rejects("select track.open_write_key($1, 'events')", [hash])).message;
};

describe("insights keys", () => {
  test("without keys prints how to create one", async () => {
    expect(await call("keys", "list")).toMatchObject({ code: 0, out: expect.stringContaining("insights keys create") });
    expect(await call("keys", "log")).toMatchObject({ code: 0, out: "no entries\n" });
  });

  test("create, list, rotate, revoke and log", async () => {
    const created = await call("keys", "create", "campus-backend", "--level", "server");
    const key = created.out.trim();
    // Standard output contains the key alone.
    expect(key).toMatch(/^cfi_[0-9a-f]{64}$/);
    expect(created.said).toContain('of the source "campus-backend", level server. It is shown only now:');
    expect(await opens(key)).toBe("campus-backend server");

    const words = "--origin https://a.example,https://b.example --origin https://c.example:8443 --scope events";
    const options = [...words.split(" "), "--scope", "features", "--rate", "77", "--expires", "90d", "--json"];
    const web = JSON.parse((await call("keys", "create", "campus web", ...options)).out);
    expect(web).toEqual({
      key_id: expect.any(Number),
      write_key: expect.any(String),
      source: "campus web",
      level: "anonymous",
    });

    const listed = await call("keys", "list", "--json");
    expect(JSON.parse(listed.out)).toEqual([
      expect.objectContaining({
        source: "campus web",
        origins: ["https://a.example", "https://b.example", "https://c.example:8443"],
        scopes: ["events", "features"],
        requests_per_minute: 77,
        state: expect.stringMatching(/^until \d{4}-\d\d-\d\d \d\d:\d\dZ$/),
      }),
      expect.objectContaining({
        source: "campus-backend",
        origins: [],
        scopes: ["events"],
        state: "valid",
        used_on: null,
      }),
    ]);
    const table = await call("keys", "list");
    expect(table.out).toContain(`${key.slice(0, 12)}…`);
    expect(`${table.said}${listed.said}`).not.toContain(key.slice(0, 20));

    const [{ key_id: id }] = JSON.parse(listed.out).filter(
      ({ source }: { source: string }) => source === "campus-backend",
    );
    const rotated = (await call("keys", "rotate", String(id), "--keep", "24h")).out.trim();
    expect(rotated).toMatch(/^cfi_/);
    expect(await opens(rotated)).toBe("campus-backend server");
    expect(await opens(key)).toBe("campus-backend server");
    const hours = await database.value(
      "select round(extract(epoch from expires_at - now()) / 3600)::int from track.write_key where key_id = $1",
      [id],
    );
    expect(hours).toBe(24);

    expect((await call("keys", "revoke", String(id))).out).toBe(`write key ${id} is revoked\n`);
    expect(await fails(key)).toContain("is revoked");
    expect(await opens(rotated)).toBe("campus-backend server");
    expect((await call("keys", "revoke", String(id))).out).toBe(`write key ${id} was revoked before\n`);
    expect(JSON.parse((await call("keys", "list", "--json")).out)).toHaveLength(2);
    expect(JSON.parse((await call("keys", "list", "--all", "--json")).out)).toHaveLength(3);

    const log = await call("keys", "log", String(id), "--json");
    expect(JSON.parse(log.out).map(({ action }: { action: string }) => action)).toEqual([
      "revoked",
      "rotated",
      "created",
    ]);
    const all = await call("keys", "log");
    expect(all.out).toContain("origins: https://a.example, https://b.example");
    expect(all.out).not.toContain(key.slice(0, 20));
  });

  test.each([
    ["no command", ["keys"], 2, "Usage: insights keys"],
    ["an unknown command", ["keys", "delete", "1"], 2, "unknown command"],
    ["no source", ["keys", "create"], 2, "missing required argument 'source'"],
    [
      "an unknown level",
      ["keys", "create", "x", "--level", "admin"],
      2,
      "Allowed choices are server, signed_in, anonymous",
    ],
    ["a rate that is not a number", ["keys", "create", "x", "--rate", "fast"], 2, "Use a whole number."],
    ["a rate of 0", ["keys", "create", "x", "--rate", "0"], 1, "requests_per_minute is 0 [CF001]"],
    ["an origin with a path", ["keys", "create", "x", "--origin", "https://a.example/x"], 1, "hint: Give scheme, host"],
    ["an unknown scope", ["keys", "create", "x", "--scope", "read"], 1, 'the scope is "read" [CF001]'],
    ["a time without a zone", ["keys", "create", "x", "--expires", "2027-01-31T12:00"], 2, "a time with a zone"],
    ["a time that does not exist", ["keys", "create", "x", "--expires", "2027-13-31"], 2, "a time with a zone"],
    ["a time in the past", ["keys", "create", "x", "--expires", "2020-01-31"], 1, "the key would expire at 2020-01-31"],
    ["a blank source", ["keys", "create", "  "], 1, 'the source is "  " [CF001]'],
    ["an unknown key", ["keys", "revoke", "4711"], 1, "there is no write key 4711 [CF002]"],
    ["a key that is not a number", ["keys", "revoke", "cfi_x"], 2, "Use a whole number."],
    ["a number that is too large", ["keys", "revoke", "9999999999999"], 2, "Use a whole number."],
    ["an unknown key to rotate", ["keys", "rotate", "4711"], 1, "there is no write key 4711 [CF002]"],
    ["a duration without a unit", ["keys", "rotate", "1", "--keep", "7"], 2, "Use minutes, hours or days"],
  ])("refuses %s", async (_what, words, code, text) => {
    const result = await call(...words);
    expect(result.said).toContain(text);
    expect(result.code).toBe(code);
  });

  test("describes itself", async () => {
    const { code, out } = await call("keys", "create", "--help");
    expect(code).toBe(0);
    expect(out).toContain("--expires <time>");
    expect((await call("help", "keys")).out).toContain("insights keys rotate 3 --keep 7d");
  });
});

describe("insights refused", () => {
  test("prints refused messages by source and code, with the rule and the fields of a sample", async () => {
    expect((await call("refused")).out).toBe("no message was refused in the last 7 days\n");
    await database.query("select track.ingest($1)", [
      JSON.stringify([{ type: "track", messageId: "m1", userId: "ada", event: "", properties: { secret: "hidden" } }]),
    ]);
    await database.query("select track.count_refused('campus web', 'anonymous', '53400', 12)");
    const [limited, broken] = JSON.parse((await call("refused", "--json")).out);
    expect(limited).toMatchObject({
      source: "campus web",
      level: "anonymous",
      code: "53400",
      messages: 12,
      hints: null,
    });
    expect(broken).toMatchObject({
      source: "default",
      level: "server",
      messages: 1,
      hints: [expect.stringMatching(/\w/)],
      fields: { type: "string of 5", userId: "string of 3", properties: "object" },
    });
    const { out } = await call("refused", "--days", "1");
    expect(out).toMatch(/campus web .*anonymous .*53400 .*12/);
    expect(out).toContain("userId: string of 3");
    expect(out).not.toContain("hidden");
  });

  test.each(["0", "401", "week"])("refuses %s days", async (days) => {
    expect(await call("refused", "--days", days)).toMatchObject({ code: 2, said: expect.stringContaining("1 to 400") });
  });
});
