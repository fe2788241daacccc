import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { readConfig, signingKey } from "../src/config.ts";

describe("the environment", () => {
  test("nothing has to be set", () => {
    expect(readConfig({})).toMatchObject({
      databaseUrl: undefined,
      dataDirectory: resolve(".insights"),
      host: "127.0.0.1",
      port: 5678,
      pooler: undefined,
    });
  });

  test("an empty variable is an unset one", () => {
    expect(readConfig({ DATABASE_URL: "", PORT: "", INSIGHTS_JWT_SECRET: "" })).toEqual(readConfig({}));
  });

  test.each([
    ["PORT", "eighty"],
    ["PORT", "65536"],
    ["PORT", "-1"],
    ["DATABASE_URL", "mysql://localhost/x"],
    ["DATABASE_URL", "localhost"],
    ["INSIGHTS_JWT_SECRET", "short"],
    ["INSIGHTS_JWKS_URL", "not an address"],
    ["INSIGHTS_POOLER", "perhaps"],
  ])("%s=%s is refused by its name and value", (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(`${name} is ${JSON.stringify(value)}`);
  });
});

test("a key is made once, for its owner's eyes only, and stays the same", async () => {
  const directory = await mkdtemp(join(tmpdir(), "insights-config-"));
  const config = readConfig({ INSIGHTS_DATA_DIR: join(directory, "data") });
  const [first, second] = await Promise.all([signingKey(config), signingKey(config)]);
  expect(first.length).toBeGreaterThanOrEqual(43);
  expect(second).toBe(first);
  expect((await stat(join(directory, "data", "jwt-secret"))).mode & 0o777).toBe(0o600);
  expect(await signingKey({ ...config, jwtSecret: "x".repeat(32) })).toBe("x".repeat(32));
  await rm(directory, { recursive: true });
});
