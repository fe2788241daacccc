import type { Store } from "./storage.ts";

/*
 * Sends messages in batches, and keeps each of them until the server has stored it: a message is repeated with the same
 * id, so that it is stored once. What a closed page or another tab has left is sent too.
 */

const bounds = {
  /** Messages that are kept; with more, the oldest are dropped. */
  kept: 500,
  /** Characters of a message, and of a batch: browsers send 64 kB at most for a page that is being left. */
  message: 16_000,
  batch: 50_000,
  /** Milliseconds until a message is sent, so that those of one moment are sent together. */
  delay: 500,
  /** Milliseconds until the second attempt, which double up to the most. */
  retry: 1000,
  mostRetry: 300_000,
  /** Milliseconds after which an incomplete heartbeat belongs to a page that ended. */
  abandoned: 15_000,
  /** Milliseconds for which a tab waits for another one that is sending. */
  turn: 10_000,
} as const;

export interface Sender {
  add(id: string, message: string): void;
  /** Keeps a message that is replaced, or sent by `add`, later. */
  keep(id: string, message: string): void;
  clear(): void;
  flush(): Promise<void>;
  /** The connection is back. */
  resume(): void;
  /** Sends from a page that may end at any moment. */
  leave(): void;
}

export function createSender(
  { url, key, token }: { url: string; key?: string; token?: () => string | undefined | Promise<string | undefined> },
  store: Store,
  { credentials }: { credentials: boolean },
): Sender {
  const endpoint = new URL("v1/batch", new URL(url.replace(/\/?$/, "/"), location.href));
  /** Messages of requests that are not answered yet. */
  const sent = new Set<string>();
  let bearer: string | undefined;
  let running: Promise<void> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let delay: number = bounds.retry;
  /** The time, of `performance`, before which nothing is sent after a failure. */
  let resting = 0;

  const schedule = (milliseconds: number): void => {
    if (timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      void flush();
    }, milliseconds);
  };

  /** The names and texts of the next batch. */
  const take = (): [string, string][] => {
    const batch: [string, string][] = [];
    let size = 0;
    for (const name of store.names("m:")) {
      const text = store.get(name);
      if (text === undefined || sent.has(name)) continue;
      size += text.length;
      if (size > bounds.batch && batch.length > 0) break;
      batch.push([name, text]);
    }
    return batch;
  };

  /** Whether the batch is done with; false when it must be repeated. */
  async function post(batch: [string, string][], keepalive: boolean): Promise<boolean> {
    for (const [name] of batch) sent.add(name);
    try {
      const texts = batch.map(([, text]) => text).join(",");
      const writeKey = bearer === undefined && key !== undefined ? `"writeKey":${JSON.stringify(key)},` : "";
      const response = await fetch(endpoint, {
        method: "POST",
        keepalive,
        credentials: credentials ? "include" : "omit",
        // As text, a page of another origin may send it without a preflight.
        headers: {
          "content-type": "text/plain",
          ...(bearer === undefined
            ? {}
            : { authorization: `Bearer ${bearer}`, ...(key === undefined ? {} : { "x-write-key": key }) }),
        },
        body: `{${writeKey}"sentAt":"${new Date().toISOString()}","batch":[${texts}]}`,
      });
      // A batch that the server cannot read would be refused again.
      if (response.ok || response.status === 400) {
        for (const [name] of batch) store.set(name);
        delay = bounds.retry;
        return true;
      }
      const wait = Number(response.headers.get("retry-after")) * 1000;
      if (wait > 0) delay = wait;
    } catch {
      // No connection.
    } finally {
      for (const [name] of batch) sent.delete(name);
    }
    return false;
  }

  /** Messages of pages that ended before they completed them. */
  const adopt = (): void => {
    for (const name of store.names("p:")) {
      const text = store.get(name) ?? "{}";
      if (Math.abs(Date.now() - Date.parse(JSON.parse(text).timestamp)) > bounds.abandoned) {
        store.set(`m${name.slice(1)}`, text);
        store.set(name);
      }
    }
  };

  async function work(): Promise<void> {
    const rest = resting - performance.now();
    if (rest > 0) {
      schedule(rest);
      return;
    }
    adopt();
    for (let batch = take(); batch.length > 0; batch = take()) {
      bearer = await token?.();
      if (!(await post(batch, false))) {
        // Many pages do not come back at the same moment.
        const pause = delay * (0.5 + Math.random());
        delay = Math.min(delay * 2, bounds.mostRetry);
        resting = performance.now() + pause;
        schedule(pause);
        return;
      }
    }
  }

  /** One tab at a time. A browser without locks, or a tab that does not end, delays nothing: ids make it harmless. */
  async function inTurn(): Promise<void> {
    let began = false;
    try {
      await navigator.locks.request("insights", { signal: AbortSignal.timeout(bounds.turn) }, () => {
        began = true;
        return work();
      });
    } catch {
      if (!began) await work();
    }
  }

  function flush(): Promise<void> {
    running ??= inTurn().finally(() => {
      running = undefined;
    });
    return running;
  }

  return {
    add(id, message) {
      if (message.length > bounds.message) return;
      store.set(`m:${id}`, message);
      store.set(`p:${id}`);
      const names = store.names("m:");
      for (const name of names.slice(0, Math.max(0, names.length - bounds.kept))) store.set(name);
      schedule(bounds.delay);
    },
    keep: (id, message) => store.set(`p:${id}`, message),
    clear() {
      for (const name of [...store.names("m:"), ...store.names("p:")]) store.set(name);
    },
    flush,
    resume() {
      resting = 0;
      delay = bounds.retry;
      void flush();
    },
    leave() {
      // Without the token, which is not known yet, they wait for the next page.
      if (token !== undefined && bearer === undefined) return;
      const batch = take();
      if (batch.length > 0) void post(batch, true);
    },
  };
}
