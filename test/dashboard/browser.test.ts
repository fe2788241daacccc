import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

/* The pages in a real browser: only a browser reports violations of their content security policies. */

const chromium = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => spawnSync(name, ["--version"]).status === 0,
);

interface Page {
  open(url: string): Promise<void>;
  /** The value of an expression, once it is truthy on the page. */
  until<T>(expression: string): Promise<T>;
  /** Errors that the browser reported since the page was opened. */
  complaints: string[];
}

async function openBrowser(program: string): Promise<{ page: Page; close: () => Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), "insights-browser-"));
  const child: ChildProcess = spawn(
    program,
    ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${directory}`, "--remote-debugging-port=0"],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  child.stderr?.on("data", (chunk) => {
    said += chunk;
  });
  let address: string | undefined;
  while (address === undefined) {
    if (child.exitCode !== null) throw new Error(said);
    address = /listening on ws:\/\/(\S+?)\//.exec(said)?.[1];
    if (address === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const target = (await (await fetch(`http://${address}/json/new`, { method: "PUT" })).json()) as {
    webSocketDebuggerUrl: string;
  };
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await once(socket as unknown as import("node:events").EventEmitter, "open");
  const complaints: string[] = [];
  const waiting = new Map<number, (result: Record<string, unknown>) => void>();
  socket.addEventListener("message", ({ data }) => {
    const { id, result, method, params } = JSON.parse(String(data));
    if (id !== undefined) waiting.get(id)?.(result);
    else if (method === "Log.entryAdded") complaints.push(`${params.entry.level}: ${params.entry.text}`);
    else if (method === "Runtime.exceptionThrown") complaints.push(JSON.stringify(params.exceptionDetails));
    else if (method === "Audits.issueAdded" && params.issue.code === "ContentSecurityPolicyIssue") {
      complaints.push(JSON.stringify(params.issue));
    }
  });
  let count = 0;
  const send = (method: string, params: object = {}): Promise<Record<string, unknown>> =>
    new Promise((resolve) => {
      count += 1;
      waiting.set(count, resolve);
      socket.send(JSON.stringify({ id: count, method, params }));
    });
  for (const domain of ["Page", "Log", "Runtime", "Audits"]) await send(`${domain}.enable`);
  const evaluate = async (expression: string): Promise<unknown> => {
    const { result } = (await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true })) as {
      result?: { value?: unknown };
    };
    return result?.value;
  };
  return {
    page: {
      complaints,
      async open(url) {
        // Another page first: a change of the fragment alone would not load the page.
        await send("Page.navigate", { url: "about:blank" });
        complaints.length = 0;
        await send("Page.navigate", { url });
      },
      async until<T>(expression: string) {
        for (;;) {
          const value = await evaluate(`(async () => ${expression})()`);
          if (value) return value as T;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      },
    },
    async close() {
      socket.close();
      child.kill();
      await once(child, "exit");
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

describe.skipIf(chromium === undefined)("in a browser (needs chromium)", async () => {
  const database = await testDatabase();
  await makeWorld(database);
  const { url, token } = await testApi(database, { INSIGHTS_GRAPHIQL: "true" });
  let browser: Awaited<ReturnType<typeof openBrowser>>;
  beforeAll(async () => {
    browser = await openBrowser(chromium ?? "");
  }, 60_000);
  afterAll(() => browser?.close());

  test("a link signs in, leaves no token in the address, and the page signs out again", async () => {
    const { page } = browser;
    await page.open(`${url}/#token=${await token("learner", "ada")}`);
    await page.until(`document.getElementById("who")?.textContent === "You are signed in as ada, role learner."`);
    await page.until(`document.querySelector("#numbers b")`);
    expect(await page.until("location.href")).toBe(`${url}/`);
    await page.until(`(document.getElementById("sign-out").click(), true)`);
    await page.until(`document.getElementById("who").textContent.startsWith("You are a visitor")`);
    expect(await page.until("sessionStorage.getItem('token') === null")).toBe(true);
    expect(page.complaints).toEqual([]);
  });

  test("an invalid token is reported on the page", async () => {
    const { page } = browser;
    await page.open(`${url}/#token=a.b.c`);
    const said = await page.until<string>(
      `document.getElementById("who")?.className.includes("bad") && document.getElementById("who").textContent`,
    );
    expect(said).toContain("the token is not valid");
  });

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
