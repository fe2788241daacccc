import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, BlockList } from "node:net";
import { afterAll, describe, expect, test } from "vitest";
import { createAddresses } from "../../src/api/addresses.ts";
import { createAuthenticate } from "../../src/api/authentication.ts";
import { createSessions } from "../../src/api/sessions.ts";
import { createSignIn, localPath } from "../../src/api/sign-in.ts";
import { readConfig } from "../../src/config.ts";
import { secret, testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { openProvider } from "../support/provider.ts";

const database = await testDatabase();
const provider = await openProvider();
const { url, token } = await testApi(database, {
  INSIGHTS_OPENID_ISSUER: provider.issuer,
  INSIGHTS_OPENID_CLIENT_ID: provider.clientId,
  INSIGHTS_OPENID_CLIENT_SECRET: provider.clientSecret,
  INSIGHTS_OPENID_ROLE_CLAIM: "groups",
  INSIGHTS_OPENID_ROLES: "data=analyst, teachers=instructor, cn=ops=admin",
  INSIGHTS_TOKEN_COOKIE: "app_token",
  INSIGHTS_SESSION_LIFETIME: "1h",
});
provider.allow(url);

/** The addresses of signing in alone, without the API. */
async function serve(variables: Record<string, string>): Promise<string> {
  const config = readConfig(variables);
  const addresses = createAddresses(new BlockList());
  const sessions = createSessions({
    secret,
    lifetime: 60,
    tokenCookie: undefined,
    authenticate: createAuthenticate({ secret }),
    target: addresses.target,
  });
  const signIn = createSignIn(config, { sessions, secret, addresses });
  const server = createServer((request, response) => void signIn.handle(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  afterAll(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A browser without pages: it keeps cookies by host, and follows redirects. */
function browser() {
  const jar = new Map<string, Map<string, string>>();
  const cookiesOf = (address: string): Map<string, string> => {
    const { host } = new URL(address);
    if (!jar.has(host)) jar.set(host, new Map());
    return jar.get(host) as Map<string, string>;
  };
  async function get(address: string, options: RequestInit = {}): Promise<Response> {
    const cookies = cookiesOf(address);
    const response = await fetch(address, {
      redirect: "manual",
      ...options,
      headers: { cookie: [...cookies].map((pair) => pair.join("=")).join("; "), ...options.headers },
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      if (/max-age=0|expires=thu, 01 jan 1970/i.test(cookie)) cookies.delete(name);
      else cookies.set(name, value);
    }
    return response;
  }
  async function follow(address: string): Promise<string> {
    let at = address;
    for (let steps = 0; steps < 10; steps += 1) {
      const response = await get(at);
      const to = response.headers.get("location");
      if (to === null) return at;
      at = new URL(to, at).href;
    }
    throw new Error(`too many redirects: ${at}`);
  }
  return {
    get,
    follow,
    cookies: cookiesOf(url),
    /** Signs in, and returns the address at which the browser arrives. */
    async signIn(name: string, to = "/"): Promise<string> {
      const form = await follow(`${url}/sign-in?to=${encodeURIComponent(to)}`);
      return await follow(`${form}?login=${name}`);
    },
    me: async (headers: Record<string, string> = { "sec-fetch-site": "same-origin" }) =>
      (await (await get(`${url}/me`, { headers })).json()) as Record<string, unknown>,
  };
}

const query = JSON.stringify({ query: "{ trackIdentities { totalCount } }" });
const post = (headers: Record<string, string>): RequestInit => ({ method: "POST", headers, body: query });
const own = { "sec-fetch-site": "same-origin", "content-type": "application/json" };

describe("OpenID Connect", () => {
  test("signs in with the role of the claim, and returns to the page", async () => {
    provider.people.set("eve", { groups: ["everyone", "data"] });
    const tab = browser();
    expect(await tab.signIn("eve", "/overview?days=90")).toBe(`${url}/overview?days=90`);
    expect(await tab.me()).toMatchObject({ role: "analyst", person: "eve", openId: true });
    const answer = await tab.get(`${url}/graphql`, post(own));
    expect(answer.status).toBe(200);
    // Neither the page nor the address has a token, and the cookie is not readable without the key.
    const cookie = tab.cookies.get("insights_session") ?? "";
    expect(cookie.split(".")).toHaveLength(5);
    expect(Buffer.from(cookie, "base64url").toString("latin1")).not.toContain("eve");
    expect([...tab.cookies.keys()]).toEqual(["insights_session"]);
  });

  test("names of roles are those of the setting; two, and none, are refused", async () => {
    for (const [name, groups, expected] of [
      ["root", "cn=ops", "admin"],
      ["tom", ["teachers"], "instructor"],
      // The names of this server mean nothing at a provider whose names are mapped.
      ["mallory", "admin", "visitor"],
      ["nina", ["everyone"], "visitor"],
      ["both", ["data", "teachers"], "visitor"],
      ["odd", { admin: true }, "visitor"],
    ] as const) {
      provider.people.set(name, { groups });
      const tab = browser();
      const at = await tab.signIn(name);
      expect([name, at]).toEqual([name, expected === "visitor" ? `${url}/#sign-in=role` : `${url}/`]);
      expect([name, (await tab.me())["role"]]).toEqual([name, expected]);
    }
  });

  test("an answer counts only in the browser that has started it, once, with its state", async () => {
    provider.people.set("eve", { groups: ["data"] });
    const victim = browser();
    const attacker = browser();
    const form = await attacker.follow(`${url}/sign-in`);
    // The address with the attacker's code, before it is followed.
    let at = `${form}?login=eve`;
    while (!at.startsWith(`${url}/sign-in/callback`)) {
      at = new URL((await attacker.get(at)).headers.get("location") ?? "", at).href;
    }
    expect(await victim.follow(at)).toBe(`${url}/#sign-in=failed`);
    expect(await victim.me()).toMatchObject({ role: "visitor" });
    await victim.follow(`${url}/sign-in`);
    expect(await victim.follow(at)).toBe(`${url}/#sign-in=failed`);
    const wrong = new URL(at);
    wrong.searchParams.set("state", "another");
    expect(await attacker.follow(wrong.href)).toBe(`${url}/#sign-in=failed`);
    // The cookie of the sign-in is gone: the right address does not count any more either.
    expect(await attacker.follow(at)).toBe(`${url}/#sign-in=failed`);
    expect(await attacker.me()).toMatchObject({ role: "visitor" });
    const denied = browser();
    await denied.follow(`${url}/sign-in`);
    expect(await denied.follow(`${url}/sign-in/callback?error=access_denied&state=x`)).toBe(`${url}/#sign-in=failed`);
  });

  test("sends back to addresses of this server only", () => {
    expect(localPath("/courses?course=a%20b")).toBe("/courses?course=a%20b");
    for (const to of [
      null,
      "",
      "https://evil.example/",
      "//evil.example/",
      "/\\evil.example",
      "/%2f/evil",
      "javascript:alert(1)",
      "/.//evil.example",
    ]) {
      expect(localPath(to)).toMatch(/^\/(?![/\\])/);
      expect(new URL(localPath(to), url).origin).toBe(url);
    }
  });

  test("a session ends with its sign-out, at the provider too", async () => {
    provider.people.set("eve", { groups: ["data"] });
    const tab = browser();
    await tab.signIn("eve");
    const session = tab.cookies.get("insights_session") ?? "";
    // Other sites, and forms, cannot end it.
    expect(
      (await tab.get(`${url}/sign-out`, { method: "POST", headers: { "sec-fetch-site": "cross-site" } })).status,
    ).toBe(403);
    expect((await tab.get(`${url}/sign-out`)).status).toBe(403);
    const answer = await tab.get(`${url}/sign-out`, { method: "POST", headers: own });
    expect(answer.headers.get("set-cookie")).toMatch(/^insights_session=; Path=\/; Max-Age=0; HttpOnly; SameSite=Lax$/);
    const { to } = (await answer.json()) as { to: string };
    expect(to).toMatch(new RegExp(`^${provider.issuer}/session/end\\?.*post_logout_redirect_uri=`));
    expect(await tab.me()).toMatchObject({ role: "visitor" });
    // A cookie of another key, one that was changed, and one of another purpose.
    for (const text of [`${session.slice(0, -2)}xx`, "a.b.c.d.e", session.replace(/^[^.]+/, "e30")]) {
      tab.cookies.set("insights_session", text);
      expect((await tab.get(`${url}/graphql`, post(own))).status).toBe(401);
    }
  });

  test("a provider that does not answer is reported on the page", async () => {
    const redirected = await fetch(
      `${await serve({ INSIGHTS_OPENID_ISSUER: "http://127.0.0.1:9", INSIGHTS_OPENID_CLIENT_ID: "insights" })}/sign-in`,
      { redirect: "manual" },
    );
    expect(redirected.headers.get("location")).toBe("/#sign-in=unreachable");
    expect((await fetch(`${await serve({})}/sign-in`)).status).toBe(404);
  });

  test("behind HTTPS, cookies are for this host only", async () => {
    const other = await serve({
      INSIGHTS_OPENID_ISSUER: provider.issuer,
      INSIGHTS_OPENID_CLIENT_ID: provider.clientId,
      INSIGHTS_URL: "https://insights.example",
    });
    const response = await fetch(`${other}/sign-in`, { redirect: "manual" });
    expect(response.headers.get("set-cookie")).toMatch(/^__Host-insights_sign_in=.*; HttpOnly; SameSite=Lax; Secure$/);
    expect(new URL(response.headers.get("location") ?? "").searchParams.get("redirect_uri")).toBe(
      "https://insights.example/sign-in/callback",
    );
  });
});

describe("a cookie", () => {
  test("counts for requests of this server's pages only", async () => {
    provider.people.set("eve", { groups: ["data"] });
    const tab = browser();
    await tab.signIn("eve");
    const roleOf = async (headers: Record<string, string>) => (await tab.me(headers))["role"];
    expect(await roleOf({ "sec-fetch-site": "same-origin" })).toBe("analyst");
    expect(await roleOf({ origin: url })).toBe("analyst");
    for (const headers of [
      {},
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      { "sec-fetch-site": "none" },
      { origin: "https://evil.example" },
      { origin: "null" },
      { origin: url.replace("127.0.0.1", "127.0.0.1.evil.example") },
      { origin: url, "sec-fetch-site": "cross-site" },
    ]) {
      expect([headers, await roleOf(headers)]).toEqual([headers, "visitor"]);
    }
    // A form of another site can send these types, but not JSON.
    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data",
      "application/jsonx",
    ]) {
      const response = await tab.get(`${url}/graphql`, post({ ...own, "content-type": type }));
      expect(await response.text()).not.toContain('totalCount":');
    }
    // Routes of clients do not read it.
    const stored = await tab.get(`${url}/v1/batch`, {
      method: "POST",
      headers: own,
      body: JSON.stringify({ batch: [] }),
    });
    expect(stored.status).toBe(401);
    // A header takes precedence.
    expect(await roleOf({ ...own, authorization: `Bearer ${await token("learner", "ada")}` })).toBe("learner");
  });

  test("may be the application's, with its token", async () => {
    const tab = browser();
    tab.cookies.set("app_token", await token("learner", "ada"));
    expect(await tab.me()).toMatchObject({ role: "learner", person: "ada" });
    expect(await tab.me({ "sec-fetch-site": "same-site" })).toMatchObject({ role: "visitor" });
    tab.cookies.set("app_token", "nonsense");
    expect((await tab.get(`${url}/me`, { headers: own })).status).toBe(401);
  });
});

test("settings are checked at the start", () => {
  const read = (variables: Record<string, string>) => () => readConfig(variables);
  expect(read({ INSIGHTS_OPENID_ISSUER: "https://id.example" })).toThrow(/set together/);
  expect(read({ INSIGHTS_OPENID_ISSUER: "http://id.example", INSIGHTS_OPENID_CLIENT_ID: "x" })).toThrow(/https/);
  expect(read({ INSIGHTS_OPENID_ROLES: "data=superuser" })).toThrow(/INSIGHTS_OPENID_ROLES/);
  expect(read({ INSIGHTS_OPENID_CLIENT_SECRET: "hidden", INSIGHTS_OPENID_SCOPE: "email" })).toThrow(/expected openid/);
  expect(read({ INSIGHTS_URL: "https://insights.example/path" })).toThrow(/origin/);
  expect(read({ INSIGHTS_EMBED_ORIGINS: "*" })).toThrow(/INSIGHTS_EMBED_ORIGINS/);
  expect(read({ INSIGHTS_TOKEN_COOKIE: "a b" })).toThrow(/cookie/);
});
