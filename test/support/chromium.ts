import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/* A real browser, driven by its debugging protocol. */

/** The name of the program; undefined where there is none. */
export const chromium = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => spawnSync(name, ["--version"]).status === 0,
);

export interface Page {
  open(url: string): Promise<void>;
  /** The value of an expression, once it is truthy on the page. */
  until<T>(expression: string): Promise<T>;
  /** Errors that the browser reported since the page was opened. */
  complaints: string[];
}

export async function openBrowser(program: string): Promise<{ page: Page; close: () => Promise<void> }> {
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
