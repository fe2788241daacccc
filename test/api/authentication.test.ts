import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, describe, expect, test, vi } from "vitest";
import {
  type AuthenticationError,
  createAuthenticate,
  requestSettings,
  signToken,
} from "../../src/api/authentication.ts";
import { secret } from "../support/api.ts";

const key = new TextEncoder().encode(secret);
const authenticate = createAuthenticate({ secret });
const refused = async (header: string, by = authenticate): Promise<AuthenticationError> =>
  (await by(header).then(
    () => undefined,
    (error: unknown) => error,
  )) as AuthenticationError;

const sign = (claims: Record<string, unknown>, expires: string | number = "1h", algorithm = "HS256"): Promise<string> =>
  new SignJWT(claims).setProtectedHeader({ alg: algorithm }).setExpirationTime(expires).sign(key);

describe("tokens with a shared key", () => {
  test("a request without a token is a visitor's", async () => {
    expect(await authenticate(undefined)).toEqual({ role: "visitor", person: undefined, source: undefined });
  });

  test("role, person and source are those that were signed", async () => {
    const token = await signToken({ role: "learner", person: "ada", source: "web" }, { secret });
    expect(await authenticate(`Bearer ${token}`)).toEqual({ role: "learner", person: "ada", source: "web" });
    expect(await authenticate(`bearer   ${token}`)).toMatchObject({ person: "ada" });
  });

  test.each(["learner", "instructor"] as const)("%s: a token without a person is refused", async (role) => {
    expect(await authenticate(`Bearer ${await sign({ role, sub: "tess" })}`)).toMatchObject({ role, person: "tess" });
    await expect(authenticate(`Bearer ${await sign({ role })}`)).rejects.toMatchObject({
      statusCode: 401,
      hint: `This claim must hold the ${role}'s userId.`,
    });
  });

  test("a role may have its name in the database", async () => {
    expect(await authenticate(`Bearer ${await sign({ role: "insights_analyst" })}`)).toMatchObject({ role: "analyst" });
  });

  test("a token without a role is a visitor's, unless the default is different", async () => {
    const token = `Bearer ${await sign({ sub: "ada" })}`;
    expect(await authenticate(token)).toEqual({ role: "visitor", person: undefined, source: undefined });
    expect(await createAuthenticate({ secret, defaultRole: "learner" })(token)).toMatchObject({
      role: "learner",
      person: "ada",
    });
    const nobody = `Bearer ${await sign({})}`;
    expect(await refused(nobody, createAuthenticate({ secret, defaultRole: "learner" }))).toMatchObject({
      message: 'the token has no "sub"',
    });
  });

  test.each([
    ["Auth0", ["https://app.example/role"], { "https://app.example/role": "analyst" }, "analyst"],
    ["Auth0, a list", ["https://app.example/roles"], { "https://app.example/roles": ["analyst"] }, "analyst"],
    ["Keycloak", ["realm_access", "roles"], { realm_access: { roles: ["offline_access", "learner"] } }, "learner"],
    [
      "Keycloak, none of these roles",
      ["realm_access", "roles"],
      { realm_access: { roles: ["offline_access"] } },
      "visitor",
    ],
    ["Supabase", ["app_metadata", "role"], { role: "authenticated", app_metadata: { role: "admin" } }, "admin"],
    [
      "Hasura",
      ["https://hasura.io/jwt/claims", "x-hasura-default-role"],
      { "https://hasura.io/jwt/claims": { "x-hasura-default-role": "learner" } },
      "learner",
    ],
    ["a path that leads nowhere", ["a", "b"], { a: "analyst" }, "visitor"],
    ["a property of every object", ["constructor", "name"], {}, "visitor"],
  ])("the role in the claims of %s", async (_what, roleClaim, claims, role) => {
    const by = createAuthenticate({ secret, roleClaim });
    expect(await by(`Bearer ${await sign({ sub: "ada", ...claims })}`)).toMatchObject({ role });
  });

  test("the person in a claim of another name, also as a number", async () => {
    const by = createAuthenticate({ secret, personClaim: ["user", "id"] });
    expect(await by(`Bearer ${await sign({ role: "learner", sub: "x", user: { id: 42 } })}`)).toMatchObject({
      person: "42",
    });
    const options = { secret, personClaim: ["user", "id"], roleClaim: ["user", "role"] };
    const token = await signToken({ role: "learner", person: "ada", source: undefined }, options);
    expect(await createAuthenticate(options)(`Bearer ${token}`)).toMatchObject({ role: "learner", person: "ada" });
  });

  test("the longest lifetime is one day, or the configured value", async () => {
    const forAWeek = `Bearer ${await sign({ role: "admin" }, "7d")}`;
    expect(await refused(forAWeek)).toMatchObject({ message: "the token's lifetime is longer than 86400 seconds" });
    expect(await createAuthenticate({ secret, maxLifetime: 8 * 86_400 })(forAWeek)).toMatchObject({ role: "admin" });
    // Almost expired, but issued long ago.
    const now = Math.floor(Date.now() / 1000);
    const old = `Bearer ${await sign({ role: "admin", iat: now - 100 * 86_400 }, now + 60)}`;
    expect(await refused(old)).toMatchObject({ message: expect.stringContaining("lifetime") });
    const future = `Bearer ${await sign({ role: "admin", iat: now + 3600 }, now + 7200)}`;
    expect(await refused(future)).toMatchObject({ message: expect.stringContaining('"iat"') });
  });

  test("the subject of a visitor's token is ignored", async () => {
    const identity = await authenticate(`Bearer ${await sign({ role: "visitor", sub: "ada" })}`);
    expect(requestSettings(identity)).toMatchObject({ role: "insights_visitor", "insights.person": "" });
  });

  test.each([
    ["no token at all", () => "Basic YTpi", /does not contain a token/],
    ["three words that are not a token", () => "Bearer a.b.c", /not valid/],
    [
      "another key",
      async () =>
        `Bearer ${await signToken({ role: "admin", person: undefined, source: undefined }, { secret: `${secret}!` })}`,
      /not valid/,
    ],
    [
      "a changed claim",
      async () => {
        const [head, , signature] = (await sign({ role: "learner", sub: "ada" })).split(".");
        const claims = Buffer.from(JSON.stringify({ role: "admin", exp: Date.now() })).toString("base64url");
        return `Bearer ${head}.${claims}.${signature}`;
      },
      /not valid/,
    ],
    [
      "no signature",
      () => `Bearer ${new UnsecuredJWT({ role: "admin" }).setExpirationTime("1h").encode()}`,
      /not valid|does not contain a token/,
    ],
    ["another algorithm", async () => `Bearer ${await sign({ role: "admin" }, "1h", "HS384")}`, /not valid/],
    [
      "an expired one",
      async () => `Bearer ${await sign({ role: "learner", sub: "ada" }, Math.floor(Date.now() / 1000) - 60)}`,
      /expired/,
    ],
    [
      "one that never expires",
      async () => `Bearer ${await new SignJWT({ role: "admin" }).setProtectedHeader({ alg: "HS256" }).sign(key)}`,
      /"exp"/,
    ],
    ["the owner's role", async () => `Bearer ${await sign({ role: "insights_owner" })}`, /"role" is "insights_owner"/],
    ["a superuser", async () => `Bearer ${await sign({ role: "postgres" })}`, /"role" is "postgres"/],
    [
      "a list with two of our roles",
      async () => `Bearer ${await sign({ role: ["learner", "x", "admin"], sub: "ada" })}`,
      /"role" is \["learner","admin"\]/,
    ],
    ["a role that is an object", async () => `Bearer ${await sign({ role: { admin: true } })}`, /"role" is/],
    ["an empty role", async () => `Bearer ${await sign({ role: "" })}`, /"role" is ""/],
    ["a learner without a person", async () => `Bearer ${await sign({ role: "learner" })}`, /no "sub"/],
    ["a null byte in the name", async () => `Bearer ${await sign({ role: "learner", sub: "a\0b" })}`, /"sub" is/],
    [
      "a name of 257 characters",
      async () => `Bearer ${await sign({ role: "learner", sub: "a".repeat(257) })}`,
      /"sub" is/,
    ],
  ])("refuses %s", async (_what, header, message) => {
    const error = await refused(await header());
    expect(error).toMatchObject({
      name: "AuthenticationError",
      statusCode: 401,
      message: expect.stringMatching(message),
    });
    expect(error.hint).not.toBe("");
  });

  test("issuer and audience are required if they are configured", async () => {
    const strict = createAuthenticate({ secret, issuer: "https://id.example", audience: "insights" });
    expect((await refused(`Bearer ${await sign({ role: "admin" })}`, strict)).message).toMatch(/"iss"/);
    const token = await signToken(
      { role: "admin", person: undefined, source: undefined },
      { secret, issuer: "https://id.example", audience: "insights" },
    );
    expect(await strict(`Bearer ${token}`)).toMatchObject({ role: "admin" });
  });
});

