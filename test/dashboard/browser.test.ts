import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { chromium, openBrowser } from "../support/chromium.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

/* The pages in a real browser: only a browser reports violations of their content security policies. */

describe.skipIf(chromium === undefined)("in a browser (needs chromium)", async () => {
  const database = await testDatabase();
  await makeWorld(database);
  const { url, token } = await testApi(database, { INSIGHTS_GRAPHIQL: "true" });
  let browser: Awaited<ReturnType<typeof openBrowser>>;
  beforeAll(async () => {
    browser = await openBrowser(chromium ?? "");
    // The browser that the API reported to the database for each message.
    await database.query(`
      create table public.note (note_id int generated always as identity, browser text);
      create function public.note() returns trigger security definer language plpgsql as $$
      begin
        insert into public.note (browser) values (current_setting('insights.browser', true));
        return new;
      end;
      $$;
      create trigger note before insert on track.message for each row execute function public.note();
    `);
  }, 60_000);
  afterAll(() => browser?.close());

  test("the GraphQL page loads all its resources, and sends requests as the signed-in person", async () => {
    const { page } = browser;
    await page.open(`${url}/graphiql#token=${await token("learner", "ada")}`);
    // The editor and its workers are ready when the first lines of the query are shown.
    await page.until(`document.querySelector(".graphiql-query-editor .view-line")`);
    expect(await page.until("location.href")).not.toContain("token");
    const names = await page.until<string>(
      `(await (await fetch("/graphql", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ query: "{ trackIdentities { nodes { externalId } } }" }),
      })).text())`,
    );
    expect(names).toContain('"ada"');
    // The initial query contains only comments, which the server's answer reports.
    await page.until(`
      !document.querySelector(".graphiql-execute-button").click() &&
      document.querySelector(".graphiql-response").textContent.includes("Unexpected")`);
    expect(page.complaints).toEqual([]);
  });

  test("a page that sends messages gets a cookie, sends it again, and cannot read it", async () => {
    const { page } = browser;
    const ingest = (id: string, headers = "{}"): string =>
      `(await (await fetch("/graphql", {
        method: "POST",
        headers: { "content-type": "application/json", ...${headers} },
        body: JSON.stringify({
          query: "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }",
          variables: { batch: [{ type: "page", messageId: "${id}", anonymousId: "in a browser", name: "Home" }] },
        }),
      })).text())`;
    await page.open(`${url}/`);
    await page.until("document.body");
    expect(await page.until(ingest("in a browser 1"))).toContain('"accepted":1');
    expect(await page.until(ingest("in a browser 2"))).toContain('"accepted":1');
    const learner = `{ authorization: "Bearer ${await token("learner", "ada")}" }`;
    expect(await page.until(ingest("in a browser 3", learner))).toContain('"accepted":');
    expect(await page.until("String(document.cookie === '')")).toBe("true");
    const browsers = await database.rows<{ browser: string }>("select browser from public.note order by note_id");
    expect(browsers.length).toBeGreaterThanOrEqual(2);
    expect(new Set(browsers.map((row) => row.browser)).size).toBe(1);
    expect(browsers[0]?.browser).toMatch(/^[0-9a-f-]{36}$/);
    expect(page.complaints).toEqual([]);
  });

  test("a page of another origin sends messages, with the cookie only where a write key lists the origin", async () => {
    const { page } = browser;
    const pages = createServer((_request, response) => response.setHeader("content-type", "text/html").end("<p>"));
    await once(pages.listen(0, "127.0.0.1"), "listening");
    const { port } = pages.address() as AddressInfo;
    const origin = `http://127.0.0.1:${port}`;
    const key = await database.value<string>(
      "select write_key from track.create_write_key('campus', origins => array[$1])",
      [origin],
    );
    const open = await database.value<string>("select write_key from track.create_write_key('campus')");
    let count = 0;
    const ingest = (writeKey: string, credentials: string): string => {
      count += 1;
      return `fetch("${url}/graphql", {
        method: "POST",
        credentials: "${credentials}",
        headers: { "content-type": "application/json", "x-write-key": "${writeKey}" },
        body: JSON.stringify({
          query: "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }",
          variables: { batch: [{ type: "page", messageId: "other ${count}", anonymousId: "other", name: "Home" }] },
        }),
      }).then((answer) => answer.text(), String)`;
    };
    await database.query("delete from public.note");
    await page.open(`${origin}/`);
    await page.until("document.body");
    for (const credentials of ["include", "include", "omit"]) {
      expect(await page.until(`await ${ingest(key, credentials)}`)).toContain('"accepted":1');
    }
    const [a, b, c] = await database.rows<{ browser: string }>("select browser from public.note order by note_id");
    expect(b).toEqual(a);
    expect(c).not.toEqual(a);

    // The same server under another name, which no key lists.
    await page.open(`http://localhost:${port}/`);
    await page.until("document.body");
    expect(await page.until(`await ${ingest(open, "omit")}`)).toContain('"accepted":1');
    expect(await page.until(`await ${ingest(open, "include")}`)).toContain("TypeError: Failed to fetch");
    expect(await page.until(`await ${ingest(key, "omit")}`)).toContain("may not use the write key");
    expect(await database.rows("select browser from public.note order by note_id")).toHaveLength(4);
    expect(await database.value("select browser from public.note order by note_id desc limit 1")).toBe("");
    pages.close();
    pages.closeAllConnections();
  });

  test("foreign scripts run on neither page", async () => {
    const { page } = browser;
    for (const path of ["/", "/graphiql"]) {
      await page.open(`${url}${path}`);
      await page.until(`document.body`);
      await page.until(
        `new Promise((resolve) => {
          const script = document.createElement("script");
          script.textContent = "window.evil = true";
          document.addEventListener("securitypolicyviolation", () => resolve(true), { once: true });
          document.body.append(script);
        })`,
      );
      expect(await page.until("String(window.evil)")).toBe("undefined");
    }
  });
});
