import { beforeEach, describe, expect, test } from "vitest";
import { requestSettings, visitor } from "../../src/api/authentication.ts";
import { createBrowsers } from "../../src/api/browsers.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { oneMessage, type Reply, send as sendTo } from "../support/requests.ts";

const database = await testDatabase();
const { url, token } = await testApi(database, {
  INSIGHTS_ADDRESS_RATE: "100000",
  INSIGHTS_PERSON_RATE: "100000",
  INSIGHTS_TRUSTED_PROXIES: "127.0.0.2",
});
const { host } = new URL(url);

// A trigger that notes the settings in the transaction of a batch: what the API told the database about the request.
await database.query(`
  create table public.note (note_id int generated always as identity, settings jsonb not null);
  create function public.note() returns trigger security definer language plpgsql as $$
  begin
    insert into public.note (settings) values (jsonb_build_object(
      'browser', current_setting('insights.browser', true),
      'optOut', current_setting('insights.opt_out', true),
      'userAgent', current_setting('insights.user_agent', true),
      'origin', current_setting('insights.origin', true),
      'writeKey', current_setting('insights.write_key', true)
    ));
    return new;
  end;
  $$;
  create trigger note before insert on track.message for each row execute function public.note();
`);
beforeEach(() => database.query("truncate public.note"));

interface Note {
  browser: string;
  optOut: string;
  userAgent: string;
  origin: string;
  writeKey: string;
}

const notes = (): Promise<Note[]> =>
  database
    .rows<{ settings: Note }>("select settings from public.note order by note_id")
    .then((rows) => rows.map(({ settings }) => settings));

const send = (headers: Record<string, string> = {}, body?: string, from?: string): Promise<Reply> =>
  sendTo(url, { headers, body: body ?? oneMessage(), ...(from === undefined ? {} : { from }) });
/** The cookie of an answer, as the browser sends it. */
const cookieOf = ({ headers }: Reply): string => headers["set-cookie"]?.[0]?.split(";", 1)[0] ?? "";
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe("the cookie of a browser", () => {
  test("is set with the first messages, sent again, and distinguishes browsers", async () => {
    const first = await send();
    expect(first.headers["set-cookie"]).toEqual([
      expect.stringMatching(
        /^insights_browser=[\w-]{22}\.[\w-]{43}; Path=\/; Max-Age=31536000; HttpOnly; SameSite=Lax$/,
      ),
    ]);
    const again = await send({ cookie: `theme=dark; ${cookieOf(first)}; lang=en` });
    expect(again.headers["set-cookie"]).toBeUndefined();
    await send();
    const [a, b, c] = await notes();
    expect(a?.browser).toMatch(uuid);
    expect(b?.browser).toBe(a?.browser);
    expect(c?.browser).toMatch(uuid);
    expect(c?.browser).not.toBe(a?.browser);
  });

  test("is set for learners and instructors too, not for other roles and servers", async () => {
    const sent = async (headers: Record<string, string>): Promise<boolean> => cookieOf(await send(headers)) !== "";
    expect(await sent({ authorization: `Bearer ${await token("learner", "ada")}` })).toBe(true);
    expect(await sent({ authorization: `Bearer ${await token("instructor", "ada")}` })).toBe(true);
    for (const role of ["analyst", "admin", "worker"] as const) {
      expect(await sent({ authorization: `Bearer ${await token(role, "ada")}` })).toBe(false);
    }
    const server = await database.value<string>("select write_key from track.create_write_key('backend', 'server')");
    expect(await sent({ "x-write-key": server })).toBe(false);
  });

  test("is not set by operations that store no message", async () => {
    const reply = await send({}, JSON.stringify({ query: "{ __typename }" }));
    expect(reply).toMatchObject({ status: 200, data: { __typename: "Query" } });
    expect(cookieOf(reply)).toBe("");
    expect(cookieOf(await sendTo(url, { method: "GET", path: "/" }))).toBe("");
    expect(cookieOf(await sendTo(url, { method: "GET", path: "/me" }))).toBe("");
  });

  test("is valid only with the signature of this server", async () => {
    const cookie = cookieOf(await send());
    const [name = "", value = ""] = cookie.split("=");
    const [id = "", signature = ""] = value.split(".");
    const other = createBrowsers("another secret").create(false).cookie.split(";", 1)[0] ?? "";
    const wrong = [
      other,
      `${name}=${id.replace(/^./, (letter) => (letter === "A" ? "B" : "A"))}.${signature}`,
      `${name}=${id}.${signature.replace(/^./, (letter) => (letter === "A" ? "B" : "A"))}`,
      `${name}=${id}`,
      `${name}=${id}.`,
      `${name}=${"x".repeat(10_000)}`,
      `x${cookie}`,
      `__Host-${cookie}`,
      ";;;=",
    ];
    await database.query("truncate public.note");
    await send({ cookie });
    for (const one of wrong) expect(cookieOf(await send({ cookie: one }))).toMatch(/^insights_browser=/);
    const [right, ...others] = (await notes()).map(({ browser }) => browser);
    expect(others).toHaveLength(wrong.length);
    expect(new Set([right, ...others]).size).toBe(wrong.length + 1);
    // A wrong one before it, as another page of the host may set, does not hide it.
    await database.query("truncate public.note");
    await send({ cookie: `${other}; ${cookie}` });
    expect((await notes())[0]?.browser).toBe(right);
  });

  test("is bound to this host, and to HTTPS, if a trusted proxy reports it", async () => {
    const headers = { "x-forwarded-proto": "https", "x-forwarded-host": "campus.example" };
    const secure = await send(headers, oneMessage(), "127.0.0.2");
    expect(secure.headers["set-cookie"]?.[0]).toMatch(/^__Host-insights_browser=.*; SameSite=Lax; Secure$/);
    const cookie = cookieOf(secure);
    await send({ ...headers, cookie }, oneMessage(), "127.0.0.2");
    const [a, b] = await notes();
    expect(b?.browser).toBe(a?.browser);
    // A client that is not the proxy is not believed.
    expect((await send(headers)).headers["set-cookie"]?.[0]).toMatch(/^insights_browser=.*; SameSite=Lax$/);
    // A cookie that was set over HTTP is not accepted over HTTPS: anyone in between may have set it.
    const plain = cookieOf(await send());
    expect(cookieOf(await send({ ...headers, cookie: plain }, oneMessage(), "127.0.0.2"))).toMatch(/^__Host-/);
  });
});

