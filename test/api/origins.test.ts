import { expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const { post, url } = await testApi(database, {
  INSIGHTS_ORIGINS: "https://app.example, https://staff.example:8443",
  INSIGHTS_TRUSTED_PROXIES: "loopback",
});

const allowed = async (headers: Record<string, string>): Promise<string | null> =>
  (await post('{"query": "{ __typename }"}', headers)).headers.get("access-control-allow-origin");

test("pages of the listed origins may call the API, and no others", async () => {
  expect(await allowed({ origin: "https://app.example" })).toBe("https://app.example");
  expect(await allowed({ origin: "https://staff.example:8443" })).toBe("https://staff.example:8443");
  for (const origin of [
    "https://evil.example",
    "https://staff.example",
    "http://app.example",
    "https://app.example.evil.example",
    "https://app.example ",
    "null",
  ]) {
    expect([origin, await allowed({ origin, "sec-fetch-site": "cross-site" })]).toEqual([
      origin,
      origin === "https://app.example " ? "https://app.example" : null,
    ]);
  }
  const preflight = await fetch(`${url}/graphql`, {
    method: "OPTIONS",
    headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
  });
  expect(preflight.headers.get("access-control-allow-origin")).toBeNull();
  expect(preflight.headers.get("vary")).toContain("Origin");
});

test("pages of this server, and clients that are not browsers, are not restricted", async () => {
  expect(await allowed({ origin: url })).toBe(url);
  expect((await post('{"query": "{ __typename }"}')).status).toBe(200);
});

test("an origin that is not listed gets no cookie", async () => {
  const batch = [{ type: "track", event: "Opened", anonymousId: "b1" }];
  const query = "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }";
  const response = await post(JSON.stringify({ query, variables: { batch } }), {
    origin: "https://evil.example",
    "sec-fetch-site": "cross-site",
  });
  expect(response.headers.get("set-cookie")).toBeNull();
});

test("answers carry the headers that restrict browsers", async () => {
  const plain = await post('{"query": "{ __typename }"}');
  const page = await fetch(url);
  for (const { headers } of [plain, page]) {
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("cross-origin-opener-policy")).toBe("same-origin");
    expect(headers.get("permissions-policy")).toContain("geolocation=()");
    expect(headers.get("x-powered-by")).toBeNull();
  }
  // Only where the browser came by HTTPS, as the trusted proxy states.
  expect(plain.headers.get("strict-transport-security")).toBeNull();
  const secure = await post('{"query": "{ __typename }"}', { "x-forwarded-proto": "https" });
  expect(secure.headers.get("strict-transport-security")).toBe("max-age=31536000");
});

test.each(["app.example", "https://app.example/", "https://app.example/path", "*", " , "])(
  "INSIGHTS_ORIGINS=%s is refused",
  (value) => {
    expect(() => readConfig({ INSIGHTS_ORIGINS: value })).toThrow(`INSIGHTS_ORIGINS is ${JSON.stringify(value)}`);
  },
);
