import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { createClient } from "../client/client.ts";
import { InsightsError } from "../client/error.ts";
import type { TypedDocument } from "./operations.ts";
import { credentials, signedInAgain, token } from "./session.ts";

const client = createClient({ url: "", token, fetch: (url, options) => fetch(url, { ...options, credentials }) });

export async function send<Result, Variables>(
  { text }: TypedDocument<Result, Variables>,
  variables: Variables,
): Promise<Result> {
  try {
    return await client.query<Result, Variables>(text, variables);
  } catch (error) {
    // Refused before it was executed, because the session has ended.
    if (!(error instanceof InsightsError) || error.status !== 401 || !(await signedInAgain())) throw error;
    return await client.query<Result, Variables>(text, variables);
  }
}

/** Rows of a list, which the schema describes as nullable. */
export const present = <Row>(rows: readonly (Row | null)[] | null | undefined): Row[] =>
  (rows ?? []).filter((row): row is Row & {} => row !== null);

/** A metric of a version; undefined when it was not measured. */
export function metricOf(metrics: unknown, name: string | undefined): number | undefined {
  const value = (metrics as Record<string, unknown> | null)?.[name ?? ""];
  return typeof value === "number" ? value : undefined;
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export interface Loaded<Result> {
  /** The last answer, also while the next one is loaded. */
  result: Result | undefined;
  error: InsightsError | undefined;
  isLoading: boolean;
  reload(): void;
}

/**
 * The answer to an operation, again whenever the variables change, and every `everyMs` while the page is visible.
 * `isOff`: nothing is requested.
 */
export function useLoaded<Result, Variables>(
  operation: TypedDocument<Result, Variables>,
  variables: Variables,
  { everyMs, isOff = false }: { everyMs?: number | undefined; isOff?: boolean } = {},
): Loaded<Result> {
  const key = JSON.stringify(variables);
  const [state, setState] = useState<{ result?: Result; error?: InsightsError; isLoading: boolean }>({
    isLoading: true,
  });
  const latest = useRef(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key stands for the variables.
  const load = useCallback(async () => {
    latest.current += 1;
    const turn = latest.current;
    setState((state) => ({ ...state, isLoading: true }));
    try {
      const result = await send(operation, variables);
      // An answer that a later request has overtaken is not shown.
      if (turn === latest.current) setState({ result, isLoading: false });
    } catch (error) {
      const known =
        error instanceof InsightsError ? error : new InsightsError(String(error), { code: "XX000", status: 0 });
      if (turn === latest.current) setState((state) => ({ ...state, error: known, isLoading: false }));
    }
  }, [operation, key]);
  useEffect(() => {
    if (isOff) return;
    void load();
    if (everyMs === undefined) return;
    const timer = setInterval(() => {
      if (!document.hidden) void load();
    }, everyMs);
    return () => clearInterval(timer);
  }, [load, everyMs, isOff]);
  return { result: state.result, error: state.error, isLoading: state.isLoading, reload: () => void load() };
}