test("a person who signs in gets the past of her own browser, not of one that she names without its cookie", async () => {
  const open = (anonymousId: string, cookie = ""): Promise<Reply> =>
    send(cookie === "" ? {} : { cookie }, oneMessage({ anonymousId, event: "Seen before" }));
  const signIn = async (person: string, anonymousId: string, cookie: string): Promise<void> => {
    const authorization = `Bearer ${await token("learner", person)}`;
    const identify = oneMessage({ type: "identify", event: undefined, userId: person, anonymousId });
    const reply = await send({ authorization, ...(cookie === "" ? {} : { cookie }) }, identify);
    expect(reply.data.trackIngest.result.accepted).toBe(1);
  };
  /** The number of earlier events that a person has. */
  const past = (person: string): Promise<number> =>
    database.value(
      `select count(*)::int
       from track.event
       join track.event_type using (event_type_id)
       where event_type.name = 'Seen before'
         and event.person_id = (select person_id from track.identity where kind = 'user' and external_id = $1)`,
      [person],
    );

  const cookie = cookieOf(await open("browser of nuria"));
  await open("browser of nuria", cookie);
  await signIn("nuria", "browser of nuria", cookie);
  expect(await past("nuria")).toBe(2);

  const other = cookieOf(await open("browser of omar"));
  await signIn("mallory", "browser of omar", "");
  await signIn("eve", "browser of omar", cookieOf(await send()));
  expect([await past("mallory"), await past("eve")]).toEqual([0, 0]);
  await signIn("omar", "browser of omar", other);
  expect(await past("omar")).toBe(1);
});

