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
  /** Sends a command of the debugging protocol. */
  send(method: string, params?: object): Promise<Record<string, unknown>>;
  /** Errors that the browser reported since the page was opened. */
  complaints: string[];
  close(): Promise<void>;
}

export interface Browser {
  page: Page;
  /** A further tab, which hides the one before it, or is hidden behind it. */
  openTab(background?: boolean): Promise<Page>;
  /** Process ids of the pages. */
  renderers(): Promise<number[]>;
  close(): Promise<void>;
}

type Send = (method: string, params?: object) => Promise<Record<string, unknown>>;

/** A connection of the debugging protocol. */
async function connect(
  url: string,
  report: (method: string, params: Record<string, unknown>) => void,
): Promise<{ send: Send; close(): void }> {
  const socket = new WebSocket(url);
  await once(socket as unknown as import("node:events").EventEmitter, "open");
  const waiting = new Map<number, (result: Record<string, unknown>) => void>();
  socket.addEventListener("message", ({ data }) => {
    const { id, result, method, params } = JSON.parse(String(data));
    if (id === undefined) report(method, params);
    else waiting.get(id)?.(result);
  });
  let count = 0;
  return {
    send: (method, params = {}) =>
      new Promise((resolve) => {
        count += 1;
        waiting.set(count, resolve);
        socket.send(JSON.stringify({ id: count, method, params }));
      }),
    close: () => socket.close(),
  };
}

async function openPage(address: string, browser: Send, background: boolean): Promise<Page> {
  const { targetId } = await browser("Target.createTarget", { url: "about:blank", background });
  const complaints: string[] = [];
  const { send, close } = await connect(`ws://${address}/devtools/page/${targetId}`, (method, params) => {
    const { entry, exceptionDetails, issue } = params as Record<string, { level: string; text: string; code: string }>;
    if (method === "Log.entryAdded") complaints.push(`${entry?.level}: ${entry?.text}`);
    else if (method === "Runtime.exceptionThrown") complaints.push(JSON.stringify(exceptionDetails));
    else if (method === "Audits.issueAdded" && issue?.code === "ContentSecurityPolicyIssue") {
      complaints.push(JSON.stringify(issue));
    }
  });
  for (const domain of ["Page", "Log", "Runtime", "Audits"]) await send(`${domain}.enable`);
  const evaluate = async (expression: string): Promise<unknown> => {
    // Undefined, when the page was left in between.
    const answer = (await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true })) as
      | { result?: { value?: unknown } }
      | undefined;
    return answer?.result?.value;
  };
  return {
    complaints,
    send,
    async open(url) {
      // Another page first: a change of the fragment alone would not load the page.
      await send("Page.navigate", { url: "about:blank" });
      complaints.length = 0;
      await send("Page.navigate", { url });
    },
    async until<T>(expression: string) {
      for (const late = Date.now() + 60_000; Date.now() < late; ) {
        const value = await evaluate(`(async () => ${expression})()`);
        if (value) return value as T;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      throw new Error(`not true within a minute: ${expression}`);
    },
    async close() {
      close();
      await browser("Target.closeTarget", { targetId });
    },
  };
}

export async function openBrowser(program: string): Promise<Browser> {
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
  let url: string | undefined;
  while (url === undefined) {
    if (child.exitCode !== null) throw new Error(said);
    url = /listening on (ws:\/\/\S+)/.exec(said)?.[1];
    if (url === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { host: address } = new URL(url);
  const whole = await connect(url, () => {});
  return {
    page: await openPage(address, whole.send, false),
    openTab: (background = false) => openPage(address, whole.send, background),
    async renderers() {
      const { processInfo } = (await whole.send("SystemInfo.getProcessInfo")) as {
        processInfo: { type: string; id: number }[];
      };
      return processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
    },
    async close() {
      whole.close();
      child.kill();
      await once(child, "exit");
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
