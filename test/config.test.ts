import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { readConfig, signingKey } from "../src/config.ts";

describe("the environment", () => {
  test("no variable is required", () => {
    expect(readConfig({})).toMatchObject({
      databaseUrl: undefined,
      dataDirectory: resolve(".insights"),
      host: "127.0.0.1",
      port: 5678,
      pooler: undefined,
    });
  });

  test("an empty variable is equivalent to an unset one", () => {
    expect(readConfig({ DATABASE_URL: "", PORT: "", INSIGHTS_JWT_SECRET: "" })).toEqual(readConfig({}));
  });

  test.each([
    ["PORT", "eighty"],
    ["PORT", "65536"],
    ["PORT", "-1"],
    ["DATABASE_URL", "mysql://localhost/x"],
    ["DATABASE_URL", "localhost"],
    ["PORT", "1e3"],
    ["INSIGHTS_POOL_SIZE", "0"],
    ["INSIGHTS_JWT_ROLE_CLAIM", "[1]"],
    ["INSIGHTS_JWT_PERSON_CLAIM", "a..b"],
    ["INSIGHTS_JWT_DEFAULT_ROLE", "admin"],
    ["INSIGHTS_JWT_MAX_LIFETIME", "forever"],
    ["INSIGHTS_GRAPHIQL", "perhaps"],
    ["INSIGHTS_JWKS_URL", "not an address"],
    ["INSIGHTS_POOLER", "perhaps"],
  ])("%s=%s is refused by its name and value", (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(`${name} is ${JSON.stringify(value)}`);
  });

  test("a port that is not a number is reported as such", () => {
    expect(() => readConfig({ PORT: "abc" })).toThrow('PORT is "abc": expected a whole number from 0 to 65535');
  });

  test("a secret that is too short is not printed", () => {
    expect(() => readConfig({ INSIGHTS_JWT_SECRET: "short" })).toThrow(
      "INSIGHTS_JWT_SECRET is not valid: expected at least 32 characters",
    );
  });

  test.each([
    ["sub", ["sub"]],
    ["realm_access.roles", ["realm_access", "roles"]],
    ["https://app.example/role", ["https://app.example/role"]],
    [
      '["https://hasura.io/jwt/claims", "x-hasura-default-role"]',
      ["https://hasura.io/jwt/claims", "x-hasura-default-role"],
    ],
  ])("the claim %s is a path", (claim, path) => {
    expect(readConfig({ INSIGHTS_JWT_ROLE_CLAIM: claim })).toMatchObject({ jwtRoleClaim: path });
  });

  test.each([
    ["90s", 90],
    ["30m", 1800],
    ["24h", 86_400],
    ["7d", 604_800],
  ])("%s are %i seconds", (text, seconds) => {
    expect(readConfig({ INSIGHTS_JWT_MAX_LIFETIME: text })).toMatchObject({ jwtMaxLifetime: seconds });
  });

  test("an identity provider without an audience is refused", () => {
    const url = { INSIGHTS_JWKS_URL: "https://id.example/keys" };
    expect(() => readConfig(url)).toThrow("INSIGHTS_JWT_AUDIENCE is not");
    expect(readConfig({ ...url, INSIGHTS_JWT_AUDIENCE: "insights" })).toMatchObject({ jwtAudience: "insights" });
  });
});

test("a key is generated once, readable by its owner only, and stays the same", async () => {
  const directory = await mkdtemp(join(tmpdir(), "insights-config-"));
  const config = readConfig({ INSIGHTS_DATA_DIR: join(directory, "data") });
  const [first, second] = await Promise.all([signingKey(config), signingKey(config)]);
  expect(first.length).toBeGreaterThanOrEqual(43);
  expect(second).toBe(first);
  expect((await stat(join(directory, "data", "jwt-secret"))).mode & 0o777).toBe(0o600);
  expect(await signingKey({ ...config, jwtSecret: "x".repeat(32) })).toBe("x".repeat(32));
  await rm(directory, { recursive: true });
});
