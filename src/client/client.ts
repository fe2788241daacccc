import { InsightsError } from "./error.ts";
import {
  exportMe,
  type ForMeQueryVariables,
  feedback,
  forMe,
  myConsents,
  openMyRequest,
  type RecommendationFieldsFragment,
  type RecommendFeedbackInput,
  recordMyConsents,
  serveMe,
  type TypedDocument,
} from "./operations.ts";

/*
 * A client for what a signed-in person reads and answers: recommendations, feedback, her data and her decisions. It runs
 * in Node and in browsers, and needs no library: the operations and their types are generated from schema.graphql.
 */

export { type ErrorCode, InsightsError } from "./error.ts";
export type { TypedDocument } from "./operations.ts";

export interface ClientOptions {
  /** Address of the API: `https://insights.example`, or in a page a path of the same origin. */
  url: string;
  /** The token of the person; called before each request. Without one, the client is a visitor. */
  token?: () => string | undefined | Promise<string | undefined>;
  /** Default: the `fetch` of the environment. */
  fetch?: typeof fetch;
}

/** An item that is recommended, with the reasons. `servingId` connects the answer of the person with it. */
export type Recommendation = RecommendationFieldsFragment;

export interface RecommendationOptions {
  /** Number of rows; default: 10. */
  top?: number;
  /** Kind of the items, such as `course`. */
  kind?: string;
  onlyItems?: string[];
  excludeItems?: string[];
  /** From 0 to 1: how different the items are. */
  diversity?: number;
  /** `nextPage` of the last row: continues that list. */
  page?: string;
}

/** The row of a list, or else an item. */
export type About = { servingId: string; item?: string } | { item: string };

export interface Consent {
  purpose: string;
  granted: boolean;
  decidedAt: string;
}

/** A right of the person about her data. */
export type RequestKind =
  | "access"
  | "portability"
  | "erasure"
  | "rectification"
  | "restriction"
  | "objection"
  | "opt_out"
  | "limit_use";

/** All methods reject with an `InsightsError`. */
export interface Client {
  /** A list that will be shown: each row is recorded as served. */
  recommendations(options?: RecommendationOptions): Promise<Recommendation[]>;
  /** The same list, without a record of it. */
  preview(options?: RecommendationOptions): Promise<Recommendation[]>;
  /** The row was seen. Resolves, as all answers, to whether it is used: false if she opted out of personalization. */
  seen(row: About): Promise<boolean>;
  clicked(row: About): Promise<boolean>;
  like(about: About): Promise<boolean>;
  dislike(about: About): Promise<boolean>;
  /** On the scale of `Item Rated`, from 1 to 5. */
  rate(about: About, value: number): Promise<boolean>;
  /** She does not want to see the item again. */
  dismiss(about: About): Promise<boolean>;
  dismissTopic(topic: string): Promise<boolean>;
  /** The content is known to her already. */
  know(about: About): Promise<boolean>;
  /** Revokes the earlier answers about the item. */
  withdraw(about: About): Promise<boolean>;
  /** Her decisions, by purpose. */
  consents(): Promise<Consent[]>;
  /** Records a decision; without purposes, about all that she can decide about. */
  decide(granted: boolean, purposes?: string[]): Promise<Consent[]>;
  /** All her data, as one document. */
  exportMyData(): Promise<unknown>;
  /** Records a request about her data, and returns the time until which it must be answered. */
  request(kind: RequestKind): Promise<{ requestId: string; dueAt: string }>;
  /** An operation of the application's own. */
  query<Result, Variables>(document: TypedDocument<Result, Variables>, variables: Variables): Promise<Result>;
}

interface Answer {
  data?: unknown;
  errors?: { message: string; path?: (string | number)[]; extensions?: { code?: string; hint?: string } }[];
}

/** Rows, which the schema describes as nullable. */
const present = <Row>(rows: readonly (Row | null)[] | null | undefined): Row[] =>
  (rows ?? []).filter((row): row is Row & {} => row !== null);

export function createClient({ url, token, fetch: send = fetch }: ClientOptions): Client {
  const endpoint = `${url.replace(/\/$/, "")}/graphql`;
  /** Position of the last write: a standby answers when it has replayed it. */
  let position: string | undefined;

  async function query<Result, Variables>(
    document: TypedDocument<Result, Variables>,
    variables: Variables,
  ): Promise<Result> {
    const bearer = await token?.();
    let response: Response;
    let answer: Answer | null;
    try {
      response = await send(endpoint, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
          ...(position === undefined ? {} : { "insights-position": position }),
        },
        body: JSON.stringify({ query: document, variables }),
      });
    } catch (cause) {
      throw new InsightsError("the server is not reachable", { code: "network", status: 0, cause });
    }
    position = response.headers.get("insights-position") ?? position;
    const retryAfter = Number(response.headers.get("retry-after")) || undefined;
    try {
      answer = (await response.json()) as Answer | null;
    } catch (cause) {
      const message = `the server answered ${response.status} without JSON`;
      throw new InsightsError(message, { code: "network", status: response.status, retryAfter, cause });
    }
    const [error] = answer?.errors ?? [];
    if (error !== undefined || answer?.data === undefined || answer.data === null) {
      const { message = `the server answered ${response.status}`, path, extensions } = error ?? {};
      throw new InsightsError(message, {
        code: extensions?.code ?? "XX000",
        hint: extensions?.hint,
        status: response.status,
        path,
        retryAfter,
      });
    }
    return answer.data as Result;
  }

  const answerWith = async (input: RecommendFeedbackInput): Promise<boolean> =>
    (await query(feedback, { input })).recommendFeedback?.result ?? false;

  return {
    query,
    recommendations: async (options = {}) =>
      present((await query(serveMe, { input: options })).recommendServeMe?.result),
    preview: async (options: ForMeQueryVariables = {}) => present((await query(forMe, options)).recommendForMe?.nodes),
    seen: (row) => answerWith({ feedback: "show", ...row }),
    clicked: (row) => answerWith({ feedback: "click", ...row }),
    like: (about) => answerWith({ feedback: "like", ...about }),
    dislike: (about) => answerWith({ feedback: "dislike", ...about }),
    rate: (about, value) => answerWith({ feedback: "rate", value, ...about }),
    dismiss: (about) => answerWith({ feedback: "dismiss", ...about }),
    dismissTopic: (topic) => answerWith({ feedback: "dismiss_topic", topic }),
    know: (about) => answerWith({ feedback: "know", ...about }),
    withdraw: (about) => answerWith({ feedback: "withdraw", ...about }),
    async consents() {
      const { privacyCurrentConsents } = await query(myConsents, {});
      return present(privacyCurrentConsents?.nodes).map(({ purpose, granted, decidedAt }) => ({
        purpose,
        granted: granted ?? false,
        decidedAt: decidedAt ?? "",
      }));
    },
    async decide(granted, purposes) {
      const input = { granted, ...(purposes === undefined ? {} : { purposes }) };
      return present((await query(recordMyConsents, { input })).trackRecordMyConsents?.result);
    },
    exportMyData: async () => (await query(exportMe, {})).privacyExportMe,
    async request(kind) {
      const opened = (await query(openMyRequest, { input: { kind } })).privacyOpenMyRequest?.result;
      return { requestId: opened?.requestId ?? "", dueAt: opened?.dueAt ?? "" };
    },
  };
}
