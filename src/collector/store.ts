import { z } from "zod";
import { requestSettings, type Sender } from "../api/authentication.ts";
import type { Gate } from "../api/connections.ts";
import type { Run } from "../api/run-as.ts";
import type { Rejection, Translated } from "./dialect.ts";
import { bounds, createGroups, type Part } from "./groups.ts";

/*
 * Stores messages by `track.ingest`, those of several requests in one transaction. The person, the cookie, the opt-out
 * signals and the user agent of each request are stated with the number of its messages (setting `insights.requests`).
 */

/** An entry of `insights.requests`, without the number of messages. */
interface Request {
  person: string;
  browser: string;
  optOut: string;
  userAgent: string;
}

interface Messages extends Part {
  texts: string[];
  request: Request;
  /** The people and browsers that the messages name, and those that they come from. */
  names: ReadonlySet<string>;
}

const name = z.union([z.string(), z.number()]).transform(String).catch("");
const people = z.object({ userId: name, anonymousId: name, previousId: name });

/** The names of people and browsers in messages, and those of their request. */
function namesOf({ person, browser }: Request, messages: readonly Translated[]): ReadonlySet<string> {
  const names = new Set([person, browser].filter((name) => name !== ""));
  for (const message of messages) {
    const { data } = people.safeParse(message);
    for (const each of [data?.userId, data?.anonymousId, data?.previousId]) if (each) names.add(each);
  }
  return names;
}

/** The messages of a request in parts that a transaction may have. */
function partsOf(request: Request, messages: readonly Translated[]): Messages[] {
  const texts = messages.map((message) => JSON.stringify(message ?? null));
  const parts: Messages[] = [];
  for (let start = 0; start < texts.length; ) {
    let end = start;
    let bytes = 0;
    while (end < texts.length && end - start < bounds.messages) {
      const size = Buffer.byteLength(texts[end] ?? "");
      if (end > start && bytes + size > bounds.bytes) break;
      bytes += size;
      end += 1;
    }
    const names = namesOf(request, messages.slice(start, end));
    parts.push({ texts: texts.slice(start, end), count: end - start, bytes, request, names });
    start = end;
  }
  return parts;
}

/**
 * The result of a message depends on what was stored of its person and browser before: a request is left for the next
 * transaction when it names, or comes from, a person or browser of another one. An opt-out signal is for all browsers
 * of the person, which are known in the database alone: the requests of a transaction have the same signal.
 */
function newGroup(): (part: Messages) => boolean {
  const named = new Set<string>();
  let optOut: string | undefined;
  return ({ names, request }) => {
    optOut ??= request.optOut;
    if (request.optOut !== optOut || [...names].some((name) => named.has(name))) return false;
    for (const name of names) named.add(name);
    return true;
  };
}

export interface Store {
  /** Resolves to the messages that were rejected. Rejects with `FullError`, `BusyError`, or an error of the database. */
  store(sender: Sender, isServer: boolean, messages: readonly Translated[]): Promise<Rejection[]>;
}

export function createStore(run: Run, gate: Gate, options: { maxWait: number; width?: number | undefined }): Store {
  const groups = createGroups<Messages, Rejection[]>(gate, {
    ...options,
    newGroup,
    async store(settings, parts) {
      const requests = parts.map(({ count, request }) => ({ messages: count, ...request }));
      const [row] = await run<{ errors: Rejection[] }>(
        { ...settings, "insights.requests": JSON.stringify(requests) },
        "select errors from track.ingest(to_jsonb($1::text))",
        [`[${parts.flatMap(({ texts }) => texts).join(",")}]`],
      );
      let start = 0;
      return parts.map(({ count }) => {
        const own = (row?.errors ?? []).filter(({ index }) => index >= start && index < start + count);
        const rejected = own.map((each) => ({ ...each, index: each.index - start }));
        start += count;
        return rejected;
      });
    },
  });

  return {
    async store(sender, isServer, messages) {
      const { person = "", browser = "", optOut = "", userAgent = "", ...shared } = sender;
      const parts = partsOf({ person, browser, optOut, userAgent }, messages);
      const rejected = await groups.store(
        requestSettings({ ...shared, person: undefined }),
        // Requests of signed-in people have other rights than those of visitors.
        person === "" ? "visitor" : "person",
        // Servers send for many people, and have a share of their own.
        isServer ? "insights_worker" : `insights_${sender.role}`,
        parts,
      );
      let start = 0;
      return rejected.flatMap((own, index) => {
        const from = start;
        start += parts[index]?.count ?? 0;
        return own.map((each) => ({ ...each, index: each.index + from }));
      });
    },
  };
}