describe("pages of other origins", () => {
  test("get and use no cookie, unless a valid write key lists them", async () => {
    await database.query(
      "select track.create_write_key('web', origins => '{https://campus.example,https://app.example:8443}')",
    );
    const cookie = cookieOf(await send());
    const { browser } = (await notes())[0] as Note;
    await database.query("truncate public.note");
    const cases: [Record<string, string>, boolean][] = [
      [{ origin: "https://campus.example" }, true],
      [{ origin: "https://campus.example", "sec-fetch-site": "cross-site" }, true],
      [{ origin: "https://app.example:8443" }, true],
      [{ origin: `http://${host}` }, true],
      [{ origin: "https://any.example", "sec-fetch-site": "same-origin" }, true],
      [{ origin: "https://evil.example" }, false],
      [{ origin: `http://${host}.evil.example` }, false],
      [{ origin: "https://campus.example.evil.example" }, false],
      [{ origin: "http://campus.example" }, false],
      [{ origin: `http://${host}`, "sec-fetch-site": "same-site" }, false],
      [{ origin: "null" }, false],
      [{ origin: "not an origin" }, false],
      [{ "sec-fetch-site": "cross-site" }, false],
    ];
    for (const [headers, allowed] of cases) {
      const fresh = await send(headers);
      expect([headers, cookieOf(fresh) !== ""]).toEqual([headers, allowed]);
      await database.query("truncate public.note");
      await send({ ...headers, cookie });
      expect([headers, (await notes())[0]?.browser]).toEqual([headers, allowed ? browser : ""]);
      const listed = allowed && /campus|app/.test(headers["origin"] ?? "");
      expect([headers, fresh.headers["access-control-allow-origin"]]).toEqual([
        headers,
        listed ? headers["origin"] : "*",
      ]);
      expect(fresh.headers["access-control-allow-credentials"]).toBe(listed ? "true" : undefined);
      expect(fresh.headers.vary).toBe("Origin");
    }
  });

  test("are answered the same in the preflight", async () => {
    const preflight = (origin: string): Promise<Reply> =>
      sendTo(url, {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "x-write-key" },
      });
    const listed = await preflight("https://campus.example");
    expect(listed.status).toBe(204);
    expect(listed.headers).toMatchObject({
      "access-control-allow-origin": "https://campus.example",
      "access-control-allow-credentials": "true",
      vary: "Origin",
    });
    expect(listed.headers["access-control-allow-headers"]).toContain("x-write-key");
    const other = await preflight("https://evil.example");
    expect(other.headers["access-control-allow-origin"]).toBe("*");
    expect(other.headers["access-control-allow-credentials"]).toBeUndefined();
  });
});

describe("Sec-GPC and DNT", () => {
  test.each([
    [{ "sec-gpc": "1" }, "gpc"],
    [{ dnt: "1" }, "dnt"],
    [{ "sec-gpc": "1", dnt: "1" }, "gpc,dnt"],
    [{ "sec-gpc": "0", dnt: "0" }, ""],
    [{ "sec-gpc": "true", dnt: "unspecified" }, ""],
    [{}, ""],
  ] as [Record<string, string>, string][])(
    "%j: the database receives %j, and no cookie is set",
    async (headers, optOut) => {
      const reply = await send(headers);
      expect(cookieOf(reply) === "").toBe(optOut !== "");
      expect(await notes()).toMatchObject([{ optOut }]);
    },
  );
});

test("the user agent becomes properties of the event, and is stored nowhere", async () => {
  const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";
  await send({ "user-agent": agent });
  expect(await notes()).toMatchObject([{ userAgent: agent }]);
  expect(
    await database.value("select properties from track.event order by received_at desc, event_id desc limit 1"),
  ).toMatchObject({ browser: "Firefox", os: "Linux", device: "desktop" });
  await send({ "user-agent": "x".repeat(5_000) });
  expect((await notes())[1]?.userAgent).toBe("x".repeat(512));
  expect(await database.value("select count(*) from track.event where event::text like '%Gecko%'")).toBe("0");
});

test("nothing of a request remains on the connection", async () => {
  const key = await database.value<string>("select write_key from track.create_write_key('web')");
  const cookie = cookieOf(await send());
  await database.query("truncate public.note");
  const full = { cookie, "x-write-key": key, origin: `http://${host}`, "sec-gpc": "1", "user-agent": "Firefox/121.0" };
  for (let round = 0; round < 4; round += 1) {
    await send(full);
    await send({ dnt: "1" });
  }
  const seen = await notes();
  expect(seen).toHaveLength(8);
  for (const [index, note] of seen.entries()) {
    expect(note).toMatchObject(
      index % 2 === 0
        ? {
            browser: expect.stringMatching(uuid),
            optOut: "gpc",
            userAgent: "Firefox/121.0",
            origin: full.origin,
            writeKey: expect.stringMatching(/^[0-9a-f]{64}$/),
          }
        : { browser: "", optOut: "dnt", origin: "", writeKey: "" },
    );
  }
});

test("an application's own server sets all settings, empty ones too", () => {
  const settings = [
    "insights.write_key",
    "insights.origin",
    "insights.browser",
    "insights.opt_out",
    "insights.user_agent",
  ];
  for (const name of settings) expect(requestSettings(visitor)[name]).toBe("");
  const client = { writeKey: "a", origin: "b", browser: "c", optOut: "gpc", userAgent: "d" };
  expect(requestSettings({ ...visitor, ...client })).toMatchObject(
    Object.fromEntries(settings.map((name, index) => [name, ["a", "b", "c", "gpc", "d"][index]])),
  );
});