describe("tokens of an identity provider", async () => {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  const publicJwk = { ...(await exportJWK(publicKey)), kid: "1", alg: "ES256" };
  const provider = createServer((_request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ keys: [publicJwk] }));
  });
  await new Promise<void>((resolve) => provider.listen(0, "127.0.0.1", resolve));
  afterAll(() => provider.close());
  const jwksUrl = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/jwks.json`;
  const audience = "insights";
  const byProvider = createAuthenticate({ secret, jwksUrl, audience, roleClaim: ["role"] });

  const provided = (claims: Record<string, unknown>, by = audience): Promise<string> =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: "ES256", kid: "1" })
      .setAudience(by)
      .setExpirationTime("1h")
      .sign(privateKey);

  test("are verified with its published keys", async () => {
    const token = await provided({ sub: "ada", role: "learner" });
    expect(await byProvider(`Bearer ${token}`)).toMatchObject({ role: "learner", person: "ada" });
  });

  test("claims contain no role until the claim is configured", async () => {
    const token = await provided({ sub: "ada", role: "admin" });
    const unset = createAuthenticate({ jwksUrl, audience });
    expect(await unset(`Bearer ${token}`)).toMatchObject({ role: "visitor", person: undefined });
  });

  test("for another application are refused, and an audience is required", async () => {
    const token = await provided({ sub: "ada", role: "admin" }, "shop");
    expect(await refused(`Bearer ${token}`, byProvider)).toMatchObject({ message: expect.stringContaining('"aud"') });
    expect(() => createAuthenticate({ jwksUrl })).toThrow("audience");
  });

  test("with a key that is not published are refused", async () => {
    const other = await generateKeyPair("ES256");
    for (const kid of ["1", "2"]) {
      const token = await new SignJWT({ sub: "ada", role: "admin" })
        .setProtectedHeader({ alg: "ES256", kid })
        .setAudience(audience)
        .setExpirationTime("1h")
        .sign(other.privateKey);
      expect(await refused(`Bearer ${token}`, byProvider)).toMatchObject({ statusCode: 401 });
    }
  });

  test("after the provider has changed its keys, the new one is accepted, and the old one no longer", async () => {
    const next = await generateKeyPair("ES256", { extractable: true });
    let keys = [publicJwk];
    let fetched = 0;
    const rotating = createServer((_request, response) => {
      fetched += 1;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ keys }));
    });
    await new Promise<void>((resolve) => rotating.listen(0, "127.0.0.1", resolve));
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      const url = `http://127.0.0.1:${(rotating.address() as AddressInfo).port}/`;
      const by = createAuthenticate({ jwksUrl: url, audience });
      const sign2 = (key: typeof privateKey, kid: string): Promise<string> =>
        new SignJWT({ sub: "ada" })
          .setProtectedHeader({ alg: "ES256", kid })
          .setAudience(audience)
          .setExpirationTime("1h")
          .sign(key);
      const old = await sign2(privateKey, "1");
      const fresh = await sign2(next.privateKey, "2");
      expect(await by(`Bearer ${old}`)).toMatchObject({ role: "visitor" });

      keys = [publicJwk, { ...(await exportJWK(next.publicKey)), kid: "2", alg: "ES256" }];
      // Unknown keys do not make the server fetch at every request.
      for (let attempt = 0; attempt < 20; attempt++) await refused(`Bearer ${fresh}`, by);
      expect(fetched).toBe(1);
      vi.setSystemTime(Date.now() + 5001);
      expect(await by(`Bearer ${fresh}`)).toMatchObject({ role: "visitor" });
      expect(await by(`Bearer ${old}`)).toMatchObject({ role: "visitor" });

      keys = keys.slice(1);
      vi.setSystemTime(Date.now() + 300_001);
      expect(await by(`Bearer ${fresh}`)).toMatchObject({ role: "visitor" });
      expect(await refused(`Bearer ${old}`, by)).toMatchObject({ statusCode: 401 });
      expect(fetched).toBeLessThanOrEqual(4);

      // While the provider is away, the keys that are known serve until they are too old.
      rotating.close();
      rotating.closeAllConnections();
      expect(await by(`Bearer ${fresh}`)).toMatchObject({ role: "visitor" });
      vi.setSystemTime(Date.now() + 300_001);
      expect(await refused(`Bearer ${fresh}`, by)).toMatchObject({ statusCode: 503 });
    } finally {
      vi.useRealTimers();
      rotating.close();
    }
  });

  test("an invalid list of keys is an error of the provider", async () => {
    const broken = createServer((_request, response) => response.end("<html>"));
    await new Promise<void>((resolve) => broken.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(broken.address() as AddressInfo).port}/`;
    const by = createAuthenticate({ jwksUrl: url, audience });
    expect(await refused(`Bearer ${await provided({ sub: "ada" })}`, by)).toMatchObject({ statusCode: 503 });
    broken.close();
  });

  test("a public key is not accepted as a secret, and the shared key is no longer accepted", async () => {
    const confused = await new SignJWT({ role: "admin" })
      .setProtectedHeader({ alg: "HS256", kid: "1" })
      .setAudience(audience)
      .setExpirationTime("1h")
      .sign(new TextEncoder().encode(JSON.stringify(publicJwk)));
    expect(await refused(`Bearer ${confused}`, byProvider)).toMatchObject({ statusCode: 401 });
    expect(await refused(`Bearer ${await sign({ role: "admin" })}`, byProvider)).toMatchObject({ statusCode: 401 });
  });

  test("a provider that does not answer is not an error of the client", async () => {
    const away = createAuthenticate({ jwksUrl: "http://127.0.0.1:1/jwks.json", audience });
    const token = await new SignJWT({ sub: "ada" })
      .setProtectedHeader({ alg: "ES256", kid: "1" })
      .setExpirationTime("1h")
      .sign(privateKey);
    expect(await refused(`Bearer ${token}`, away)).toMatchObject({ statusCode: 503 });
  });
});
